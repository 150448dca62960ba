from collections.abc import Callable, Mapping

import networkx as nx
import numpy as np
import pytest

from p2pfl.errors import ConfigError
from p2pfl.topology import generators, optimal_weights, random_graphs
from p2pfl.topology.graph import Graph
from p2pfl.topology.optimal_weights import best_constant_rows, fdla_rows, fmmc_rows
from p2pfl.topology.spectrum import second_eigenvalue_of_rows
from p2pfl.topology.weights import WeightRow, matrix_of_rows, weight_rows
from p2pfl.types import Matrix, NodeId

Rule = Callable[[Graph], Mapping[NodeId, WeightRow]]


def karate() -> Graph:
    club = nx.karate_club_graph()
    return generators.from_edges([(str(a), str(b)) for a, b in club.edges()])


GRAPHS = {
    "ring": generators.ring(16),
    "star": generators.star(16),
    "path": generators.path(8),
    "karate": karate(),
    "regular": random_graphs.random_regular(40, degree=4, seed=0),
    "small_world": random_graphs.small_world(30, degree=4, rewire=0.2, seed=0),
    "barabasi": random_graphs.barabasi_albert(40, links_per_node=2, seed=0),
    "complete": generators.complete(7),
    "pair": generators.path(2),
}
every_graph = pytest.mark.parametrize("graph", GRAPHS.values(), ids=GRAPHS)
every_rule = pytest.mark.parametrize("rule", [best_constant_rows, fdla_rows, fmmc_rows])


def norm(matrix: Matrix) -> float:
    """||W - J||."""
    return float(np.linalg.norm(matrix - 1.0 / len(matrix), ord=2))


@pytest.mark.parametrize(
    ("name", "best", "metropolis"),
    [
        ("ring", 0.92667, 0.94925),
        ("star", 0.88235, 0.9375),
        ("path", 0.92388, 0.94925),
        ("karate", 0.94964, 0.96876),
    ],
)
def test_the_best_constant_has_its_known_numbers(name: str, best: float, metropolis: float) -> None:
    graph = GRAPHS[name]
    assert second_eigenvalue_of_rows(best_constant_rows(graph)) == pytest.approx(best, abs=5e-6)
    rows = weight_rows(graph, weights="metropolis")
    assert second_eigenvalue_of_rows(rows) == pytest.approx(metropolis, abs=5e-6)


@every_graph
@every_rule
def test_optimal_weights_are_symmetric_and_keep_the_mean(graph: Graph, rule: Rule) -> None:
    matrix = matrix_of_rows(rule(graph))
    np.testing.assert_allclose(matrix, matrix.T, rtol=0, atol=1e-15)
    np.testing.assert_allclose(matrix.sum(axis=0), 1.0, rtol=0, atol=1e-12)
    assert tuple(rule(graph)) == graph.nodes
    for row, heard in zip(rule(graph).values(), graph.adjacency, strict=True):
        assert [graph.position(peer) for peer, _ in row] == list(heard)


@every_graph
def test_no_single_weight_is_better_than_the_best_constant(graph: Graph) -> None:
    found = norm(matrix_of_rows(best_constant_rows(graph)))
    laplacian = nx.laplacian_matrix(nx.Graph(list(graph.edges))).toarray()
    for weight in np.linspace(0.01, 1.0, 200):
        assert found <= norm(np.eye(len(graph)) - weight * laplacian) + 1e-9


@every_graph
def test_a_weight_for_each_edge_is_never_worse_than_one_for_all(graph: Graph) -> None:
    best, free, chain = (
        norm(matrix_of_rows(rule(graph))) for rule in (best_constant_rows, fdla_rows, fmmc_rows)
    )
    metropolis = norm(matrix_of_rows(weight_rows(graph, weights="metropolis")))
    assert free <= min(best, chain) + 1e-6
    assert chain <= metropolis + 1e-6


@pytest.mark.parametrize("name", ["karate", "regular", "small_world", "barabasi"])
def test_no_way_leads_down_from_the_fastest_averaging(name: str) -> None:
    """The norm is convex: what cannot be bettered nearby is the least of all."""
    graph = GRAPHS[name]
    matrix = matrix_of_rows(fdla_rows(graph))
    least = norm(matrix)
    assert least < norm(matrix_of_rows(best_constant_rows(graph))) - 0.01
    rng = np.random.default_rng(0)
    for _ in range(300):
        step = np.zeros_like(matrix)
        size = 10.0 ** rng.uniform(-4, -1)
        for a, b in graph.edges:
            step[a, b] = step[b, a] = size * rng.standard_normal()
        step[np.diag_indices(len(graph))] = -step.sum(axis=1)
        assert norm(matrix + step) > least - 1e-6


@pytest.mark.parametrize("name", ["ring", "star", "complete"])
def test_where_all_edges_are_alike_one_weight_is_the_best(name: str) -> None:
    graph = GRAPHS[name]
    assert fdla_rows(graph) == best_constant_rows(graph)


def test_the_fastest_chain_on_a_path_halves() -> None:
    """S. Boyd, P. Diaconis, J. Sun, L. Xiao, "Fastest mixing Markov chain on a path", 2006."""
    assert norm(matrix_of_rows(fmmc_rows(GRAPHS["path"]))) == pytest.approx(np.cos(np.pi / 8))


@every_graph
def test_a_markov_chain_has_no_weight_below_0(graph: Graph) -> None:
    assert (matrix_of_rows(fmmc_rows(graph)) >= -1e-12).all()


def test_a_hubs_own_weight_may_fall_below_0_where_only_the_norm_counts() -> None:
    assert matrix_of_rows(best_constant_rows(GRAPHS["star"]))[0, 0] < 0.0


@every_rule
def test_a_lonely_node_keeps_its_model(rule: Rule) -> None:
    assert rule(generators.complete(1)) == {"n0": ()}


@every_rule
def test_one_way_links_are_refused(rule: Rule) -> None:
    with pytest.raises(ConfigError, match="needs an undirected graph"):
        rule(generators.exponential(8, directed=True))


def test_too_many_edges_are_refused_with_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(optimal_weights, "MAX_OPTIMIZED", 7)
    with pytest.raises(ConfigError, match=r'8 edges; .* up to 7; take weights = "best_constant"'):
        fdla_rows(generators.ring(8))
