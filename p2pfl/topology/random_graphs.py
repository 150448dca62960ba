"""Random graphs, drawn by counter: the same seed gives the same graph on every machine.

They do not come from networkx, because the machines of one run may hold different versions of it.
"""

from collections.abc import Iterator
from itertools import combinations
from math import log
from typing import Final

from p2pfl.draws import draw, draw_bits
from p2pfl.errors import ConfigError
from p2pfl.topology.generators import check_at_least, complete
from p2pfl.topology.graph import MAX_EDGES, Graph, numbered

MAX_ATTEMPTS: Final = 100
"""A random regular graph of degree 3 or more is almost surely connected at the first."""

_MAX_TURNS: Final = 1_000

Edges = set[tuple[int, int]]


def random_regular(nodes: int, *, degree: int, seed: int) -> Graph:
    """A connected graph in which every node has `degree` neighbours, asymptotically uniform.

    Source: A. Steger, N. C. Wormald, "Generating Random Regular Graphs Quickly", 1999.
    """
    check_at_least("random regular graph", "nodes", nodes, least=2)
    _check_degree("random regular graph", nodes, degree, least=1)
    if nodes * degree % 2:
        raise ConfigError(
            f"topology: nodes = {nodes} and degree = {degree}; nodes x degree must be even, "
            f"because each edge has two ends: take degree = {degree + 1}"
        )
    # A dense graph is the complement of a sparse one, which is quick to pair.
    dense = degree > (nodes - 1) // 2
    sparse_degree = nodes - 1 - degree if dense else degree
    for attempt in range(MAX_ATTEMPTS):
        edges = _pair(nodes, sparse_degree, seed=seed, attempt=attempt)
        if edges is None:
            continue
        if dense:
            edges = set(complete(nodes).edges) - edges
        graph = Graph(numbered(nodes), tuple(edges))
        if graph.is_connected:
            return graph
    raise ConfigError(
        f"topology: no connected graph with degree = {degree} in {MAX_ATTEMPTS} draws; take a "
        'larger degree, or kind = "ring"'
    )


def small_world(nodes: int, *, degree: int, rewire: float, seed: int) -> Graph:
    """A ring lattice of even `degree`, each edge moved to a random end with chance `rewire`.

    Drawn again until it is connected.

    Source: D. J. Watts, S. H. Strogatz, "Collective dynamics of 'small-world' networks", 1998.
    """
    check_at_least("small world", "nodes", nodes, least=3)
    _check_degree("small world", nodes, degree, least=2)
    if degree % 2:
        raise ConfigError(
            f"topology: degree = {degree}; a small world needs an even one, half to each side, "
            f"e.g. {degree - 1} or {degree + 1}"
        )
    if not 0.0 <= rewire <= 1.0:
        raise ConfigError(f"topology: rewire = {rewire}; it is a probability, from 0 to 1")
    for attempt in range(MAX_ATTEMPTS):
        edges = _rewired(nodes, degree, rewire=rewire, seed=seed, attempt=attempt)
        graph = Graph(numbered(nodes), tuple(edges))
        if graph.is_connected:
            return graph
    raise ConfigError(
        f"topology: no connected small world in {MAX_ATTEMPTS} draws; take a larger degree than "
        f"{degree}, or a smaller rewire than {rewire}"
    )


def erdos_renyi(nodes: int, *, probability: float, seed: int) -> Graph:
    """A connected graph in which each pair is joined with this probability, on its own: G(n, p).

    Below ln(n) / n it is seldom connected, and redrawing gives up. Drawn by skipping over the pairs
    that are not joined, so that the effort is that of the edges. Sources: P. Erdos, A. Renyi, "On
    random graphs", 1959; V. Batagelj, U. Brandes, "Efficient generation of large random
    networks", 2005.
    """
    check_at_least("Erdos-Renyi graph", "nodes", nodes, least=2)
    if not 0.0 < probability <= 1.0:
        raise ConfigError(f"topology: probability = {probability}; allowed: above 0 and at most 1")
    if probability == 1.0:
        return complete(nodes)
    for attempt in range(MAX_ATTEMPTS):
        edges = tuple(_joined_pairs(nodes, probability, seed=seed, attempt=attempt))
        graph = Graph(numbered(nodes), edges)
        if graph.is_connected:
            return graph
    raise ConfigError(
        f"topology: no connected graph in {MAX_ATTEMPTS} draws; take a larger probability than "
        f"{probability:g}: ln(n) / n = {log(nodes) / nodes:.3g} is the least that is often enough"
    )


def barabasi_albert(nodes: int, *, links_per_node: int, seed: int) -> Graph:
    """Each new node links to so many older ones, the more linked the likelier: hubs and leaves.

    It grows from a star of links_per_node + 1 nodes. Source: A.-L. Barabasi, R. Albert, "Emergence
    of scaling in random networks", 1999.
    """
    check_at_least("Barabasi-Albert graph", "nodes", nodes, least=2)
    if not 1 <= links_per_node < nodes:
        raise ConfigError(
            f"topology: links_per_node = {links_per_node}; a Barabasi-Albert graph of {nodes} "
            f"nodes needs 1 to {nodes - 1}"
        )
    if nodes * links_per_node > MAX_EDGES:
        raise ConfigError(
            f"topology: nodes = {nodes:,} with links_per_node = {links_per_node:,} have more than "
            f"{MAX_EDGES:,} edges; take fewer links"
        )
    edges = [(0, i) for i in range(1, links_per_node + 1)]
    ends = [end for edge in edges for end in edge]
    for new in range(links_per_node + 1, nodes):
        chosen: set[int] = set()
        turn = 0
        while len(chosen) < links_per_node:
            chosen.add(ends[draw_bits(seed, str(new), "barabasi_albert", turn) % len(ends)])
            turn += 1
        edges += [(old, new) for old in sorted(chosen)]
        ends += [end for old in sorted(chosen) for end in (old, new)]
    return Graph(numbered(nodes), tuple(edges))


def _joined_pairs(
    nodes: int, probability: float, *, seed: int, attempt: int
) -> Iterator[tuple[int, int]]:
    """Pairs (a, b) with a < b, in the order of b: the gaps between joined ones are geometric."""
    a, b, k = -1, 1, 0
    per_gap = log(1.0 - probability)
    while b < nodes:
        chance = draw(seed, str(attempt), "erdos_renyi", k)
        a += 1 + int(log(1.0 - chance) / per_gap)
        k += 1
        while a >= b and b < nodes:
            a -= b
            b += 1
        if b < nodes:
            yield a, b


def _check_degree(kind: str, nodes: int, degree: int, *, least: int) -> None:
    if not least <= degree < nodes:
        raise ConfigError(
            f"topology: degree = {degree}; a {kind} of {nodes} nodes needs {least} to {nodes - 1}"
        )
    if nodes * degree // 2 > MAX_EDGES:
        raise ConfigError(
            f"topology: nodes = {nodes:,} with degree = {degree:,} have more than {MAX_EDGES:,} "
            "edges; take a smaller degree"
        )


def _pair(nodes: int, degree: int, *, seed: int, attempt: int) -> Edges | None:
    """Joins free ends at random, those that clash once more; None: no way out was left."""
    edges: Edges = set()
    ends = [node for node in range(nodes) for _ in range(degree)]
    for turn in range(_MAX_TURNS):
        if not ends:
            return edges
        keys = [draw_bits(seed, f"{attempt}/{turn}", "random_regular", k) for k in range(len(ends))]
        shuffled = [end for _, end in sorted(zip(keys, ends, strict=True))]
        ends = []
        for a, b in zip(shuffled[::2], shuffled[1::2], strict=True):
            edge = (min(a, b), max(a, b))
            if a == b or edge in edges:
                ends += [a, b]
            else:
                edges.add(edge)
        if ends and all(pair in edges for pair in combinations(sorted(set(ends)), 2)):
            return None
    return None


def _rewired(nodes: int, degree: int, *, rewire: float, seed: int, attempt: int) -> Edges:
    lattice = [(i, (i + lap) % nodes) for lap in range(1, degree // 2 + 1) for i in range(nodes)]
    neighbours: list[set[int]] = [set() for _ in range(nodes)]
    for a, b in lattice:
        neighbours[a].add(b)
        neighbours[b].add(a)
    for k, (a, b) in enumerate(lattice):
        coin = draw(seed, str(attempt), "small_world/coin", k)
        if coin >= rewire or len(neighbours[a]) == nodes - 1:
            continue
        free = [j for j in range(nodes) if j != a and j not in neighbours[a]]
        end = free[draw_bits(seed, str(attempt), "small_world/end", k) % len(free)]
        neighbours[a].remove(b)
        neighbours[b].remove(a)
        neighbours[a].add(end)
        neighbours[end].add(a)
    return {(min(a, b), max(a, b)) for a, row in enumerate(neighbours) for b in row}
