from typing import Any, Literal

import numpy as np
import pytest
from numpy.typing import NDArray

from p2pfl.errors import ConfigError
from p2pfl.theory import fixed_points
from p2pfl.theory.quadratics import weighted_optimum
from p2pfl.topology import generators
from p2pfl.topology.weights import mixing_matrix

Real = NDArray[np.float64]
When = Literal["start", "end", "both"]

RING = mixing_matrix(generators.ring(16), weights="metropolis")
EXPONENTIAL = mixing_matrix(generators.exponential(16), weights="metropolis")
COMPLETE = mixing_matrix(generators.complete(16), weights="metropolis")
RNG = np.random.default_rng(0)
CURVATURE = RNG.uniform(1, 4, (16, 5))
OPTIMA = RNG.standard_normal((16, 5))
ROOTS = RNG.standard_normal((16, 5, 5))
FULL = ROOTS @ ROOTS.transpose(0, 2, 1) / 5 + np.eye(5)


def _train(models: Real, curvature: Real, *, steps: int, rate: float = 0.05) -> Real:
    full = curvature if curvature.ndim == 3 else curvature[:, :, None] * np.eye(5)
    for _ in range(steps):
        models = models - rate * np.einsum("nde,ne->nd", full, models - OPTIMA[: len(models)])
    return models


@pytest.mark.parametrize("when", ["start", "end", "both"])
@pytest.mark.parametrize("steps", [1, 4])
@pytest.mark.parametrize("curvature", [CURVATURE, FULL], ids=["diagonal", "full"])
def test_the_fixed_point_is_where_iteration_ends(when: When, steps: int, curvature: Real) -> None:
    x = np.zeros_like(OPTIMA)
    for _ in range(3_000):
        mixed = RING @ x
        start = x if when == "end" else mixed
        x = mixed + _train(start, curvature, steps=steps) - start
    found = fixed_points.fixed_point(
        RING, curvature, OPTIMA, learning_rate=0.05, local_steps=steps, when=when
    )
    np.testing.assert_allclose(found, x, atol=1e-10)


@pytest.mark.parametrize("steps", [1, 4])
@pytest.mark.parametrize("curvature", [CURVATURE, FULL], ids=["diagonal", "full"])
def test_momentum_at_its_node_ends_where_iteration_ends(steps: int, curvature: Real) -> None:
    full = curvature if curvature.ndim == 3 else curvature[:, :, None] * np.eye(5)
    x = m = np.zeros_like(OPTIMA)
    for _ in range(5_000):
        end = start = RING @ x
        for _ in range(steps):
            end = end - 0.02 * (np.einsum("nde,ne->nd", full, end - OPTIMA) + 0.8 * m)
        x, m = end, (start - end) / (0.02 * steps)
    found = fixed_points.fixed_point(
        RING, curvature, OPTIMA, learning_rate=0.02, local_steps=steps, momentum=0.8
    )
    np.testing.assert_allclose(found, x, atol=1e-10)


def test_with_one_local_step_momentum_is_a_longer_step() -> None:
    heavy = fixed_points.steady_bias(RING, CURVATURE, OPTIMA, learning_rate=0.02, momentum=0.9)
    longer = fixed_points.steady_bias(RING, CURVATURE, OPTIMA, learning_rate=0.2)
    assert heavy == pytest.approx(longer)


def test_stale_copies_late_and_lossy_do_not_move_the_fixed_point() -> None:
    """Random wakes, each reading copies that are refreshed at random: the same end."""
    rng = np.random.default_rng(1)
    x = np.zeros_like(OPTIMA)
    copies = np.zeros((16, 16, 5))
    for _ in range(60_000):
        i = int(rng.integers(16)) if rng.random() < 0.5 else int(rng.integers(3))
        heard = rng.random(16) < 0.5
        copies[i, heard] = x[heard]
        copies[i, i] = x[i]
        mixed = RING[i] @ copies[i]
        x[i] = mixed - 0.05 * CURVATURE[i] * (mixed - OPTIMA[i])
    found = fixed_points.fixed_point(RING, CURVATURE, OPTIMA, learning_rate=0.05)
    np.testing.assert_allclose(x, found, atol=1e-8)


def test_the_bias_falls_with_the_step_and_with_better_links() -> None:
    rates = [0.2, 0.1, 0.05, 0.025]
    ring = [fixed_points.steady_bias(RING, CURVATURE, OPTIMA, learning_rate=r) for r in rates]
    assert ring == sorted(ring, reverse=True)
    assert ring[-1] < 0.7 * ring[-2]
    better = fixed_points.steady_bias(EXPONENTIAL, CURVATURE, OPTIMA, learning_rate=0.05)
    assert better < ring[2]


def test_a_complete_graph_has_no_bias() -> None:
    found = fixed_points.steady_bias(COMPLETE, CURVATURE, OPTIMA, learning_rate=0.2)
    assert found == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("curvature", [CURVATURE, FULL], ids=["diagonal", "full"])
def test_at_the_cancelling_model_local_updates_sum_to_zero(curvature: Real) -> None:
    x = fixed_points.cancelling_model(curvature, OPTIMA, learning_rate=0.05, local_steps=4)
    ends = _train(np.tile(x, (16, 1)), curvature, steps=4)
    np.testing.assert_allclose(ends.mean(axis=0), x, atol=1e-12)
    one = fixed_points.cancelling_model(curvature, OPTIMA, learning_rate=0.05)
    np.testing.assert_allclose(one, weighted_optimum(curvature, OPTIMA), atol=1e-12)


def test_disagreement_is_the_consensus_distance() -> None:
    assert fixed_points.disagreement([[1.0, 0.0], [-1.0, 0.0]]) == 1.0
    small = fixed_points.fixed_point(RING, CURVATURE, OPTIMA, learning_rate=0.01)
    large = fixed_points.fixed_point(RING, CURVATURE, OPTIMA, learning_rate=0.1)
    assert fixed_points.disagreement(small) < fixed_points.disagreement(large)


def test_ghosts_anchor_the_survivors_and_dropping_them_frees_these() -> None:
    dead, alive = [12, 13, 14, 15], list(range(12))
    shifted = OPTIMA + np.where(np.arange(16) < 12, 1.0, -2.0)[:, None]
    before = fixed_points.fixed_point(EXPONENTIAL, CURVATURE, shifted, learning_rate=0.05)
    ghosts = fixed_points.ghost_fixed_point(
        EXPONENTIAL, CURVATURE, shifted, learning_rate=0.05, dead=dead, frozen=before[dead]
    )
    kept = fixed_points.survivors_mixing(EXPONENTIAL, dead=dead)
    np.testing.assert_allclose(kept, kept.T)
    np.testing.assert_allclose(kept.sum(axis=1), 1.0)
    freed = fixed_points.fixed_point(kept, CURVATURE[alive], shifted[alive], learning_rate=0.05)
    anchored_error = fixed_points.survivors_error(ghosts, CURVATURE, shifted, dead=dead)
    freed_error = fixed_points.survivors_error(freed, CURVATURE, shifted, dead=dead)
    assert anchored_error > 10 * freed_error
    survivors = weighted_optimum(CURVATURE[alive], shifted[alive])
    assert np.linalg.norm(freed.mean(axis=0) - survivors) < 0.1


@pytest.mark.parametrize("when", ["start", "end", "both"])
@pytest.mark.parametrize("curvature", [CURVATURE, FULL], ids=["diagonal", "full"])
def test_the_ghost_fixed_point_is_where_iteration_ends(when: When, curvature: Real) -> None:
    dead, frozen = [13, 14, 15], RNG.standard_normal((3, 5))
    x = np.zeros((13, 5))
    for _ in range(3_000):
        mixed = RING[:13, :13] @ x + RING[:13, 13:] @ frozen
        start = x if when == "end" else mixed
        x = mixed + _train(start, curvature[:13], steps=1) - start
    found = fixed_points.ghost_fixed_point(
        RING, curvature, OPTIMA, learning_rate=0.05, dead=dead, frozen=frozen, when=when
    )
    np.testing.assert_allclose(found, x, atol=1e-10)


def test_impossible_questions_are_refused() -> None:
    words: dict[str, Any] = {"when": "never"}
    with pytest.raises(ConfigError, match="when = 'never'; allowed are start, end, both"):
        fixed_points.fixed_point(RING, CURVATURE, OPTIMA, learning_rate=0.1, **words)
    with pytest.raises(ConfigError, match="learning_rate = 0"):
        fixed_points.fixed_point(RING, CURVATURE, OPTIMA, learning_rate=0.0)
    with pytest.raises(ConfigError, match="local_steps = 0"):
        fixed_points.fixed_point(RING, CURVATURE, OPTIMA, learning_rate=0.1, local_steps=0)
    with pytest.raises(ConfigError, match=r"momentum = 1\.0; expected .* below 1"):
        fixed_points.fixed_point(RING, CURVATURE, OPTIMA, learning_rate=0.1, momentum=1.0)
    with pytest.raises(ConfigError, match=r"mixing \[3, 3\] does not fit 16 nodes"):
        fixed_points.fixed_point(np.eye(3), CURVATURE, OPTIMA, learning_rate=0.1)
    with pytest.raises(ConfigError, match="positions are 0 to 15"):
        fixed_points.survivors_mixing(RING, dead=[16])
    with pytest.raises(ConfigError, match="leaves nobody alive"):
        fixed_points.survivors_mixing(RING, dead=range(16))
