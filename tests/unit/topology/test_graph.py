import pytest

from p2pfl.errors import ConfigError
from p2pfl.topology import graph as graph_module
from p2pfl.topology.graph import Graph, circulant_offsets, numbered
from p2pfl.types import NodeId

A, B, C = (NodeId(name) for name in "abc")


def test_edges_are_kept_sorted_and_once_whatever_their_order() -> None:
    graph = Graph((A, B, C), ((2, 1), (0, 1), (1, 0)))
    assert graph.edges == ((0, 1), (1, 2))
    assert graph == Graph((A, B, C), ((0, 1), (1, 2)))
    assert hash(graph) == hash(Graph((A, B, C), ((0, 1), (1, 2))))


def test_undirected_neighbours_hear_each_other() -> None:
    graph = Graph((A, B, C), ((0, 1), (1, 2)))
    assert graph.neighbours(B) == graph.out_neighbours(B) == graph.in_neighbours(B) == (A, C)
    assert graph.degree(B) == 2
    assert graph.degrees == (1, 2, 1)
    assert graph.adjacency == ((1,), (0, 2), (1,))


def test_a_directed_edge_is_heard_by_its_end_alone() -> None:
    graph = Graph((A, B, C), ((0, 1), (1, 0), (1, 2)), directed=True)
    assert graph.neighbours(C) == graph.in_neighbours(C) == (B,)
    assert graph.out_neighbours(C) == ()
    assert graph.out_neighbours(B) == (A, C)
    assert graph.edges == ((0, 1), (1, 0), (1, 2))


def test_the_graph_describes_itself_without_its_edges() -> None:
    assert repr(Graph((A, B), ((0, 1),))) == "Graph(2 nodes, 1 edges, undirected)"
    assert repr(Graph((A, B), ((0, 1),), directed=True)) == "Graph(2 nodes, 1 edges, directed)"


def test_a_node_that_nobody_reaches_is_named() -> None:
    graph = Graph((A, B, C), ((0, 1),))
    assert not graph.is_connected
    with pytest.raises(ConfigError, match=r"^topology: c cannot be reached from a, so"):
        graph.validate()


@pytest.mark.parametrize(
    ("edges", "sentence"),
    [
        (((0, 1), (1, 0), (1, 2)), "a cannot be reached from c along the edges' direction"),
        (((0, 1), (1, 0), (2, 1)), "c cannot be reached from a along the edges' direction"),
    ],
)
def test_directed_graphs_must_be_strongly_connected(
    edges: tuple[tuple[int, int], ...], sentence: str
) -> None:
    with pytest.raises(ConfigError, match=sentence):
        Graph((A, B, C), edges, directed=True).validate()


def test_a_connected_graph_validates_to_itself() -> None:
    one_way = Graph((A, B, C), ((0, 1), (1, 2), (2, 0)), directed=True)
    assert one_way.validate() is one_way
    assert one_way.distances(0) == [0, 1, 2]
    assert Graph((A, B, C), ((0, 1),)).distances(0) == [0, 1, -1]
    assert len(one_way) == 3


def test_an_edge_from_a_node_to_itself_is_refused() -> None:
    with pytest.raises(ConfigError, match="joins b to itself"):
        Graph((A, B), ((1, 1),))


@pytest.mark.parametrize("name", ["", "a/b", "x" * 65, "a b", "+", "é"])
def test_a_name_that_cannot_stand_in_a_topic_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="node name"):
        Graph((NodeId(name),), ())


def test_names_are_unique_and_known() -> None:
    with pytest.raises(ConfigError, match="node a is listed twice"):
        Graph((A, A), ())
    with pytest.raises(ConfigError, match="no node 'z'; the nodes are a, b, c"):
        Graph((A, B, C), ()).position(NodeId("z"))
    with pytest.raises(ConfigError, match=r"n7, \.\.\.$"):
        Graph(numbered(9), ()).position(NodeId("z"))


def test_sizes_are_limited_at_the_edge(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graph_module, "MAX_NODES", 3)
    monkeypatch.setattr(graph_module, "MAX_EDGES", 2)
    Graph((A, B, C), ((0, 1), (1, 2), (2, 1)))
    with pytest.raises(ConfigError, match="more than 2 edges"):
        Graph((A, B, C), ((0, 1), (1, 2), (0, 2)))
    with pytest.raises(ConfigError, match="4 nodes; allowed are 1 to 3"):
        Graph(numbered(4), ())
    with pytest.raises(ConfigError, match="0 nodes"):
        Graph((), ())


def test_circulants_are_recognised_by_their_offsets() -> None:
    ring = Graph(numbered(5), tuple((i, (i + 1) % 5) for i in range(5)))
    assert circulant_offsets(ring) == (1, 4)
    assert circulant_offsets(Graph(numbered(3), ((0, 1), (1, 2)))) is None
    # Every node has two neighbours, but there is no one rule.
    assert circulant_offsets(Graph(numbered(4), ((0, 1), (1, 3), (3, 2), (2, 0)))) is None
    assert circulant_offsets(Graph(numbered(1), ())) == ()
