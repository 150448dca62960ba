"""Whose data an asynchronous server learns from.

A client with r updates per second brings r updates, each weighed by how old it is: sum r / r_i
of the others' updates came in between. In the limit of small steps the server rests at the
minimiser of sum_i r_i s(age_i) f_i: a discount by age only adds to the bias of the rates.

Sources: C. Xie, S. Koyejo, I. Gupta, "Asynchronous Federated Optimization", 2019 (FedAsync); J.
Nguyen et al., "Federated Learning with Buffered Asynchronous Aggregation", 2022 (FedBuff).
"""

import numpy as np
from numpy.typing import ArrayLike

from p2pfl.errors import ConfigError
from p2pfl.theory.quadratics import Real, relative_error, weighted_optimum


def influence(rates: ArrayLike, *, exponent: float = 0.5, buffer: int = 1) -> Real:
    """Each client's share `[n]`, sum one, under the discount (1 + age)^-exponent.

    `buffer` is how many updates make one version of the server's model (FedBuff's K; FedAsync: 1),
    in which ages are counted.

    Raises:
        ConfigError: a rate is not above zero, or the buffer holds nothing.
    """
    r = np.asarray(rates, dtype=np.float64)
    if r.ndim != 1 or not (r > 0).all() or buffer < 1:
        raise ConfigError("theory: rates must be above zero, and a buffer holds at least 1")
    # Its own update is not one of those that came in between.
    age = (r.sum() / r - 1.0) / buffer
    weighed = r * (1.0 + age) ** -exponent
    return np.asarray(weighed / weighed.sum())


def predicted_bias(
    rates: ArrayLike,
    curvature: ArrayLike,
    optima: ArrayLike,
    *,
    exponent: float = 0.5,
    buffer: int = 1,
) -> float:
    """Distance of where the server rests to the uniform optimum, over the optima's spread."""
    omega = influence(rates, exponent=exponent, buffer=buffer)
    reached = weighted_optimum(curvature, optima, weights=omega)
    return relative_error(reached, optimum=weighted_optimum(curvature, optima), optima=optima)
