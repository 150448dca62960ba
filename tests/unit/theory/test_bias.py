from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from p2pfl.errors import ConfigError
from p2pfl.theory import bias
from p2pfl.theory.bias import Scheme
from p2pfl.theory.quadratics import spread, weighted_optimum
from p2pfl.topology import generators
from p2pfl.topology.weights import mixing_matrix

Real = NDArray[np.float64]

NODES = 16
RING = mixing_matrix(generators.ring(NODES), weights="metropolis")
ALTERNATING = np.array([1.0, 0.2] * 8)
"""Every other node is five times slower."""
HALVES = np.repeat([1.0, 0.2], 8)


def _task(rates: Real, seed: int = 0) -> tuple[Real, Real]:
    """Slow and fast nodes around opposite optima."""
    generator = np.random.default_rng(seed)
    curvature = generator.uniform(1, 4, (NODES, 10))
    sites = np.where(rates == 1.0, 1.0, -1.0)[:, None]
    return curvature, sites + generator.standard_normal((NODES, 10))


@pytest.mark.parametrize("rates", [ALTERNATING, HALVES], ids=["alternating", "halves"])
def test_persistent_buffers_and_symmetric_weights_count_everyone_alike(rates: Real) -> None:
    np.testing.assert_allclose(bias.influence(bias.pull(RING, rates)), 1 / NODES)
    assert bias.predicted_bias(bias.pull(RING, rates), *_task(rates)) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("rates", [ALTERNATING, HALVES], ids=["alternating", "halves"])
def test_influence_grows_with_the_power_of_the_rate_that_theory_says(rates: Real) -> None:
    linked = (RING > 0).astype(float)
    for scheme, power in (
        (bias.consume_once(RING, rates), 1),
        (bias.mix_on_receive(RING, rates), 2),
        (bias.pairwise(linked, rates), 1),
        (bias.pairwise(linked, rates, step_by_rate=True), 0),
    ):
        np.testing.assert_allclose(
            bias.influence(scheme), rates**power / (rates**power).sum(), rtol=1e-9
        )


@pytest.mark.parametrize("weights", ["star", "path"])
def test_uniform_row_weights_favour_well_linked_nodes(weights: str) -> None:
    graph = generators.star(NODES) if weights == "star" else generators.path(NODES)
    matrix = mixing_matrix(graph, weights="uniform")
    expected = np.array(graph.degrees) + 1.0
    found = bias.influence(bias.pull(matrix, ALTERNATING))
    np.testing.assert_allclose(found, expected / expected.sum(), rtol=1e-9)


def test_scaling_updates_by_the_own_weight_favours_badly_linked_nodes() -> None:
    matrix = mixing_matrix(generators.star(NODES), weights="metropolis")
    own = np.diag(matrix)
    found = bias.influence(bias.scaled_by_own_weight(matrix, ALTERNATING))
    np.testing.assert_allclose(found, own / own.sum(), rtol=1e-9)


def test_dropping_by_lag_silences_the_slow() -> None:
    scheme = bias.pull_dropping_by_lag(RING, HALVES)
    found = bias.influence(scheme)
    np.testing.assert_allclose(found, np.repeat([1 / 8, 0.0], 8), atol=1e-12)
    curvature, optima = _task(HALVES)
    models = bias.predicted_models(scheme, curvature, optima)
    np.testing.assert_allclose(models, np.tile(models[0], (NODES, 1)))
    np.testing.assert_allclose(models[0], weighted_optimum(curvature[:8], optima[:8]))


def test_nodes_that_hear_nobody_keep_their_own_optimum_and_lead_the_rest() -> None:
    scheme = bias.pull_dropping_by_lag(RING, ALTERNATING)
    curvature, optima = _task(ALTERNATING)
    assert bias.listening_groups(scheme.mixing_rates) == [[i] for i in range(0, NODES, 2)]
    with pytest.raises(ConfigError, match="8 groups of nodes do not listen to each other"):
        bias.influence(scheme)
    models = bias.predicted_models(scheme, curvature, optima)
    np.testing.assert_allclose(models[::2], optima[::2])
    np.testing.assert_allclose(models[1], (optima[0] + optima[2]) / 2)


@pytest.mark.parametrize("rates", [ALTERNATING, HALVES], ids=["alternating", "halves"])
@pytest.mark.parametrize("seed", range(5))
def test_schemes_are_ordered_by_their_bias(rates: Real, seed: int) -> None:
    task = _task(rates, seed)
    biases = [
        bias.predicted_bias(scheme, *task)
        for scheme in (
            bias.pull(RING, rates),
            bias.consume_once(RING, rates),
            bias.mix_on_receive(RING, rates),
            bias.pull_dropping_by_lag(RING, rates),
        )
    ]
    assert biases == sorted(biases)
    # Of the distance between the halves (about 1.4 spreads) one third, 6/13 and one half.
    assert biases[1:] == pytest.approx([0.47, 0.65, 0.71], rel=0.2)


@pytest.mark.parametrize(
    "make", [bias.pull, bias.consume_once, bias.mix_on_receive, bias.pull_dropping_by_lag]
)
def test_the_law_is_the_limit_of_the_mean_dynamics(
    make: Callable[[Real, Real], Scheme],
) -> None:
    """The law's own differential equation, at rest, comes nearer as steps become smaller."""
    scheme = make(RING, HALVES)
    distances = [_distance_to_rest(scheme, step=step) for step in (1e-2, 1e-3, 1e-5)]
    assert distances == sorted(distances, reverse=True)
    assert distances[-1] < 1e-3


def _distance_to_rest(scheme: Scheme, *, step: float) -> float:
    curvature, optima = _task(HALVES)
    q = scheme.mixing_rates - np.diag(np.diag(scheme.mixing_rates))
    outflow = np.diag(q.sum(axis=1)) - q
    drift = step * scheme.drift[:, None]
    # Rest: outflow x + drift A (x - b) = 0, for each coordinate alone.
    rest = np.stack(
        [
            np.linalg.solve(
                outflow + np.diag(drift[:, 0] * curvature[:, k]),
                drift[:, 0] * curvature[:, k] * optima[:, k],
            )
            for k in range(optima.shape[1])
        ],
        axis=1,
    )
    predicted = bias.predicted_models(scheme, curvature, optima)
    distance = np.linalg.norm(rest.mean(axis=0) - predicted.mean(axis=0))
    return float(distance) / spread(optima)


def test_rates_must_be_positive_and_fit() -> None:
    with pytest.raises(ConfigError, match="a rate is not above zero"):
        bias.pull(RING, np.zeros(NODES))
    with pytest.raises(ConfigError, match=r"mixing \[16, 16\] does not fit rates \[3\]"):
        bias.pull(RING, np.ones(3))
