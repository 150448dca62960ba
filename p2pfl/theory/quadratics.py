"""Optima of weighted sums of quadratics, and how errors are told.

f_i(x) = 1/2 (x - b_i)' A_i (x - b_i). Curvature is `[n, d]` (diagonals) or `[n, d, d]`, optima
(the b_i) are `[n, d]`, everything float64.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from p2pfl.errors import ConfigError

Real = NDArray[np.float64]


def full_curvature(curvature: ArrayLike, optima: ArrayLike) -> tuple[Real, Real]:
    """Both as float64: curvature `[n, d, d]` from either form, optima `[n, d]`.

    Raises:
        ConfigError: the shapes do not belong together.
    """
    a, b = np.asarray(curvature, dtype=np.float64), np.asarray(optima, dtype=np.float64)
    if b.ndim != 2 or a.shape not in {b.shape, (*b.shape, b.shape[-1])}:  # noqa: PLR2004 - [n, d]
        raise ConfigError(
            f"theory: curvature {list(a.shape)} does not fit optima {list(b.shape)}; "
            "expected [n, d] or [n, d, d], and [n, d]"
        )
    if a.ndim == b.ndim:
        a = a[:, :, None] * np.eye(b.shape[1])
    return a, b


def weighted_optimum(
    curvature: ArrayLike, optima: ArrayLike, *, weights: ArrayLike | None = None
) -> Real:
    """The minimiser `[d]` of sum_i weights_i f_i; without weights, of the uniform sum."""
    a, b = full_curvature(curvature, optima)
    omega = np.ones(len(b)) if weights is None else np.asarray(weights, dtype=np.float64)
    total = np.einsum("i,ide->de", omega, a)
    pull = np.einsum("i,ide,ie->d", omega, a, b)
    return np.asarray(np.linalg.solve(total, pull))


def spread(optima: ArrayLike) -> float:
    """The unit in which errors are told: root mean square distance of the b_i to their mean."""
    b = np.asarray(optima, dtype=np.float64)
    return float(np.sqrt(np.mean(np.sum((b - b.mean(axis=0)) ** 2, axis=1))))


def relative_error(models: ArrayLike, *, optimum: ArrayLike, optima: ArrayLike) -> float:
    """Distance of the mean of the models (`[d]` or `[n, d]`) to the optimum, over `spread`."""
    x = np.atleast_2d(np.asarray(models, dtype=np.float64)).mean(axis=0)
    return float(np.linalg.norm(x - np.asarray(optimum, dtype=np.float64))) / spread(optima)
