import math
from collections.abc import Callable, Mapping
from typing import get_args

import networkx as nx
import numpy as np
import pytest

from p2pfl.topology import generators, random_graphs, spectrum
from p2pfl.topology.graph import Graph, numbered
from p2pfl.topology.optimal_weights import best_constant_rows
from p2pfl.topology.weights import WeightRow, WeightsName, mixing_matrix, target_rows
from p2pfl.types import NodeId

TARGET = [1.0 + i % 3 for i in range(60)]
IRREGULAR = random_graphs.small_world(60, degree=4, rewire=0.5, seed=1)


@pytest.mark.parametrize(
    "graph",
    [
        generators.ring(9),
        generators.complete(5),
        generators.star(9),
        generators.torus(3, 4),
        IRREGULAR,
        generators.exponential(12),
    ],
    ids=repr,
)
@pytest.mark.parametrize("weights", get_args(WeightsName))
def test_lambda_is_the_rate_at_which_disagreement_falls(graph: Graph, weights: WeightsName) -> None:
    matrix = mixing_matrix(graph, weights=weights)
    stationary = np.linalg.matrix_power(matrix, 4_000)
    rate = float(np.max(np.abs(np.linalg.eigvals(matrix - stationary))))
    found = spectrum.second_eigenvalue(graph, weights=weights)
    assert found == pytest.approx(rate, abs=1e-7)


@pytest.mark.parametrize("weights", get_args(WeightsName))
@pytest.mark.parametrize(
    "graph", [IRREGULAR, generators.star(40), generators.path(50), generators.torus(5, 6)], ids=repr
)
def test_sparse_and_dense_spectra_agree(
    graph: Graph, weights: WeightsName, monkeypatch: pytest.MonkeyPatch
) -> None:
    dense = spectrum.second_eigenvalue(graph, weights=weights)
    monkeypatch.setattr(spectrum, "MAX_DENSE", 0)
    assert spectrum.second_eigenvalue(graph, weights=weights) == pytest.approx(dense, abs=1e-9)


def test_a_tiny_gap_is_found_where_lanczos_gives_up() -> None:
    exact = (1 + 2 * math.cos(math.pi / 2_000)) / 3
    found = spectrum.second_eigenvalue(generators.path(2_000), weights="metropolis")
    assert 1 - found == pytest.approx(1 - exact, rel=1e-5)


def test_the_most_negative_eigenvalue_counts_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    # Two halves that hear almost only each other swap their opinions for long.
    left, right = range(20), range(20, 40)
    graph = Graph(numbered(40), ((0, 1), *((a, b) for a in left for b in right)))
    dense = spectrum.second_eigenvalue(graph, weights="uniform")
    values = np.linalg.eigvals(mixing_matrix(graph, weights="uniform")).real
    assert dense == pytest.approx(-values.min())
    monkeypatch.setattr(spectrum, "MAX_DENSE", 0)
    assert spectrum.second_eigenvalue(graph, weights="uniform") == pytest.approx(dense)


def test_one_way_graphs_have_a_spectrum_too(monkeypatch: pytest.MonkeyPatch) -> None:
    edges = (*((i, (i + 1) % 30) for i in range(30)), (0, 15), (7, 22), (3, 1))
    graph = Graph(numbered(30), edges, directed=True)
    dense = spectrum.second_eigenvalue(graph, weights="uniform")
    assert 0.9 < dense < 1.0
    monkeypatch.setattr(spectrum, "MAX_DENSE", 0)
    assert spectrum.second_eigenvalue(graph, weights="uniform") == pytest.approx(dense)


@pytest.mark.parametrize(
    "rule", [best_constant_rows, lambda graph: target_rows(graph, TARGET[: len(graph)])]
)
def test_any_rows_have_a_spectrum_sparse_or_dense(
    rule: Callable[[Graph], Mapping[NodeId, WeightRow]], monkeypatch: pytest.MonkeyPatch
) -> None:
    dense = spectrum.second_eigenvalue_of_rows(rule(IRREGULAR))
    monkeypatch.setattr(spectrum, "MAX_DENSE", 0)
    assert spectrum.second_eigenvalue_of_rows(rule(IRREGULAR)) == pytest.approx(dense, abs=1e-9)
    assert spectrum.second_eigenvalue_of_rows(rule(generators.complete(1))) == 0.0


@pytest.mark.parametrize("graph", [IRREGULAR, generators.star(40), generators.ring(31)], ids=repr)
def test_the_laplacian_has_its_extremes(graph: Graph, monkeypatch: pytest.MonkeyPatch) -> None:
    values = nx.laplacian_spectrum(nx.Graph(list(graph.edges)))
    expected = pytest.approx((values[1], values[-1]), abs=1e-8)
    assert spectrum.laplacian_extremes(graph) == expected
    monkeypatch.setattr(spectrum, "MAX_DENSE", 0)
    assert spectrum.laplacian_extremes(graph) == expected


def test_one_node_agrees_with_itself_at_once() -> None:
    found = spectrum.spectrum(generators.complete(1), weights="metropolis")
    assert (found.second_eigenvalue, found.spectral_gap, found.mixing_time_rounds) == (0.0, 1.0, 1)
    assert spectrum.diameter(generators.complete(1)) == 0


@pytest.mark.parametrize(
    ("second", "residual", "rounds"),
    [(0.5, 0.01, 7), (0.1, 0.01, 2), (0.0, 0.01, 1), (1.0, 0.01, math.inf), (0.9, 0.5, 7)],
)
def test_mixing_time_is_the_first_round_below_the_residual(
    second: float, residual: float, rounds: float
) -> None:
    assert spectrum.mixing_time_rounds(second, residual=residual) == rounds
    if 0 < second < 1:
        assert second**rounds <= residual * (1 + 1e-9) < second ** (rounds - 1)


@pytest.mark.parametrize(
    "graph",
    [
        generators.ring(9),
        generators.path(6),
        generators.star(5),
        generators.torus(3, 6),
        generators.hypercube(16),
        IRREGULAR,
        generators.from_edges([("a", "b"), ("b", "c"), ("c", "a"), ("c", "d"), ("d", "e")]),
        generators.exponential(9, directed=True),
        Graph(numbered(4), ((0, 1), (1, 2), (2, 3), (3, 0), (1, 0)), directed=True),
    ],
    ids=repr,
)
def test_the_diameter_is_that_of_networkx(graph: Graph) -> None:
    reference: nx.Graph[int] = nx.DiGraph() if graph.directed else nx.Graph()
    reference.add_edges_from(graph.edges)
    assert spectrum.diameter(graph) == nx.diameter(reference)


def test_news_that_never_arrives_does_not_hang_the_diameter() -> None:
    parts = Graph(numbered(7), ((0, 1), (1, 2), (2, 0), (3, 4), (4, 5), (5, 6), (6, 4)))
    assert spectrum.diameter(parts) == 2
