"""Closed forms of client drift, against the iteration itself and against what must hold."""

import numpy as np
import pytest

from p2pfl.errors import ConfigError
from p2pfl.theory.client_drift import client_drift, star_fixed_point
from p2pfl.theory.quadratics import weighted_optimum

RNG = np.random.default_rng(3)
A = RNG.uniform(1.0, 4.0, (5, 3))
B = RNG.standard_normal((5, 3))
P = np.array([0.1, 0.3, 0.2, 0.25, 0.15])
H = np.array([1, 4, 2, 8, 3])
RATE = 0.05


def iterated(*, proximal: float, normalise: bool) -> np.ndarray:
    """Where rounds of local gradient descent really end."""
    x = np.zeros(3)
    for _ in range(3000):
        moved = np.zeros((5, 3))
        for i in range(5):
            y = x.copy()
            for _ in range(H[i]):
                y -= RATE * (A[i] * (y - B[i]) + proximal * (y - x))
            moved[i] = (y - x) / (H[i] if normalise else 1)
        x = x + P @ moved
    return x


@pytest.mark.parametrize("proximal", [0.0, 2.0])
@pytest.mark.parametrize("normalise", [False, True])
def test_the_fixed_point_is_where_the_rounds_end(proximal: float, normalise: bool) -> None:  # noqa: FBT001 - a parameter of the test
    found = star_fixed_point(
        A,
        B,
        learning_rate=RATE,
        local_steps=H,
        weights=P,
        proximal=proximal,
        normalise=normalise,
    )
    np.testing.assert_allclose(found, iterated(proximal=proximal, normalise=normalise), atol=1e-9)


def test_one_local_step_rests_at_the_optimum_and_more_do_not() -> None:
    assert client_drift(A, B, learning_rate=RATE, weights=P) < 1e-12
    drifts = [client_drift(A, B, learning_rate=RATE, local_steps=h) for h in (1, 2, 8, 32)]
    assert drifts == sorted(drifts)
    assert drifts[1] > 1e-3


def test_a_leash_shortens_the_drift() -> None:
    drifts = [
        client_drift(A, B, learning_rate=RATE, local_steps=16, proximal=mu) for mu in (0, 1, 8)
    ]
    assert drifts == sorted(drifts, reverse=True)
    assert drifts[2] < 0.6 * drifts[0]


def test_normalising_takes_the_numbers_of_steps_out_of_the_objective() -> None:
    rate = 1e-5
    skewed = star_fixed_point(A, B, learning_rate=rate, local_steps=H, weights=P)
    straight = star_fixed_point(A, B, learning_rate=rate, local_steps=H, weights=P, normalise=True)
    np.testing.assert_allclose(skewed, weighted_optimum(A, B, weights=P * H), atol=1e-3)
    np.testing.assert_allclose(straight, weighted_optimum(A, B, weights=P), atol=1e-3)


@pytest.mark.parametrize(
    "numbers",
    [{"learning_rate": 0.0}, {"learning_rate": 0.1, "local_steps": 0}],
)
def test_numbers_that_no_run_could_have_are_refused(numbers: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="theory"):
        star_fixed_point(A, B, **numbers)  # type: ignore[arg-type]  # wrong on purpose
