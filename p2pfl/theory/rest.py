"""Where an asynchronous network comes to rest when steps do not vanish.

The bias law of `bias` is the limit of small steps. At a step gamma the mean of a linear network
obeys dx_i/dt = sum_j q_ij (x_j - x_i) - gamma v_i A_i (x_i - b_i), and rests where that is zero.
This adds the error that D-PSGD has at equal speeds, and shows how strong mixing at a slow rate
saturates. Gradients are taken at the node's own model; where they are taken at the mixed one
(pull at its start, or twice), `fixed_points` is exact.

Source: first principles; see `bias`.
"""

import numpy as np
from numpy.typing import ArrayLike

from p2pfl.theory.bias import Scheme
from p2pfl.theory.quadratics import Real, full_curvature, relative_error, weighted_optimum


def resting_models(
    scheme: Scheme, curvature: ArrayLike, optima: ArrayLike, *, learning_rate: float
) -> Real:
    """Every node's model `[n, d]` at rest; for `learning_rate` to 0, `bias.predicted_models`."""
    a, b = full_curvature(curvature, optima)
    n, d = b.shape
    q = np.array(scheme.mixing_rates, dtype=np.float64)
    np.fill_diagonal(q, 0.0)
    outflow = np.diag(q.sum(axis=1)) - q
    steps = learning_rate * scheme.drift[:, None, None] * a
    system = np.einsum("nm,de->ndme", outflow, np.eye(d))
    for i in range(n):
        system[i, :, i, :] += steps[i]
    wanted = np.einsum("nde,ne->nd", steps, b)
    return np.asarray(np.linalg.solve(system.reshape(n * d, n * d), wanted.ravel())).reshape(n, d)


def resting_bias(
    scheme: Scheme, curvature: ArrayLike, optima: ArrayLike, *, learning_rate: float
) -> float:
    """Distance of the mean of `resting_models` to the uniform optimum, over the spread."""
    x = resting_models(scheme, curvature, optima, learning_rate=learning_rate)
    return relative_error(x, optimum=weighted_optimum(curvature, optima), optima=optima)
