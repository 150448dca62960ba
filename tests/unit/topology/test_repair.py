import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pfl.errors import ConfigError
from p2pfl.topology import generators, random_graphs
from p2pfl.topology.graph import Graph
from p2pfl.topology.repair import repair_graph
from p2pfl.types import NodeId


def links(graph: Graph) -> set[frozenset[str]]:
    return {frozenset((graph.nodes[a], graph.nodes[b])) for a, b in graph.edges}


@given(
    nodes=st.integers(3, 30),
    degree=st.integers(0, 6),
    seed=st.integers(0, 1000),
    data=st.data(),
)
@settings(max_examples=150, deadline=None)
def test_survivors_keep_their_links_and_get_enough(
    nodes: int, degree: int, seed: int, data: st.DataObject
) -> None:
    graph = random_graphs.small_world(nodes, degree=2, rewire=0.3, seed=seed)
    newcomers = [NodeId("new1"), NodeId("new2")]
    alive = data.draw(st.sets(st.sampled_from([*graph.nodes, *newcomers]), min_size=1))
    mended = repair_graph(graph, alive, degree=degree, seed=seed)
    assert set(mended.nodes) == alive
    assert mended.is_connected
    assert links(mended) >= {link for link in links(graph) if link <= alive}
    assert min(mended.degrees) >= min(degree, len(alive) - 1)
    assert repair_graph(graph, sorted(alive, reverse=True), degree=degree, seed=seed) == mended
    assert repair_graph(mended, alive, degree=degree, seed=seed + 1) == mended


@pytest.mark.parametrize("seed", range(5))
def test_a_regular_graph_stays_nearly_regular(seed: int) -> None:
    graph = random_graphs.random_regular(100, degree=4, seed=seed)
    alive = [node for i, node in enumerate(graph.nodes) if i % 4]
    mended = repair_graph(graph, alive, degree=4, seed=seed)
    assert min(mended.degrees) == 4
    assert sum(degree > 4 for degree in mended.degrees) <= 3


def test_leaves_without_their_hub_find_each_other() -> None:
    graph = generators.star(10)
    mended = repair_graph(graph, graph.nodes[1:], degree=3, seed=0)
    assert mended.is_connected
    assert sorted(mended.degrees) == [3] * 8 + [4]


def test_a_node_that_joins_is_linked_to_those_who_lack_neighbours() -> None:
    ring = generators.ring(6)
    without = repair_graph(ring, ring.nodes[:5], degree=2, seed=0)
    back = repair_graph(without, ring.nodes, degree=2, seed=0)
    assert back.nodes == ring.nodes
    assert back.degree(NodeId("n5")) == 2


def test_the_seed_decides_among_equals() -> None:
    graph = generators.star(12)
    mended = [repair_graph(graph, graph.nodes[1:], degree=2, seed=seed) for seed in range(5)]
    assert len({graph.edges for graph in mended}) > 1


def test_the_last_one_is_alone() -> None:
    assert repair_graph(generators.ring(4), [NodeId("n2")], degree=4, seed=0).edges == ()


def test_what_cannot_be_repaired_is_refused() -> None:
    with pytest.raises(ConfigError, match="only undirected"):
        repair_graph(generators.exponential(8, directed=True), [NodeId("n1")], degree=1, seed=0)
    with pytest.raises(ConfigError, match="0 nodes alive and degree = 2"):
        repair_graph(generators.ring(4), [], degree=2, seed=0)
    with pytest.raises(ConfigError, match="degree = -1"):
        repair_graph(generators.ring(4), [NodeId("n1")], degree=-1, seed=0)
