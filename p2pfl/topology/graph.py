"""A graph as plain frozen data: who hears whom."""

import re
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from p2pfl.errors import ConfigError
from p2pfl.types import NodeId

MAX_NODES: Final = 100_000
"""Ten times what one simulation is meant to hold."""

MAX_EDGES: Final = 5_000_000
"""Complete graphs grow with the square of the nodes: this one has 3,162 of them."""

_NODE_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")

Adjacency = tuple[tuple[int, ...], ...]


def numbered(count: int) -> tuple[NodeId, ...]:
    """The default names: n0, n1, ..."""
    return tuple(NodeId(f"n{i}") for i in range(count))


@dataclass(frozen=True, slots=True, repr=False)
class Graph:
    """Nodes in a fixed order, and edges as pairs of their positions, sorted, each once.

    Undirected edges are (lower, higher). A directed edge (a, b) says that b hears a.

    Raises:
        ConfigError: a name cannot stand in a topic or occurs twice, an edge joins a node to itself,
            or the graph is too large.
    """

    nodes: tuple[NodeId, ...]
    edges: tuple[tuple[int, int], ...]
    directed: bool = False
    _position: dict[NodeId, int] = field(init=False, compare=False)
    _heard: Adjacency = field(init=False, compare=False)
    _hearing: Adjacency = field(init=False, compare=False)

    def __post_init__(self) -> None:
        _check_nodes(self.nodes)
        edges = _canonical(self.nodes, self.edges, directed=self.directed)
        heard: list[list[int]] = [[] for _ in self.nodes]
        hearing: list[list[int]] = [[] for _ in self.nodes]
        for a, b in edges:
            heard[b].append(a)
            hearing[a].append(b)
            if not self.directed:
                heard[a].append(b)
                hearing[b].append(a)
        object.__setattr__(self, "edges", edges)
        object.__setattr__(self, "_position", {node: i for i, node in enumerate(self.nodes)})
        object.__setattr__(self, "_heard", tuple(tuple(sorted(row)) for row in heard))
        object.__setattr__(self, "_hearing", tuple(tuple(sorted(row)) for row in hearing))

    def __repr__(self) -> str:
        kind = "directed" if self.directed else "undirected"
        return f"Graph({len(self.nodes)} nodes, {len(self.edges)} edges, {kind})"

    def __len__(self) -> int:
        return len(self.nodes)

    @property
    def adjacency(self) -> Adjacency:
        """For each position the positions that it hears, ascending."""
        return self._heard

    @property
    def degrees(self) -> tuple[int, ...]:
        """For each position how many nodes it hears."""
        return tuple(len(row) for row in self._heard)

    def position(self, node: NodeId) -> int:
        """Where `node` stands in `nodes`.

        Raises:
            ConfigError: there is no such node.
        """
        if node not in self._position:
            known = ", ".join(self.nodes[:8]) + (", ..." if len(self.nodes) > 8 else "")  # noqa: PLR2004 - what fits on a line
            raise ConfigError(f"topology: there is no node {node!r}; the nodes are {known}")
        return self._position[node]

    def neighbours(self, node: NodeId) -> tuple[NodeId, ...]:
        """Whom `node` hears (directed: its in-neighbours), in the order of `nodes`."""
        return tuple(self.nodes[i] for i in self._heard[self.position(node)])

    def in_neighbours(self, node: NodeId) -> tuple[NodeId, ...]:
        """Whom `node` hears: the same as `neighbours`."""
        return self.neighbours(node)

    def out_neighbours(self, node: NodeId) -> tuple[NodeId, ...]:
        """Who hears `node`, in the order of `nodes`."""
        return tuple(self.nodes[i] for i in self._hearing[self.position(node)])

    def degree(self, node: NodeId) -> int:
        """How many nodes `node` hears."""
        return len(self._heard[self.position(node)])

    def distances(self, start: int) -> list[int]:
        """Hops from position `start` to every position along the edges; -1: unreachable."""
        return _hops(self._hearing, start)

    @property
    def is_connected(self) -> bool:
        """Whether a model travels from every node to every other (directed: strongly)."""
        return self._unreachable() is None

    def validate(self) -> "Graph":
        """This graph, if a model travels from every node to every other.

        Raises:
            ConfigError: names a pair of nodes without a path.
        """
        pair = self._unreachable()
        if pair is None:
            return self
        source, target = (self.nodes[i] for i in pair)
        along = " along the edges' direction" if self.directed else ""
        raise ConfigError(
            f"topology: {target} cannot be reached from {source}{along}, so they would never learn "
            "from each other; add an edge that joins the parts"
        )

    def _unreachable(self) -> tuple[int, int] | None:
        forward = _hops(self._hearing, 0)
        if -1 in forward:
            return 0, forward.index(-1)
        backward = _hops(self._heard, 0) if self.directed else forward
        return (backward.index(-1), 0) if -1 in backward else None


def circulant_offsets(graph: Graph) -> tuple[int, ...] | None:
    """The offsets o for which every position i hears i + o (mod n); None: no such rule."""
    count = len(graph)
    offsets = graph.adjacency[0]
    for i, row in enumerate(graph.adjacency):
        if len(row) != len(offsets) or {(j - i) % count for j in row} != set(offsets):
            return None
    return offsets


def _hops(rows: Sequence[Sequence[int]], start: int) -> list[int]:
    hops = [-1] * len(rows)
    hops[start] = 0
    queue = deque([start])
    while queue:
        i = queue.popleft()
        for j in rows[i]:
            if hops[j] < 0:
                hops[j] = hops[i] + 1
                queue.append(j)
    return hops


def _check_nodes(nodes: Sequence[str]) -> None:
    if not 1 <= len(nodes) <= MAX_NODES:
        raise ConfigError(f"topology: {len(nodes):,} nodes; allowed are 1 to {MAX_NODES:,}")
    seen: set[str] = set()
    for node in nodes:
        if not _NODE_ID.fullmatch(node):
            raise ConfigError(
                f"topology: node name {node!r}; allowed are 1 to 64 of letters, digits, _ and -"
            )
        if node in seen:
            raise ConfigError(f"topology: node {node} is listed twice")
        seen.add(node)


def _canonical(
    nodes: Sequence[str], edges: Iterable[tuple[int, int]], *, directed: bool
) -> tuple[tuple[int, int], ...]:
    unique: set[tuple[int, int]] = set()
    for a, b in edges:
        if a == b:
            raise ConfigError(f"topology: an edge joins {nodes[a]} to itself; remove it")
        unique.add((a, b) if directed or a < b else (b, a))
        if len(unique) > MAX_EDGES:
            raise ConfigError(
                f"topology: more than {MAX_EDGES:,} edges; choose a sparser graph, e.g. "
                'kind = "random_regular", degree = 6'
            )
    return tuple(sorted(unique))
