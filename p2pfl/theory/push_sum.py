"""The bias of push-sum: whose data count when mass is pushed and kept instead of averaged.

Node j hands the share p_ij of its mass (x_j, y_j) to i at each of its r_j updates per second, and
takes its gradients at z = x / y. Mass rests at the null vector y of that flow, and for z this is
the network of `bias` with q_ij = r_j p_ij y_j / y_i: its left null vector is y itself. So the
influence is y_i v_i, and what counts is how the gradient is scaled.

Sources: M. Assran, M. Rabbat, "Asynchronous Gradient-Push", 2018 (the step on x); A. Spiridonoff,
A. Olshevsky, I. Paschalidis, "Robust Asynchronous Stochastic Gradient-Push", 2020 (the step by
elapsed time).
"""

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from p2pfl.errors import ConfigError
from p2pfl.theory.bias import Scheme
from p2pfl.theory.quadratics import Real

Step = Literal["x", "elapsed", "y"]


def resting_mass(shares: ArrayLike, rates: ArrayLike, *, windowed: bool = False) -> Real:
    """Y `[n]` with sum n: where mass gathers, for shares `[n, n]` (row i: what i is given)."""
    flow = _flow(shares, rates, windowed=windowed)
    outflow = np.diag(flow.sum(axis=0)) - flow
    y = np.abs(np.linalg.svd(outflow)[2][-1])
    return np.asarray(y * len(y) / y.sum(), dtype=np.float64)


def push_sum(shares: ArrayLike, rates: ArrayLike, *, step: Step, windowed: bool = False) -> Scheme:
    """The scheme that z follows. What its influence is depends on the step.

    - x: x -= gamma g, proportional to the rate
    - elapsed: gamma grows with the time since the node's last update; uniform
    - y: x -= gamma y g, proportional to rate times mass; uniform if pushes are symmetric, and
      proportional to the rate if they are `windowed`.

    `windowed`: nobody is pushed to before it has acknowledged the push before, so that the slower
    of two nodes sets the pace of their link.

    Raises:
        ConfigError: shares do not fit the rates.
    """
    r = np.asarray(rates, dtype=np.float64)
    flow = _flow(shares, r, windowed=windowed)
    y = resting_mass(shares, r, windowed=windowed)
    q = flow * y[None, :] / y[:, None]
    return Scheme(q, {"x": r / y, "elapsed": 1.0 / y, "y": r}[step])


def _flow(shares: ArrayLike, rates: ArrayLike, *, windowed: bool) -> Real:
    """Share of j's mass that i is given per second, `[i, j]`."""
    p, r = np.asarray(shares, dtype=np.float64), np.asarray(rates, dtype=np.float64)
    if p.shape != (len(r), len(r)) or not (r > 0).all():
        raise ConfigError(f"theory: shares {list(p.shape)} do not fit {len(r)} positive rates")
    pace = np.minimum(r[:, None], r[None, :]) if windowed else np.broadcast_to(r, p.shape)
    flow = p * pace
    np.fill_diagonal(flow, 0.0)
    return np.asarray(flow, dtype=np.float64)
