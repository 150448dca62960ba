"""The families of graphs that the field compares, each by its own numbers.

Every function returns a connected graph with the names n0, n1, ... or raises ConfigError with
the key, what was found and what is allowed.
"""

from collections.abc import Iterable, Sequence
from itertools import combinations

from p2pfl.errors import ConfigError
from p2pfl.topology.graph import MAX_EDGES, MAX_NODES, Graph, numbered
from p2pfl.types import NodeId


def check_at_least(kind: str, key: str, value: int, *, least: int) -> None:
    """Raises ConfigError unless least <= value <= MAX_NODES."""
    if not least <= value <= MAX_NODES:
        raise ConfigError(
            f"topology: {key} = {value}; a {kind} needs {least:,} to {MAX_NODES:,} {key}"
        )


def ring(nodes: int) -> Graph:
    """A cycle; of two nodes it is one edge."""
    check_at_least("ring", "nodes", nodes, least=2)
    return Graph(numbered(nodes), tuple((i, (i + 1) % nodes) for i in range(nodes)))


def path(nodes: int) -> Graph:
    """A line: the sparsest and slowest connected graph."""
    check_at_least("path", "nodes", nodes, least=2)
    return Graph(numbered(nodes), tuple((i, i + 1) for i in range(nodes - 1)))


def star(nodes: int) -> Graph:
    """One centre, n0, and leaves around it."""
    check_at_least("star", "nodes", nodes, least=2)
    return Graph(numbered(nodes), tuple((0, i) for i in range(1, nodes)))


def complete(nodes: int) -> Graph:
    """Everybody hears everybody; of one node it is no edge at all."""
    check_at_least("complete graph", "nodes", nodes, least=1)
    if nodes * (nodes - 1) // 2 > MAX_EDGES:
        raise ConfigError(
            f"topology: a complete graph of nodes = {nodes:,} has more than {MAX_EDGES:,} edges; "
            'choose a sparser one, e.g. kind = "random_regular", degree = 6'
        )
    return Graph(numbered(nodes), tuple(combinations(range(nodes), 2)))


def torus(rows: int, columns: int) -> Graph:
    """A grid whose borders are joined; a side of two has one edge instead of two."""
    check_at_least("torus", "rows", rows, least=2)
    check_at_least("torus", "columns", columns, least=2)
    check_at_least("torus", "nodes", rows * columns, least=4)

    def place(row: int, column: int) -> int:
        return row % rows * columns + column % columns

    cells = [(row, column) for row in range(rows) for column in range(columns)]
    right = [(place(row, column), place(row, column + 1)) for row, column in cells]
    down = [(place(row, column), place(row + 1, column)) for row, column in cells]
    return Graph(numbered(rows * columns), tuple(right + down))


def hypercube(nodes: int) -> Graph:
    """2^D nodes, joined where their numbers differ in one bit."""
    check_at_least("hypercube", "nodes", nodes, least=2)
    if nodes & (nodes - 1):
        above = 1 << nodes.bit_length()
        raise ConfigError(
            f"topology: nodes = {nodes}; a hypercube needs a power of two, e.g. "
            f"{above // 2} or {above}"
        )
    bits = range(nodes.bit_length() - 1)
    return Graph(
        numbered(nodes),
        tuple((i, i ^ 1 << bit) for i in range(nodes) for bit in bits if not i >> bit & 1),
    )


def circulant(nodes: int, *, offsets: Sequence[int], directed: bool = False) -> Graph:
    """Node i is joined to i + o (mod n) for each offset o; directed: i + o hears i."""
    check_at_least("circulant graph", "nodes", nodes, least=2)
    if not offsets:
        raise ConfigError(
            "topology: a circulant graph needs offsets, e.g. offsets = [1, 2, 4] joins node i to "
            "i+1, i+2 and i+4"
        )
    for offset in offsets:
        if offset % nodes == 0:
            raise ConfigError(
                f"topology: offsets has {offset}, which joins each of {nodes} nodes to itself; "
                f"allowed are 1 to {nodes - 1}"
            )
    edges = tuple((i, (i + offset) % nodes) for i in range(nodes) for offset in offsets)
    return Graph(numbered(nodes), edges, directed).validate()


def exponential(nodes: int, *, directed: bool = False) -> Graph:
    """The static exponential graph: hops of 1, 2, 4, ... below n.

    Undirected it is the circulant with these offsets, which is what PullMix needs.

    Source: B. Ying, K. Yuan, Y. Chen, H. Hu, P. Pan, W. Yin, "Exponential Graph is Provably
    Efficient for Decentralized Deep Training", 2021.
    """
    check_at_least("exponential graph", "nodes", nodes, least=2)
    hops = [1 << k for k in range((nodes - 1).bit_length())]
    return circulant(nodes, offsets=hops, directed=directed)


def from_edges(
    edges: Iterable[tuple[str, str]], *, nodes: Iterable[str] = (), directed: bool = False
) -> Graph:
    """The graph of these edges between names; directed: (a, b) says that b hears a.

    Nodes stand in the order of `nodes`, then of their first edge. An edge told twice counts once.
    """
    position = {node: i for i, node in enumerate(dict.fromkeys(nodes))}
    pairs = []
    for a, b in edges:
        pairs.append((position.setdefault(a, len(position)), position.setdefault(b, len(position))))
        if len(pairs) > 2 * MAX_EDGES:
            raise ConfigError(f"topology: more than {2 * MAX_EDGES:,} edges")
    if not position:
        raise ConfigError('topology: edges is empty; name at least one, e.g. edges = [["a", "b"]]')
    return Graph(tuple(NodeId(node) for node in position), tuple(pairs), directed).validate()
