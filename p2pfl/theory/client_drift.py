"""Where a star ends on quadratics: the drift of clients who take many local steps.

After H steps of size gamma from the global model x, client i has moved by K_i (b_i - x):

FedAvg    K_i = I - (I - gamma A_i)^H
FedProx   K_i = (I - (I - gamma (A_i + mu I))^H) (A_i + mu I)^-1 A_i

A server that moves by the clients' mean update rests where sum_i p_i K_i (b_i - x) = 0: at the
optimum for H = 1, and else as if client i's curvature were K_i. FedNova divides K_i by H_i.
Momentum or adaptive steps at the server, losses and delays change nothing of where it rests;
SCAFFOLD rests at the optimum. What weights an asynchronous server gives, `servers` says.

Source: Karimireddy et al., "SCAFFOLD", 2020, section 3 (client drift); Wang et al., "Tackling the
objective inconsistency problem in heterogeneous federated optimization", 2020; closed forms from
first principles.
"""

import numpy as np
from numpy.typing import ArrayLike

from p2pfl.errors import ConfigError
from p2pfl.theory.quadratics import Real, full_curvature, relative_error, weighted_optimum


def star_fixed_point(
    curvature: ArrayLike,
    optima: ArrayLike,
    *,
    learning_rate: float,
    local_steps: ArrayLike = 1,
    weights: ArrayLike | None = None,
    proximal: float = 0.0,
    normalise: bool = False,
) -> Real:
    """The global model `[d]` at which the server rests, for H `[n]` or one for all.

    `weights` are p_i up to a factor (None: equal).

    Raises:
        ConfigError: numbers that no run could have.
    """
    a, b = full_curvature(curvature, optima)
    steps = np.broadcast_to(np.asarray(local_steps, dtype=np.int64), len(b))
    if learning_rate <= 0.0 or steps.min() < 1 or proximal < 0.0:
        raise ConfigError(
            f"theory: learning_rate = {learning_rate}, local_steps = {steps.tolist()}, proximal = "
            f"{proximal}; expected more than 0, at least 1, and at least 0"
        )
    p = np.ones(len(b)) if weights is None else np.asarray(weights, dtype=np.float64)
    identity = np.eye(b.shape[1])
    moves = np.empty_like(a)
    for i, (each, count) in enumerate(zip(a, steps, strict=True)):
        held = each + proximal * identity
        shrink = np.linalg.matrix_power(identity - learning_rate * held, int(count))
        moves[i] = (identity - shrink) @ np.linalg.solve(held, each)
    if normalise:
        p = p / steps
    return weighted_optimum(moves, b, weights=p)


def client_drift(
    curvature: ArrayLike,
    optima: ArrayLike,
    *,
    learning_rate: float,
    local_steps: ArrayLike = 1,
    weights: ArrayLike | None = None,
    proximal: float = 0.0,
    normalise: bool = False,
) -> float:
    """Distance of `star_fixed_point` to the optimum of sum p_i f_i, over the optima's spread."""
    x = star_fixed_point(
        curvature,
        optima,
        learning_rate=learning_rate,
        local_steps=local_steps,
        weights=weights,
        proximal=proximal,
        normalise=normalise,
    )
    optimum = weighted_optimum(curvature, optima, weights=weights)
    return relative_error(x, optimum=optimum, optima=optima)
