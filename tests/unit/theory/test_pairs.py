"""Pairs at rest: the law of small steps, a single pair by hand, and long steps that count less."""

import numpy as np
import pytest

from p2pfl.theory import bias
from p2pfl.theory.pairs import resting_pairs
from p2pfl.theory.quadratics import relative_error, weighted_optimum

NODES = 8
LINKED = np.abs(np.arange(NODES)[:, None] - np.arange(NODES)) % (NODES - 2) == 1
"""A ring."""
RATES = np.array([1.0, 0.2] * 4)


def task() -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    sites = np.where(RATES == 1.0, 1.0, -1.0)[:, None]
    return generator.uniform(1, 4, (NODES, 3)), sites + generator.standard_normal((NODES, 3))


@pytest.mark.parametrize("by_rate", [False, True])
def test_for_vanishing_steps_the_rest_is_the_bias_laws(*, by_rate: bool) -> None:
    a, b = task()
    steps = 1.0 / RATES if by_rate else np.ones(NODES)
    small = resting_pairs(LINKED, RATES, a, b, learning_rate=1e-7, steps=steps)
    scheme = bias.pairwise(LINKED.astype(float), RATES, step_by_rate=by_rate)
    np.testing.assert_allclose(small, bias.predicted_models(scheme, a, b), atol=1e-5)


def test_a_pair_of_equals_with_one_optimum_rests_there() -> None:
    pair = np.array([[0.0, 1.0], [1.0, 0.0]])
    one = resting_pairs(pair, [1.0, 3.0], np.ones((2, 2)), np.full((2, 2), 5.0), learning_rate=0.3)
    np.testing.assert_allclose(one, 5.0)


def test_what_is_found_is_where_random_pairs_stay_in_the_mean() -> None:
    """One coordinate, simulated ask by ask."""
    a, b = np.array([[2.0], [1.0], [3.0]]), np.array([[4.0], [-2.0], [1.0]])
    linked, rates = np.ones((3, 3)) - np.eye(3), np.array([1.0, 0.25, 0.5])
    generator = np.random.default_rng(1)
    x, last = b[:, 0].copy(), b[:, 0].copy()
    due, now_s, total = 1.0 / rates + generator.random(3), 0.0, np.zeros(3)
    begin_s, end_s = 500.0, 40_000.0
    while now_s < end_s:
        i = int(np.argmin(due))
        total += x * (due[i] - now_s) * (now_s > begin_s)
        now_s, due[i] = due[i], due[i] + (0.7 + 0.6 * generator.random()) / rates[i]
        x[i] -= 0.1 / rates[i] * a[i, 0] * (last[i] - b[i, 0])
        last[i] = x[i]
        j = (i + generator.integers(1, 3)) % 3
        x[i] = x[j] = (x[i] + x[j]) / 2.0
    expected = resting_pairs(linked, rates, a, b, learning_rate=0.1, steps=1.0 / rates)
    np.testing.assert_allclose(total / (end_s - begin_s), expected[:, 0], atol=0.06)


def test_long_steps_of_slow_nodes_count_less_than_they_are_long() -> None:
    a, b = task()
    wanted = weighted_optimum(a, b)
    found = {
        rate: relative_error(
            resting_pairs(LINKED, RATES, a, b, learning_rate=rate, steps=1.0 / RATES),
            optimum=wanted,
            optima=b,
        )
        for rate in (0.001, 0.02, 0.1)
    }
    assert found[0.001] < 0.1 * found[0.1]
    assert found[0.001] < found[0.02] < found[0.1]
