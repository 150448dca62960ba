import math

import numpy as np
import pytest

from p2pfl.errors import ConfigError
from p2pfl.topology.equitopo import equi_dyn, equi_static
from p2pfl.topology.graph import numbered
from p2pfl.topology.schedules import Schedule
from p2pfl.topology.weights import matrix_of_rows
from p2pfl.types import Matrix


def static(nodes: int, *, degree: int, seed: int = 0, directed: bool = False) -> Matrix:
    return matrix_of_rows(equi_static(nodes, degree=degree, seed=seed, directed=directed))


@pytest.mark.parametrize("directed", [True, False])
@pytest.mark.parametrize(("nodes", "degree"), [(2, 1), (17, 4), (50, 6)])
def test_equi_static_weights_are_doubly_stochastic(
    *, nodes: int, degree: int, directed: bool
) -> None:
    matrix = static(nodes, degree=degree, directed=directed)
    np.testing.assert_allclose(matrix.sum(axis=0), 1.0, rtol=0, atol=1e-12)
    assert (matrix >= 0.0).all()
    assert np.allclose(matrix, matrix.T) or directed


def test_equi_static_is_the_mean_of_weighted_shifts() -> None:
    """The first row of a circulant matrix says it all: 1/n to itself, (n-1)/n over the shifts."""
    matrix = static(17, degree=4, directed=True)
    assert matrix[0, 0] == pytest.approx(1 / 17)
    shares = matrix[0, 1:] * 4 * 17 / 16
    assert shares.sum() == pytest.approx(4.0)
    np.testing.assert_allclose(shares, shares.round(), atol=1e-12)
    np.testing.assert_allclose(np.roll(matrix[0], 1), matrix[1])


def test_an_undirected_one_is_the_directed_one_averaged_with_its_transpose() -> None:
    one_way = static(30, degree=5, seed=3, directed=True)
    np.testing.assert_allclose(static(30, degree=5, seed=3), (one_way + one_way.T) / 2)


@pytest.mark.parametrize("nodes", [50, 400])
def test_enough_shifts_contract_as_promised_whatever_the_number_of_nodes(nodes: int) -> None:
    error, p = 0.9, 0.1
    degree = math.ceil(8 * math.log(2 * nodes / p) / (3 * error**2))
    for seed in range(3):
        matrix = static(nodes, degree=degree, seed=seed, directed=True)
        assert np.linalg.norm(matrix - 1.0 / nodes, ord=2) < error


def test_shifts_are_drawn_until_they_join_all_nodes() -> None:
    for seed in range(20):
        gossiped = np.linalg.matrix_power(static(12, degree=1, seed=seed, directed=True), 3_000)
        np.testing.assert_allclose(gossiped, 1 / 12, atol=1e-6)


@pytest.mark.parametrize("directed", [True, False])
def test_equi_dyn_has_one_peer_per_round_and_keeps_the_mean(*, directed: bool) -> None:
    schedule = equi_dyn(17, rounds=40, seed=0, directed=directed)
    assert (schedule.period, schedule.degree_max) == (40, 1)
    assert schedule.directed == directed
    assert schedule.doubly_stochastic
    weights = {weight for rows in schedule.rounds for row in rows for _, weight in row}
    assert weights == {0.5 * 16 / 17}


def contraction(schedule: Schedule) -> float:
    """The mean over rounds of ||W x||^2 / ||x||^2 for one x without mean."""
    x = np.random.default_rng(0).standard_normal((len(schedule), 1))
    x -= x.mean()
    after = [float((schedule.mixed(t, x) ** 2).sum()) for t in range(schedule.period)]
    return float(np.mean(after) / (x**2).sum())


@pytest.mark.parametrize("nodes", [17, 120])
def test_one_way_rounds_halve_the_square_disagreement_in_the_mean(nodes: int) -> None:
    """For step 1/2 and all shifts the expectation is (1 - eta)^2 + eta^2 (1 - 2/n)."""
    schedule = equi_dyn(nodes, rounds=1_500, seed=0, directed=True)
    assert contraction(schedule) == pytest.approx(0.25 + 0.25 * (1 - 2 / nodes), rel=0.04)


@pytest.mark.parametrize("nodes", [17, 120])
def test_paired_rounds_contract_by_a_constant_too(nodes: int) -> None:
    assert contraction(equi_dyn(nodes, rounds=600, seed=0)) < 0.7


def test_the_seed_alone_decides() -> None:
    assert equi_dyn(9, rounds=5, seed=1) == equi_dyn(9, rounds=5, seed=1)
    assert equi_dyn(9, rounds=5, seed=1) != equi_dyn(9, rounds=5, seed=2)
    assert equi_static(9, degree=2, seed=1) != equi_static(9, degree=2, seed=2)
    assert tuple(equi_static(9, degree=2, seed=1)) == numbered(9)


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ConfigError, match="degree = 8; an EquiStatic graph of 8 nodes needs 1 to"):
        equi_static(8, degree=8, seed=0)
    with pytest.raises(ConfigError, match="rounds = 0"):
        equi_dyn(8, rounds=0, seed=0)
    with pytest.raises(ConfigError, match="nodes = 1"):
        equi_dyn(1, rounds=1, seed=0)


def test_shifts_that_never_join_everybody_are_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("p2pfl.topology.equitopo.draw_bits", lambda *_: 1)
    with pytest.raises(ConfigError, match="no 2 shifts join all 8 nodes in 100 draws"):
        equi_static(8, degree=2, seed=0)
