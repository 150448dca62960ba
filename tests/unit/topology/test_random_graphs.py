from collections import Counter
from collections.abc import Callable

import pytest

from p2pfl.errors import ConfigError
from p2pfl.topology import random_graphs
from p2pfl.topology.generators import complete
from p2pfl.topology.graph import Graph, circulant_offsets
from p2pfl.topology.random_graphs import (
    barabasi_albert,
    erdos_renyi,
    random_regular,
    small_world,
)


@pytest.mark.parametrize("nodes", [5, 6, 16, 50])
@pytest.mark.parametrize("degree", [2, 4, 8, 15, 30, 49])
@pytest.mark.parametrize("seed", [0, 1])
def test_every_node_of_a_random_regular_graph_has_the_degree(
    nodes: int, degree: int, seed: int
) -> None:
    if degree >= nodes or nodes * degree % 2:
        with pytest.raises(ConfigError):
            random_regular(nodes, degree=degree, seed=seed)
        return
    graph = random_regular(nodes, degree=degree, seed=seed)
    assert set(graph.degrees) == {degree}
    assert graph.is_connected


def test_two_nodes_of_degree_one_are_one_edge() -> None:
    assert random_regular(2, degree=1, seed=0).edges == ((0, 1),)


def test_full_degree_is_the_complete_graph() -> None:
    assert random_regular(7, degree=6, seed=3) == complete(7)


def test_the_same_seed_draws_the_same_graph_everywhere() -> None:
    regular = "0-5 0-6 0-7 1-2 1-3 1-4 2-4 2-6 3-4 3-7 5-6 5-7"
    assert _told(random_regular(8, degree=3, seed=0)) == regular
    small = "0-2 0-4 1-4 2-6 3-7 4-6 4-7 5-6"
    assert _told(small_world(8, degree=2, rewire=0.5, seed=0)) == small


def _told(graph: Graph) -> str:
    return " ".join(f"{a}-{b}" for a, b in graph.edges)


def test_another_seed_draws_another_graph() -> None:
    assert random_regular(16, degree=4, seed=0) != random_regular(16, degree=4, seed=1)
    first = small_world(16, degree=4, rewire=0.5, seed=0)
    assert first != small_world(16, degree=4, rewire=0.5, seed=1)


def test_a_small_world_without_rewiring_is_a_lattice() -> None:
    graph = small_world(10, degree=4, rewire=0.0, seed=0)
    assert circulant_offsets(graph) == (1, 2, 8, 9)


def test_rewiring_moves_edges_and_keeps_their_number() -> None:
    graph = small_world(40, degree=4, rewire=1.0, seed=2)
    assert len(graph.edges) == 80
    assert graph.is_connected
    far = [edge for edge in graph.edges if min(edge[1] - edge[0], edge[0] + 40 - edge[1]) > 2]
    assert len(far) > 50


def test_a_full_node_keeps_its_edges() -> None:
    assert small_world(5, degree=4, rewire=1.0, seed=0) == complete(5)


@pytest.mark.parametrize(
    ("build", "sentence"),
    [
        (lambda: random_regular(1, degree=1, seed=0), "nodes = 1; a random regular graph needs"),
        (lambda: random_regular(8, degree=8, seed=0), "degree = 8; .* of 8 nodes needs 1 to 7"),
        (lambda: random_regular(5, degree=3, seed=0), "must be even, .* take degree = 4"),
        (lambda: random_regular(4, degree=1, seed=0), "no connected graph with degree = 1"),
        (lambda: random_regular(50_000, degree=400, seed=0), "take a smaller degree"),
        (lambda: small_world(10, degree=3, rewire=0.1, seed=0), "an even one, .* 2 or 4"),
        (lambda: small_world(10, degree=4, rewire=1.5, seed=0), "rewire = 1.5; it is a probabi"),
        (lambda: small_world(2, degree=1, rewire=0.1, seed=0), "nodes = 2; a small world needs 3"),
    ],
)
def test_what_cannot_be_drawn_is_refused_with_what_can(
    build: Callable[[], Graph], sentence: str
) -> None:
    with pytest.raises(ConfigError, match=sentence):
        build()


def test_a_small_world_is_drawn_until_it_is_connected(monkeypatch: pytest.MonkeyPatch) -> None:
    def draw(seed: int) -> Graph:
        return small_world(60, degree=2, rewire=1.0, seed=seed)

    assert all(draw(seed).is_connected for seed in range(8))
    monkeypatch.setattr(random_graphs, "MAX_ATTEMPTS", 1)
    with pytest.raises(ConfigError, match="no connected small world in 1 draws; take a larger"):
        [draw(seed) for seed in range(8)]


def test_a_pairing_that_is_stuck_is_given_up() -> None:
    stuck = [
        random_graphs._pair(4, 2, seed=seed, attempt=attempt)
        for seed in range(20)
        for attempt in range(5)
    ]
    assert None in stuck
    assert all(edges is None or len(edges) == 4 for edges in stuck)


def test_a_pairing_ends_after_its_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(random_graphs, "_MAX_TURNS", 1)
    assert random_graphs._pair(50, 20, seed=0, attempt=0) is None


def test_every_pair_is_joined_with_the_same_probability() -> None:
    """Of the 38 connected graphs on four nodes 16 have three edges, 15 four, 6 five and 1 six."""
    draws = 4_000
    sizes = Counter(len(erdos_renyi(4, probability=0.5, seed=s).edges) for s in range(draws))
    expected = {3: 16, 4: 15, 5: 6, 6: 1}
    assert set(sizes) == set(expected)
    for edges, graphs in expected.items():
        share = graphs / 38
        assert abs(sizes[edges] / draws - share) < 4 * (share * (1 - share) / draws) ** 0.5


def test_a_large_random_graph_has_the_expected_number_of_edges() -> None:
    graph = erdos_renyi(1_000, probability=0.02, seed=0)
    assert graph.is_connected
    expected = 0.02 * 1_000 * 999 / 2
    assert abs(len(graph.edges) - expected) < 5 * expected**0.5
    assert erdos_renyi(9, probability=1.0, seed=0) == complete(9)
    assert erdos_renyi(16, probability=0.4, seed=0) != erdos_renyi(16, probability=0.4, seed=1)


def test_a_probability_too_small_to_connect_is_refused_with_one_that_is_enough() -> None:
    with pytest.raises(ConfigError, match=r"larger probability than 0\.01: ln\(n\) / n = 0\.0782"):
        erdos_renyi(50, probability=0.01, seed=0)
    with pytest.raises(ConfigError, match="probability = 0; allowed: above 0"):
        erdos_renyi(50, probability=0, seed=0)


@pytest.mark.parametrize("links", [1, 2, 5])
def test_each_new_node_brings_its_links_and_some_become_hubs(links: int) -> None:
    graph = barabasi_albert(400, links_per_node=links, seed=0)
    assert len(graph.edges) == links + links * (400 - links - 1)
    assert graph.is_connected
    assert min(graph.degrees) >= 1
    assert all(sum(j < i for j in graph.adjacency[i]) == links for i in range(links + 1, 400))
    assert max(graph.degrees) > 6 * sum(graph.degrees) / 400
    assert graph != barabasi_albert(400, links_per_node=links, seed=1)


def test_links_out_of_range_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for links in (0, 8):
        with pytest.raises(ConfigError, match=rf"links_per_node = {links}; .* needs 1 to 7"):
            barabasi_albert(8, links_per_node=links, seed=0)
    monkeypatch.setattr(random_graphs, "MAX_EDGES", 15)
    with pytest.raises(ConfigError, match="have more than 15 edges; take fewer links"):
        barabasi_albert(8, links_per_node=2, seed=0)
