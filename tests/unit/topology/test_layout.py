import math

import pytest

from p2pfl.topology import generators, random_graphs
from p2pfl.topology.graph import Graph
from p2pfl.topology.layout import place_nodes


@pytest.mark.parametrize(
    ("kind", "graph"),
    [
        ("ring", generators.ring(8)),
        ("ring", generators.ring(2)),
        ("path", generators.path(2)),
        ("path", generators.path(9)),
        ("star", generators.star(2)),
        ("star", generators.star(9)),
        ("complete", generators.complete(1)),
        ("complete", generators.complete(12)),
        ("torus", generators.torus(3, 5)),
        ("torus", generators.torus(2, 2)),
        ("torus", generators.torus(2, 4)),
        ("hypercube", generators.hypercube(4)),
        ("hypercube", generators.hypercube(8)),
        ("hypercube", generators.hypercube(16)),
        ("hypercube", generators.hypercube(32)),
        ("hypercube", generators.hypercube(64)),
        ("exponential", generators.exponential(16)),
        ("small_world", random_graphs.small_world(20, degree=4, rewire=0.2, seed=0)),
        ("random_regular", random_graphs.random_regular(16, degree=4, seed=0)),
        ("random_regular", random_graphs.random_regular(100, degree=4, seed=0)),
        ("edges", generators.from_edges([("a", "b"), ("b", "c"), ("b", "d")])),
    ],
)
def test_no_two_nodes_share_a_place_and_all_fit(kind: str, graph: Graph) -> None:
    places = place_nodes(graph, kind=kind)
    assert tuple(places) == graph.nodes
    points = list(places.values())
    assert all(abs(c) <= 1.0 + 1e-9 for point in points for c in point)
    assert all(math.dist(a, b) > 0.02 for i, a in enumerate(points) for b in points[:i]), (
        "two nodes hide each other"
    )


@pytest.mark.parametrize("sides", [(2, 2), (2, 3), (3, 2), (4, 4), (3, 7), (7, 3), (6, 2)])
def test_a_torus_stands_in_its_rows_and_columns(sides: tuple[int, int]) -> None:
    rows, columns = sides
    places = list(place_nodes(generators.torus(rows, columns), kind="torus").values())
    assert len({round(x, 9) for x, _ in places}) == columns
    assert len({round(y, 9) for _, y in places}) == rows


def test_what_is_called_a_torus_but_is_none_is_laid_out_by_distance() -> None:
    graph = generators.from_edges([("a", "b"), ("b", "c"), ("c", "d")])
    a, b, _, d = place_nodes(graph, kind="torus").values()
    assert math.dist(a, d) == pytest.approx(3 * math.dist(a, b), rel=0.1)


def test_nodes_that_are_somewhere_stand_there() -> None:
    graph = generators.ring(3)
    points = dict(zip(graph.nodes, [(0.0, 0.0), (0.5, 0.0), (0.0, 0.25)], strict=True))
    places = place_nodes(graph, kind="geometric", points=points)
    assert list(places.values()) == [(-1.0, -0.5), (1.0, -0.5), (-1.0, 0.5)]


def test_the_hub_of_a_star_stands_in_the_middle() -> None:
    graph = generators.star(7)
    assert place_nodes(graph, kind="star")[graph.nodes[0]] == (0.0, 0.0)


def test_the_same_graph_is_laid_out_the_same_way() -> None:
    graph = random_graphs.random_regular(100, degree=4, seed=0)
    assert place_nodes(graph, kind="edges") == place_nodes(graph, kind="edges")
