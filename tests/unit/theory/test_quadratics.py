import numpy as np
import pytest

from p2pfl.errors import ConfigError
from p2pfl.theory.quadratics import full_curvature, relative_error, spread, weighted_optimum

RNG = np.random.default_rng(0)
DIAGONAL = RNG.uniform(1, 4, (6, 3))
OPTIMA = RNG.standard_normal((6, 3))


def test_the_gradient_vanishes_at_the_weighted_optimum() -> None:
    roots = RNG.standard_normal((6, 3, 3))
    full = roots @ roots.transpose(0, 2, 1) + np.eye(3)
    weights = RNG.uniform(size=6)
    x = weighted_optimum(full, OPTIMA, weights=weights)
    gradient = sum(w * a @ (x - b) for w, a, b in zip(weights, full, OPTIMA, strict=True))
    np.testing.assert_allclose(gradient, 0.0, atol=1e-12)


def test_diagonals_and_full_matrices_say_the_same() -> None:
    full = np.stack([np.diag(row) for row in DIAGONAL])
    np.testing.assert_array_equal(full_curvature(DIAGONAL, OPTIMA)[0], full)
    uniform = weighted_optimum(DIAGONAL, OPTIMA)
    np.testing.assert_allclose(weighted_optimum(full, OPTIMA), uniform)
    np.testing.assert_allclose(
        uniform, (DIAGONAL * OPTIMA).sum(axis=0) / DIAGONAL.sum(axis=0), rtol=1e-12
    )


def test_errors_are_told_in_units_of_the_spread() -> None:
    optima = [[1.0, 0.0], [-1.0, 0.0], [0.0, 2.0], [0.0, -2.0]]
    assert spread(optima) == pytest.approx(np.sqrt(2.5))
    found = relative_error([[3.0, 0.0], [5.0, 0.0]], optimum=[0.0, 0.0], optima=optima)
    assert found == pytest.approx(4.0 / np.sqrt(2.5))
    assert relative_error([4.0, 0.0], optimum=[0.0, 0.0], optima=optima) == pytest.approx(found)


@pytest.mark.parametrize("shape", [(6,), (6, 2), (6, 3, 2), (5, 3, 3)])
def test_shapes_that_do_not_belong_together_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ConfigError, match=r"does not fit optima \[6, 3\]"):
        full_curvature(np.ones(shape), OPTIMA)
