from typing import get_args

import numpy as np
import pytest

from p2pfl.errors import ConfigError
from p2pfl.topology import generators, random_graphs
from p2pfl.topology.graph import Graph
from p2pfl.topology.weights import (
    WeightsName,
    check_weights,
    matrix_of_rows,
    mixing_matrix,
    target_rows,
    weight_row,
    weight_rows,
)
from p2pfl.types import NodeId

GRAPHS = [
    generators.ring(5),
    generators.star(7),
    generators.path(4),
    generators.complete(1),
    random_graphs.small_world(12, degree=4, rewire=0.5, seed=0),
]


@pytest.mark.parametrize("graph", GRAPHS, ids=repr)
@pytest.mark.parametrize("weights", ["metropolis", "lazy", "max_degree"])
def test_weights_by_degree_are_symmetric_and_doubly_stochastic(
    graph: Graph, weights: WeightsName
) -> None:
    matrix = mixing_matrix(graph, weights=weights)
    np.testing.assert_array_equal(matrix, matrix.T)
    np.testing.assert_allclose(matrix.sum(axis=0), 1.0, rtol=0, atol=1e-15)
    assert (np.diag(matrix) > 0.0).all()


@pytest.mark.parametrize("graph", GRAPHS, ids=repr)
def test_uniform_weights_favour_nobody_that_a_node_hears(graph: Graph) -> None:
    matrix = mixing_matrix(graph, weights="uniform")
    for row, degree in zip(matrix, graph.degrees, strict=True):
        np.testing.assert_allclose(row[row > 0.0], 1 / (1 + degree))
    # The stationary distribution is proportional to degree + 1.
    stationary = np.array(graph.degrees) + 1.0
    np.testing.assert_allclose(stationary @ matrix, stationary)


def test_metropolis_takes_the_larger_degree_of_both_ends() -> None:
    row = weight_row(generators.star(4), NodeId("n1"), weights="metropolis")
    assert row == (("n0", 0.25),)


@pytest.mark.parametrize("weights", get_args(WeightsName))
@pytest.mark.parametrize("graph", GRAPHS, ids=repr)
def test_rows_and_matrix_say_the_same(graph: Graph, weights: WeightsName) -> None:
    matrix = mixing_matrix(graph, weights=weights)
    rows = weight_rows(graph, weights=weights)
    assert tuple(rows) == graph.nodes
    for i, (node, row) in enumerate(rows.items()):
        assert row == weight_row(graph, node, weights=weights)
        positions = [graph.position(peer) for peer, _ in row]
        assert positions == sorted(positions) == list(graph.adjacency[i])
        assert [matrix[i, j] for j in positions] == [weight for _, weight in row]


def test_metropolis_on_one_way_links_is_refused_with_the_reason() -> None:
    graph = generators.exponential(8, directed=True)
    with pytest.raises(ConfigError, match=r"both ends of an edge must hear each other"):
        mixing_matrix(graph, weights="metropolis")
    np.testing.assert_allclose(mixing_matrix(graph, weights="uniform").sum(axis=0), 1.0)


def test_unknown_weights_are_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="weights = 'best'; allowed are metropolis, lazy, max_de"):
        check_weights(generators.ring(3), "best")


@pytest.mark.parametrize("graph", GRAPHS, ids=repr)
def test_lazy_weights_are_half_of_metropolis_and_have_no_negative_eigenvalue(graph: Graph) -> None:
    lazy, metropolis = (mixing_matrix(graph, weights=w) for w in ("lazy", "metropolis"))
    np.testing.assert_allclose(lazy, (np.eye(len(graph)) + metropolis) / 2)
    assert np.linalg.eigvalsh(lazy).min() > -1e-12


def test_the_largest_degree_of_all_decides_for_everybody() -> None:
    rows = weight_rows(
        generators.from_edges([("a", "b"), ("b", "c"), ("b", "d")]), weights="max_degree"
    )
    assert {weight for row in rows.values() for _, weight in row} == {0.25}


@pytest.mark.parametrize("graph", GRAPHS, ids=repr)
def test_weights_for_a_target_balance_in_detail_and_lead_to_it(graph: Graph) -> None:
    target = [1.0 + i % 3 for i in range(len(graph))]
    matrix = matrix_of_rows(target_rows(graph, target))
    flow = np.array(target)[:, None] * matrix
    np.testing.assert_allclose(flow, flow.T, rtol=0, atol=1e-15)
    np.testing.assert_allclose(matrix.sum(axis=1), 1.0)
    assert (np.diag(matrix) > 0.0).all()
    np.testing.assert_allclose(np.array(target) @ matrix, target)


def test_a_target_that_is_the_same_for_all_is_metropolis() -> None:
    assert target_rows(GRAPHS[1], [2.0] * 7) == weight_rows(GRAPHS[1], weights="metropolis")


@pytest.mark.parametrize("target", [[1.0], [1.0, 0.0, 1.0], [1.0, float("inf"), 1.0]])
def test_a_target_that_is_no_distribution_is_refused(target: list[float]) -> None:
    with pytest.raises(ConfigError, match="needs 3 finite numbers above 0"):
        target_rows(generators.ring(3), target)
