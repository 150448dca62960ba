from collections.abc import Callable

import pytest

from p2pfl.errors import ConfigError
from p2pfl.topology import generators
from p2pfl.topology.graph import Graph


@pytest.mark.parametrize(
    ("graph", "edges", "degrees"),
    [
        (generators.ring(2), 1, {1}),
        (generators.ring(8), 8, {2}),
        (generators.path(5), 4, {1, 2}),
        (generators.star(6), 5, {1, 5}),
        (generators.complete(1), 0, {0}),
        (generators.complete(6), 15, {5}),
        (generators.torus(4, 5), 40, {4}),
        (generators.torus(2, 2), 4, {2}),
        (generators.torus(2, 5), 15, {3}),
        (generators.hypercube(16), 32, {4}),
        (generators.circulant(8, offsets=[1, 2, 4]), 20, {5}),
        (generators.circulant(9, offsets=[-1, 10, 3]), 18, {4}),
        (generators.exponential(8), 20, {5}),
        (generators.exponential(8, directed=True), 24, {3}),
        (generators.exponential(5, directed=True), 15, {3}),
        (generators.exponential(2), 1, {1}),
    ],
    ids=repr,
)
def test_a_family_has_its_edges_and_degrees(graph: Graph, edges: int, degrees: set[int]) -> None:
    assert len(graph.edges) == edges
    assert set(graph.degrees) == degrees
    assert graph.is_connected


def test_nodes_are_numbered_from_zero() -> None:
    assert generators.ring(3).nodes == ("n0", "n1", "n2")


def test_the_undirected_exponential_graph_is_the_circulant_of_powers_of_two() -> None:
    assert generators.exponential(12) == generators.circulant(12, offsets=[1, 2, 4, 8])


def test_hypercube_neighbours_differ_in_one_bit() -> None:
    graph = generators.hypercube(32)
    assert all((a ^ b).bit_count() == 1 for a, b in graph.edges)


def test_a_torus_joins_its_borders() -> None:
    assert generators.torus(3, 4).adjacency[0] == (1, 3, 4, 8)


def test_edges_name_their_nodes_in_the_order_of_appearance() -> None:
    graph = generators.from_edges([("b", "a"), ("a", "c"), ("a", "b")])
    assert graph.nodes == ("b", "a", "c")
    assert graph.edges == ((0, 1), (1, 2))
    listed = generators.from_edges([("b", "a"), ("a", "c")], nodes=["a", "b", "c"])
    assert listed.nodes == ("a", "b", "c")
    one_way = generators.from_edges([("a", "b"), ("b", "a")], directed=True)
    assert one_way.edges == ((0, 1), (1, 0))


@pytest.mark.parametrize(
    ("build", "sentence"),
    [
        (lambda: generators.ring(1), "nodes = 1; a ring needs 2 to 100,000 nodes"),
        (lambda: generators.path(1), "nodes = 1; a path needs 2"),
        (lambda: generators.star(0), "nodes = 0; a star needs 2"),
        (lambda: generators.complete(0), "nodes = 0; a complete graph needs 1"),
        (lambda: generators.complete(3_200), "more than 5,000,000 edges; choose a sparser"),
        (lambda: generators.torus(1, 5), "rows = 1; a torus needs 2"),
        (lambda: generators.torus(5, 1), "columns = 1; a torus needs 2"),
        (lambda: generators.torus(1_000, 1_000), "nodes = 1000000; a torus needs 4 to 100,000"),
        (lambda: generators.hypercube(12), "a hypercube needs a power of two, e.g. 8 or 16"),
        (lambda: generators.circulant(8, offsets=[]), "needs offsets, e.g."),
        (lambda: generators.circulant(8, offsets=[1, 8]), "offsets has 8, which joins each of 8"),
        (lambda: generators.circulant(8, offsets=[2]), "n1 cannot be reached from n0"),
        (lambda: generators.exponential(1), "nodes = 1; an? exponential graph needs 2"),
        (lambda: generators.from_edges([]), "edges is empty"),
        (lambda: generators.from_edges([("a", "b"), ("c", "d")]), "c cannot be reached from a"),
    ],
)
def test_an_impossible_graph_is_refused_with_what_is_possible(
    build: Callable[[], Graph], sentence: str
) -> None:
    with pytest.raises(ConfigError, match=sentence):
        build()


def test_a_list_of_edges_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generators, "MAX_EDGES", 1)
    with pytest.raises(ConfigError, match="more than 2 edges"):
        generators.from_edges([("a", "b")] * 3)
