import numpy as np
import pytest

from p2pfl.errors import ConfigError
from p2pfl.theory import bias, push_sum, servers
from p2pfl.theory.quadratics import weighted_optimum
from p2pfl.theory.rest import resting_bias, resting_models
from p2pfl.topology import generators
from p2pfl.topology.weights import mixing_matrix

NODES = 8
RING = mixing_matrix(generators.ring(NODES), weights="metropolis")
RATES = np.array([1.0, 0.2] * 4)


def task() -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    sites = np.where(RATES == 1.0, 1.0, -1.0)[:, None]
    return generator.uniform(1, 4, (NODES, 3)), sites + generator.standard_normal((NODES, 3))


def test_for_vanishing_steps_the_rest_is_the_bias_laws() -> None:
    scheme = bias.mix_on_receive(RING, RATES)
    small = resting_models(scheme, *task(), learning_rate=1e-7)
    np.testing.assert_allclose(small, bias.predicted_models(scheme, *task()), atol=1e-5)


def test_the_rest_is_at_rest_under_plain_integration() -> None:
    scheme, (a, b) = bias.pairwise((RING > 0).astype(float), RATES), task()
    x = resting_models(scheme, a, b, learning_rate=0.05)
    q = scheme.mixing_rates - np.diag(np.diag(scheme.mixing_rates))
    drift = q @ x - q.sum(axis=1)[:, None] * x - 0.05 * scheme.drift[:, None] * a * (x - b)
    np.testing.assert_allclose(drift, 0.0, atol=1e-12)


def after_jumps(scheme: bias.Scheme, a: np.ndarray, b: np.ndarray, rate: float) -> np.ndarray:
    """Mean models where nodes mix all the time and step, at their rates, by what they last were."""
    q = scheme.mixing_rates - np.diag(np.diag(scheme.mixing_rates))
    laplacian, every_s = np.diag(q.sum(axis=1)) - q, 0.02
    x, last, total = b.copy(), b.copy(), np.zeros_like(b)
    periods = np.rint(1.0 / RATES / every_s).astype(int)
    for k in range(1, 30_001):
        x -= every_s * laplacian @ x
        # They take turns: nobody steps at the same moment as all others.
        due = (k + 7 * np.arange(NODES)) % periods == 0
        x[due] -= (rate * scheme.drift / RATES)[due, None] * a[due] * (last[due] - b[due])
        last[due] = x[due]
        total += x if k > 15_000 else 0.0
    return total / 15_000


def test_long_steps_from_where_a_node_was_last_count_less_than_they_are_long() -> None:
    scheme, (a, b) = bias.pairwise((RING > 0).astype(float), RATES, step_by_rate=True), task()
    reached = after_jumps(scheme, a, b, 0.05)
    known = resting_models(scheme, a, b, learning_rate=0.05, update_rates=RATES)
    plain = resting_models(scheme, a, b, learning_rate=0.05)
    error = np.linalg.norm(known - reached)
    assert error < 0.2 * np.linalg.norm(plain - reached)
    small = resting_models(scheme, a, b, learning_rate=1e-7, update_rates=RATES)
    np.testing.assert_allclose(small, bias.predicted_models(scheme, a, b), atol=1e-5)


def test_large_steps_soften_the_bias_of_mixing_at_each_arrival() -> None:
    scheme = bias.mix_on_receive(RING, RATES)
    assert resting_bias(scheme, *task(), learning_rate=0.3) < bias.predicted_bias(scheme, *task())


@pytest.mark.parametrize(("step", "power"), [("x", 1), ("elapsed", 0), ("y", 0)])
def test_push_sum_counts_nodes_as_its_step_is_scaled(step: push_sum.Step, power: int) -> None:
    found = bias.influence(push_sum.push_sum(RING, RATES, step=step))
    np.testing.assert_allclose(found, RATES**power / (RATES**power).sum(), rtol=1e-9)


@pytest.mark.parametrize(("step", "power"), [("x", 1), ("elapsed", 0), ("y", 1)])
def test_a_window_keeps_mass_even_and_the_steps_decide(step: push_sum.Step, power: int) -> None:
    np.testing.assert_allclose(push_sum.resting_mass(RING, RATES, windowed=True), 1.0)
    found = bias.influence(push_sum.push_sum(RING, RATES, step=step, windowed=True))
    np.testing.assert_allclose(found, RATES**power / (RATES**power).sum(), rtol=1e-9)


def test_mass_gathers_at_those_who_seldom_push() -> None:
    mass = push_sum.resting_mass(RING, RATES)
    assert mass.sum() == pytest.approx(NODES)
    np.testing.assert_allclose(mass, (1 / RATES) * NODES / (1 / RATES).sum())


def test_a_servers_discount_by_age_adds_to_the_bias_of_the_rates() -> None:
    plain = servers.influence(RATES, exponent=0.0)
    discounted = servers.influence(RATES)
    np.testing.assert_allclose(plain, RATES / RATES.sum())
    assert discounted[1] < plain[1]
    assert servers.influence(RATES, buffer=100)[1] > discounted[1]
    a, b = task()
    expected = weighted_optimum(a, b, weights=plain) - weighted_optimum(a, b)
    found = servers.predicted_bias(RATES, a, b, exponent=0.0)
    spread = np.sqrt(np.mean(np.sum((b - b.mean(axis=0)) ** 2, axis=1)))
    assert found == pytest.approx(float(np.linalg.norm(expected)) / spread)


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ConfigError, match="shares"):
        push_sum.push_sum(RING, RATES[:3], step="x")
    with pytest.raises(ConfigError, match="rates must be above zero"):
        servers.influence([0.0, 1.0])
