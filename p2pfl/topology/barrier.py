"""Linear costs under matrix inequalities, by a barrier method: exact, and the same everywhere.

The central path is unique, so that two machines differ by rounding only; subgradients would follow
whichever eigenvector came first. Source: S. Boyd, L. Vandenberghe, "Convex Optimization", 2004,
chapter 11.
"""

from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from p2pfl.types import Matrix

Numbers = NDArray[np.float64]
"""The unknowns `[k]`."""

GAP: Final = 1e-7
"""How far the found cost may be from the least."""

_GROWTH: Final = 20.0
"""By how much the barrier recedes each time."""
_CENTRED: Final = 1e-8
"""Half the squared Newton decrement at which a centre counts as reached."""
_STEPS: Final = 60
_HALVINGS: Final = 40


class Problem(Protocol):
    """Minimize cost z where all barriers hold: logarithms of what must stay above 0."""

    @property
    def cost(self) -> Numbers:
        """The cost of each unknown, `[k]`."""
        ...

    @property
    def barriers(self) -> int:
        """How many numbers the logarithms keep above 0."""
        ...

    def start(self) -> Numbers:
        """Unknowns at which all barriers hold."""
        ...

    def logs(self, z: Numbers) -> float | None:
        """The sum of the logarithms; None: some barrier does not hold."""
        ...

    def derivatives(self, z: Numbers) -> tuple[Numbers, Matrix]:
        """Gradient `[k]` and Hessian `[k, k]` of minus that sum."""
        ...


def minimize(problem: Problem) -> Numbers:
    """Unknowns whose cost is within GAP of the least."""
    z = problem.start()
    steepness = float(problem.barriers)
    while True:
        z = _centred(problem, z, steepness)
        if problem.barriers / steepness <= GAP:
            return z
        steepness *= _GROWTH


def log_determinant(matrix: Matrix) -> float | None:
    """The logarithm of a symmetric matrix's determinant; None: it is not positive definite."""
    try:
        factor = np.linalg.cholesky(matrix)
    except np.linalg.LinAlgError:
        return None
    return 2.0 * float(np.log(np.diag(factor)).sum())


def _centred(problem: Problem, z: Numbers, steepness: float) -> Numbers:
    """The least of steepness x cost - logs; each step is halved until it is feasible and lower."""
    for _ in range(_STEPS):
        gradient, hessian = problem.derivatives(z)
        gradient = gradient + steepness * problem.cost
        step = np.linalg.solve(hessian, -gradient)
        decrement = float(-gradient @ step)
        if decrement / 2.0 <= _CENTRED:
            break
        now = _height(problem, z, steepness)
        assert now is not None
        for halvings in range(_HALVINGS):
            length = 0.5**halvings
            then = _height(problem, z + length * step, steepness)
            if then is not None and then <= now - 0.1 * length * decrement:
                z = z + length * step
                break
        else:
            # Rounding hides any further descent.
            return z
    return z


def _height(problem: Problem, z: Numbers, steepness: float) -> float | None:
    logs = problem.logs(z)
    return None if logs is None else float(steepness * (problem.cost @ z) - logs)
