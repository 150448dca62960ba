"""Where an asynchronous network comes to rest when steps do not vanish.

The bias law of `bias` is the limit of small steps. At a step gamma the mean of a linear network
obeys dx_i/dt = sum_j q_ij (x_j - x_i) - gamma v_i A_i (x_i - b_i), and rests where that is zero.
This adds the error that D-PSGD has at equal speeds, and shows how strong mixing at a slow rate
saturates. Gradients are taken at the node's own model; where they are taken at the mixed one
(pull at its start, or twice), `fixed_points` is exact.

A node may also train from where it stood right after its last step, while others go on mixing with
it: its gradients are then those of a model that is still its own. Between two steps of node i, T_i
apart, its distance to what it hears falls by 1 - k_i = exp(-Q_i T_i), with Q_i = sum_j q_ij. With
h = gamma v_i T_i A_i for one step, and theta_i = 1 / k_i - 1 / (Q_i T_i), right after a step

    x_i - b_i = (1 + theta_i h)^-1 (mean over time of x_i - b_i)

so that its A_i counts as A_i (1 + theta_i h)^-1: the long steps of a slow node, as by elapsed time,
count less than they are long.

Source: first principles; see `bias`.
"""

import numpy as np
from numpy.typing import ArrayLike

from p2pfl.theory.bias import Scheme
from p2pfl.theory.quadratics import Real, full_curvature, relative_error, weighted_optimum


def resting_models(
    scheme: Scheme,
    curvature: ArrayLike,
    optima: ArrayLike,
    *,
    learning_rate: float,
    update_rates: ArrayLike | None = None,
) -> Real:
    """Every node's mean model `[n, d]` at rest; for `learning_rate` to 0, `bias.predicted_models`.

    `update_rates` `[n]`, per second, if gradients are taken right after the last step.
    """
    a, b = full_curvature(curvature, optima)
    n, d = b.shape
    q = np.array(scheme.mixing_rates, dtype=np.float64)
    np.fill_diagonal(q, 0.0)
    if update_rates is not None:
        a = _after_a_step(a, scheme.drift, q.sum(axis=1), learning_rate, np.asarray(update_rates))
    outflow = np.diag(q.sum(axis=1)) - q
    steps = learning_rate * scheme.drift[:, None, None] * a
    system = np.einsum("nm,de->ndme", outflow, np.eye(d))
    for i in range(n):
        system[i, :, i, :] += steps[i]
    wanted = np.einsum("nde,ne->nd", steps, b)
    return np.asarray(np.linalg.solve(system.reshape(n * d, n * d), wanted.ravel())).reshape(n, d)


def _after_a_step(a: Real, drift: Real, mixed: Real, learning_rate: float, rates: Real) -> Real:
    """What each curvature `[n, d, d]` counts as; `mixed` is Q `[n]`."""
    heard = mixed / rates
    theta = 1.0 / -np.expm1(-heard) - 1.0 / heard
    shrinking = np.eye(a.shape[-1]) + (theta * learning_rate * drift / rates)[:, None, None] * a
    return np.asarray(a @ np.linalg.inv(shrinking))


def resting_bias(
    scheme: Scheme,
    curvature: ArrayLike,
    optima: ArrayLike,
    *,
    learning_rate: float,
    update_rates: ArrayLike | None = None,
) -> float:
    """Distance of the mean of `resting_models` to the uniform optimum, over the spread."""
    x = resting_models(
        scheme, curvature, optima, learning_rate=learning_rate, update_rates=update_rates
    )
    return relative_error(x, optimum=weighted_optimum(curvature, optima), optima=optima)
