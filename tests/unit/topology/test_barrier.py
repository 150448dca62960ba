import numpy as np
import pytest

from p2pfl.topology.barrier import GAP, Numbers, log_determinant, minimize
from p2pfl.types import Matrix


class Corner:
    """Minimize x + 2 y where x > 1 and y > 3: the corner is the least."""

    cost = np.array([1.0, 2.0])
    barriers = 2

    def start(self) -> Numbers:
        return np.array([50.0, 4.0])

    def logs(self, z: Numbers) -> float | None:
        kept = z - np.array([1.0, 3.0])
        return None if kept.min() <= 0.0 else float(np.log(kept).sum())

    def derivatives(self, z: Numbers) -> tuple[Numbers, Matrix]:
        kept = z - np.array([1.0, 3.0])
        return -1.0 / kept, np.diag(kept**-2)


def test_the_least_is_found_within_the_gap() -> None:
    found = minimize(Corner())
    assert Corner.cost @ found == pytest.approx(7.0, abs=GAP)
    assert (found > [1.0, 3.0]).all()


class Misleading(Corner):
    """Its gradient promises a descent that never comes: what rounding does near the end."""

    def derivatives(self, z: Numbers) -> tuple[Numbers, Matrix]:
        gradient, hessian = super().derivatives(z)
        return -gradient - 1e12, hessian


def test_where_no_step_leads_down_the_search_ends() -> None:
    np.testing.assert_array_equal(minimize(Misleading()), Misleading().start())


def test_a_matrix_that_is_not_positive_definite_has_no_logarithm() -> None:
    assert log_determinant(np.diag([2.0, 3.0])) == pytest.approx(np.log(6.0))
    assert log_determinant(np.diag([2.0, -3.0])) is None
