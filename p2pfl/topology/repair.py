"""A graph mended when nodes left or came: enough neighbours for all, and nobody cut off."""

from collections.abc import Collection, Iterable, Sequence

from p2pfl.draws import draw_bits
from p2pfl.errors import ConfigError
from p2pfl.topology.build import Topology, build_topology
from p2pfl.topology.graph import Graph
from p2pfl.types import NodeId


def repair_graph(graph: Graph, alive: Collection[NodeId], *, degree: int, seed: int) -> Graph:
    """The graph of those alive, with edges added until it is connected and no degree is too low.

    Links between survivors all stay. A name in `alive` that the graph does not have is a node
    that joins, with no link yet. Afterwards everybody has at least `degree` neighbours (or all
    others, if these are fewer). An edge is added only where it joins two parts or where one end
    lacks it, and both do wherever two such nodes are not yet linked. The same arguments give the
    same graph, in whatever order `alive` is told.

    Raises:
        ConfigError: nobody is alive, the graph is directed, or degree is negative.
    """
    if graph.directed:
        raise ConfigError("topology: only undirected graphs are repaired")
    if not alive or degree < 0:
        raise ConfigError(
            f"topology: {len(alive)} nodes alive and degree = {degree}; a repair needs at least "
            "one, and a degree of 0 or more"
        )
    stays = set(alive)
    old = [node for node in graph.nodes if node in stays]
    nodes = (*old, *sorted(stays.difference(old)))
    place = {node: i for i, node in enumerate(nodes)}
    mended = _Mended(len(nodes), seed)
    for a, b in graph.edges:
        if graph.nodes[a] in stays and graph.nodes[b] in stays:
            mended.add(place[graph.nodes[a]], place[graph.nodes[b]])
    mended.join_parts()
    mended.raise_degrees(min(degree, len(nodes) - 1))
    return Graph(nodes, tuple(mended.edges))


def repair_topology(
    topology: Topology, gone: Collection[str], *, degree: int | None = None, seed: int = 0
) -> Topology:
    """The topology as it goes on without the nodes in `gone`: mended, its weights made anew.

    Without `degree` nobody has fewer neighbours than the one with the fewest had before (or all
    others, if these are fewer).

    Raises:
        ConfigError: a name is unknown, nobody stays, or what is left cannot be mended: one-way
            links, schedules, weights for a target.
    """
    graph = topology.graph
    for node in gone:
        graph.position(NodeId(node))
    if topology.schedule is not None or topology.weights == "target":
        what = "a schedule" if topology.schedule is not None else 'weights for a "target"'
        raise ConfigError(
            f"topology: {what} cannot be mended: make it anew for the nodes that stay"
        )
    if degree is None:
        degree = min(len(graph.neighbours(node)) for node in graph.nodes)
    stays = [node for node in graph.nodes if node not in gone]
    if len(stays) < 2:  # noqa: PLR2004 - a link has two ends
        raise ConfigError(f"topology: {len(stays)} of {len(graph)} nodes stay; at least two must")
    mended = repair_graph(graph, stays, degree=degree, seed=seed)
    # A family's own weights are those of its whole graph.
    weights = "metropolis" if topology.weights == "own" else topology.weights
    edges = [[mended.nodes[a], mended.nodes[b]] for a, b in mended.edges]
    return build_topology(kind="edges", edges=edges, weights=weights)


class _Mended:
    """A growing graph between positions; chance comes from the seed and the edges so far."""

    def __init__(self, count: int, seed: int) -> None:
        self.edges: list[tuple[int, int]] = []
        self._seed = seed
        self._near: list[set[int]] = [set() for _ in range(count)]

    def add(self, a: int, b: int) -> None:
        self.edges.append((a, b))
        self._near[a].add(b)
        self._near[b].add(a)

    def join_parts(self) -> None:
        """Links each part to the largest, where neighbours are fewest."""
        parts = sorted(self._parts(), key=lambda part: (-len(part), part[0]))
        together = parts[0]
        for part in parts[1:]:
            self.add(self._neediest(together), self._neediest(part))
            together = together + part

    def raise_degrees(self, degree: int) -> None:
        """Links nodes that lack neighbours, with each other as long as that can be."""
        lacking = [i for i, near in enumerate(self._near) if len(near) < degree]
        while lacking:
            a = self._neediest(lacking)
            strangers = self._strangers(a, lacking)
            self.add(a, self._neediest(strangers or self._strangers(a, range(len(self._near)))))
            lacking = [i for i in lacking if len(self._near[i]) < degree]

    def _strangers(self, a: int, among: Iterable[int]) -> list[int]:
        return [j for j in among if j != a and j not in self._near[a]]

    def _neediest(self, among: Sequence[int]) -> int:
        """One of those with the fewest neighbours, by a draw."""
        fewest = min(len(self._near[i]) for i in among)
        equal = [i for i in among if len(self._near[i]) == fewest]
        name = f"{equal[0]}/{len(equal)}"
        return equal[draw_bits(self._seed, name, "repair", len(self.edges)) % len(equal)]

    def _parts(self) -> list[list[int]]:
        seen: set[int] = set()
        parts = []
        for start in range(len(self._near)):
            if start in seen:
                continue
            part, ahead = [], [start]
            seen.add(start)
            while ahead:
                i = ahead.pop()
                part.append(i)
                fresh = self._near[i] - seen
                seen |= fresh
                ahead += sorted(fresh)
            parts.append(sorted(part))
        return parts
