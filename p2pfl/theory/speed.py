"""The speed law: how many synchronous iterations an asynchronous run is worth per second.

Nodes with update rates r_i (per second) mix with weights w_ij models that are A_ij seconds old
on average. Freshness is the lever, not any weighting by staleness.

Source: deterministic-period approximation of the mean drift; the mean age at a random reading
time is the renewal-theory inspection mean, W. Feller, "An Introduction to Probability Theory and
Its Applications II", 1971, section XI.4.
"""

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from p2pfl.errors import ConfigError

Real = NDArray[np.float64]

When = Literal["start", "end", "both"]


def information_age_s(rates: ArrayLike, *, delay_s: ArrayLike = 0.0, cv: ArrayLike = 0.0) -> Real:
    """Mean age `[n]`, in seconds, of each node's newest model when somebody reads it.

    `rates` are updates per second, `delay_s` the mean delivery time, `cv` the coefficient of
    variation of the time between updates (standard deviation over mean; 1 is memoryless).
    """
    r = _rates(rates)
    jitter = np.asarray(cv, dtype=np.float64)
    return np.asarray(np.asarray(delay_s, dtype=np.float64) + (1.0 + jitter**2) / (2.0 * r))


def asynchronous_speed(
    mixing: ArrayLike,
    rates: ArrayLike,
    *,
    delay_s: ArrayLike = 0.0,
    cv: ArrayLike = 0.0,
    when: When = "both",
) -> float:
    """Synchronous iterations per second that pull mixing is worth; "both" moves like "end".

    end:   n / sum_i [ w_ii / r_i + sum_j w_ij A_ij ]
    start: n / sum_i [ 1 / r_i + sum_j w_ij A_ij ]
    """
    r = _rates(rates)
    w = np.asarray(mixing, dtype=np.float64)
    if w.shape != (len(r), len(r)):
        raise ConfigError(f"theory: mixing {list(w.shape)} does not fit rates {list(r.shape)}")
    own = np.ones_like(r) if when == "start" else np.diag(w)
    others = w - np.diag(np.diag(w))
    ages = np.broadcast_to(information_age_s(r, delay_s=delay_s, cv=cv), r.shape)
    return len(r) / float((own / r + others @ ages).sum())


def synchronous_speed(step_s: ArrayLike, *, delay_s: float = 0.0) -> float:
    """Iterations per second with a barrier, from samples of the nodes' step times `[rounds, n]`.

    One row, or a plain `[n]`, is enough if the times do not vary.
    """
    longest = np.atleast_2d(np.asarray(step_s, dtype=np.float64)).max(axis=1)
    return 1.0 / (float(longest.mean()) + delay_s)


def _rates(rates: ArrayLike) -> Real:
    r = np.asarray(rates, dtype=np.float64)
    if r.ndim != 1 or not (r > 0).all():
        raise ConfigError("theory: rates must be one number above zero for each node")
    return r
