"""Where constant-step gossip ends on quadratics: exact fixed points, by linear algebra.

`when` says where mixing happens, as in the experiment file: "both" and "start" evaluate gradients
at mixed models and share the fixed point of D-PSGD, x = W x - gamma g(W x); "end" evaluates them
at the nodes' own, x = W x - gamma g(x), which is DGD. A fixed point does not depend on who is
slow, late or lossy: every stale copy equals the current one there.

H local steps replace gamma A_i by I - (I - gamma A_i)^H.

Momentum that stays at its node (DSGDm) makes every step count 1 / (1 - beta) times in the end.
Quasi-global momentum (QG-DSGDm) follows the moves of the mixed models, which cease: its fixed
points are those of D-PSGD.

Sources: X. Lian et al., "Can Decentralized Algorithms Outperform Centralized Algorithms?", 2017
(D-PSGD); A. Nedic, A. Ozdaglar, "Distributed Subgradient Methods for Multi-Agent Optimization",
2009 (DGD).
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from p2pfl.errors import ConfigError
from p2pfl.theory.quadratics import Real, full_curvature, relative_error, weighted_optimum

When = Literal["start", "end", "both"]


def fixed_point(
    mixing: ArrayLike,
    curvature: ArrayLike,
    optima: ArrayLike,
    *,
    learning_rate: float,
    local_steps: int = 1,
    when: When = "both",
    momentum: float = 0.0,
) -> Real:
    """Every node's own model x `[n, d]` in the end, with mixing matrix `[n, n]`.

    `momentum` is beta of a heavy ball at each node that turns once per update (DSGDm).
    """
    a, b = full_curvature(curvature, optima)
    w = _mixing(mixing, len(b))
    steps = _steps(a, learning_rate, local_steps, momentum)
    return _solve(w, np.zeros_like(b), b, steps, when)


def steady_bias(
    mixing: ArrayLike,
    curvature: ArrayLike,
    optima: ArrayLike,
    *,
    learning_rate: float,
    local_steps: int = 1,
    when: When = "both",
    momentum: float = 0.0,
) -> float:
    """Distance of the mean of `fixed_point` to the uniform optimum, over the optima's spread."""
    x = fixed_point(
        mixing,
        curvature,
        optima,
        learning_rate=learning_rate,
        local_steps=local_steps,
        when=when,
        momentum=momentum,
    )
    return relative_error(x, optimum=weighted_optimum(curvature, optima), optima=optima)


def cancelling_model(
    curvature: ArrayLike, optima: ArrayLike, *, learning_rate: float, local_steps: int = 1
) -> Real:
    """The model `[d]` at which the local updates of all nodes sum to zero.

    There ends what averages exactly or corrects its bias by what mixing moves (D2, RelaySum,
    FedAvg with all clients). With one local step it is the optimum.
    """
    a, b = full_curvature(curvature, optima)
    return weighted_optimum(_steps(a, learning_rate, local_steps), b)


def disagreement(models: ArrayLike) -> float:
    """The consensus distance: root mean square distance of the models `[n, d]` to their mean."""
    x = np.asarray(models, dtype=np.float64)
    return float(np.sqrt(np.mean(np.sum((x - x.mean(axis=0)) ** 2, axis=1))))


def survivors_mixing(mixing: ArrayLike, *, dead: Sequence[int]) -> Real:
    """The survivors' matrix when a dead neighbour's weight goes back to self."""
    w = np.asarray(mixing, dtype=np.float64)
    alive = _alive(len(w), dead)
    kept = w[np.ix_(alive, alive)]
    return kept + np.diag(1.0 - kept.sum(axis=1))


def ghost_fixed_point(
    mixing: ArrayLike,
    curvature: ArrayLike,
    optima: ArrayLike,
    *,
    learning_rate: float,
    dead: Sequence[int],
    frozen: ArrayLike,
    local_steps: int = 1,
    when: When = "both",
) -> Real:
    """Where survivors end, `[n - dead, d]`, if they never stop mixing the dead's last models.

    `dead` are positions, `frozen` `[len(dead), d]` the models they left. Each acts like one more
    objective, w / (2 gamma) ||x - frozen||^2, which anchors everyone to the past.
    """
    a, b = full_curvature(curvature, optima)
    w = _mixing(mixing, len(b))
    alive = _alive(len(b), dead)
    ghosts = w[np.ix_(alive, list(dead))] @ np.asarray(frozen, dtype=np.float64)
    steps = _steps(a[alive], learning_rate, local_steps)
    return _solve(w[np.ix_(alive, alive)], ghosts, b[alive], steps, when)


def survivors_error(
    models: ArrayLike, curvature: ArrayLike, optima: ArrayLike, *, dead: Sequence[int]
) -> float:
    """Distance of the survivors' mean model to the survivors' optimum, over their spread."""
    a, b = full_curvature(curvature, optima)
    alive = _alive(len(b), dead)
    wanted = weighted_optimum(a[alive], b[alive])
    return relative_error(models, optimum=wanted, optima=b[alive])


def _steps(curvature: Real, learning_rate: float, local_steps: int, momentum: float = 0.0) -> Real:
    """K_i `[n, d, d]` with local update -K_i (m - b_i).

    At rest a heavy ball that turns once per update has m = beta m + the mean gradient of the H
    steps, which makes (I - beta S / H)^-1 K of K = I - P^H, with S = sum_k<H P^k, P = I - gamma A.
    """
    if learning_rate <= 0.0 or local_steps < 1 or not 0.0 <= momentum < 1.0:
        raise ConfigError(
            f"theory: learning_rate = {learning_rate}, local_steps = {local_steps}, momentum = "
            f"{momentum}; expected more than 0, at least 1, and at least 0 and below 1"
        )
    identity = np.eye(curvature.shape[-1])
    shrink = identity - learning_rate * curvature
    steps = np.asarray(identity - np.linalg.matrix_power(shrink, local_steps))
    if momentum == 0.0:
        return steps
    mean = sum(np.linalg.matrix_power(shrink, k) for k in range(local_steps)) / local_steps
    return np.asarray(np.linalg.solve(identity - momentum * mean, steps))


def _solve(w: Real, outside: Real, b: Real, steps: Real, when: When) -> Real:
    """Solves x = m - K (y - b) with m = W x + outside, and y = m, or y = x for "end"."""
    if when not in {"start", "end", "both"}:
        raise ConfigError(f"theory: when = {when!r}; allowed are start, end, both")
    n, d = b.shape
    target = outside + np.einsum("nde,ne->nd", steps, b)
    if when != "end":
        target = target - np.einsum("nde,ne->nd", steps, outside)
    if _is_diagonal(steps):
        k = np.einsum("ndd->dn", steps)
        pulled = k[:, :, None] * (np.eye(n) if when == "end" else w)
        return np.asarray(np.linalg.solve(np.eye(n) - w + pulled, target.T[:, :, None])[:, :, 0].T)
    stacked = np.einsum("nm,de->ndme", np.eye(n) - w, np.eye(d))
    stacked += np.einsum("nm,nde->ndme", np.eye(n) if when == "end" else w, steps)
    return np.asarray(np.linalg.solve(stacked.reshape(n * d, n * d), target.ravel())).reshape(n, d)


def _is_diagonal(matrices: Real) -> bool:
    off = ~np.eye(matrices.shape[-1], dtype=bool)
    return not matrices[:, off].any()


def _mixing(mixing: ArrayLike, count: int) -> Real:
    w = np.asarray(mixing, dtype=np.float64)
    if w.shape != (count, count):
        raise ConfigError(f"theory: mixing {list(w.shape)} does not fit {count} nodes")
    return w


def _alive(count: int, dead: Sequence[int]) -> list[int]:
    gone = set(dead)
    alive = [i for i in range(count) if i not in gone]
    if not gone <= set(range(count)):
        raise ConfigError(f"theory: dead = {sorted(gone)}; positions are 0 to {count - 1}")
    if not alive:
        raise ConfigError(f"theory: all {count} nodes are dead, which leaves nobody alive")
    return alive
