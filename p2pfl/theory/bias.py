"""The bias law: whose data an asynchronous scheme really learns from.

Let q_ij be the rate at which node i mixes j in, times the weight, and v_i the rate of i's
gradient steps, times their size. For small steps the network converges to the minimiser of
sum_i omega_i f_i with omega_i proportional to pi_i v_i, where pi is the left null vector of
diag(q 1) - q. Uniform omega is what everyone wants; the schemes below say what they get.

Source: mean-field limit of a linear network, here from first principles; the left null vector is
that of consensus with unequal weights, R. Olfati-Saber, J. A. Fax, R. M. Murray, "Consensus and
Cooperation in Networked Multi-Agent Systems", 2007, section II.C.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from p2pfl.errors import ConfigError
from p2pfl.theory.quadratics import Real, full_curvature, relative_error, weighted_optimum


@dataclass(frozen=True, slots=True, eq=False)
class Scheme:
    """What the law needs to know of an asynchronous scheme."""

    mixing_rates: Real
    """q `[n, n]`, per second; the diagonal means nothing."""
    drift: Real
    """v `[n]`, gradient steps per second times their size."""


def influence(scheme: Scheme) -> Real:
    """Omega `[n]`, which sums to one: each node's share in the objective that is really solved.

    Raises:
        ConfigError: groups of nodes do not listen to each other, so there is no one objective.
    """
    groups = listening_groups(scheme.mixing_rates)
    if len(groups) > 1:
        raise ConfigError(
            f"theory: {len(groups)} groups of nodes do not listen to each other, and each has its "
            "own optimum; ask for predicted_models"
        )
    shares = np.zeros_like(scheme.drift)
    shares[groups[0]] = _shares(scheme, groups[0])
    return shares


def predicted_models(scheme: Scheme, curvature: ArrayLike, optima: ArrayLike) -> Real:
    """Where every node ends, `[n, d]`, for vanishing steps.

    A group that hears only itself reaches its own weighted optimum; everybody else follows the
    groups that they hear.
    """
    a, b = full_curvature(curvature, optima)
    q = _without_diagonal(scheme.mixing_rates)
    models = np.zeros_like(b)
    leads = np.zeros(len(b), dtype=bool)
    for group in listening_groups(q):
        weights = _shares(scheme, group)
        models[group] = weighted_optimum(a[group], b[group], weights=weights)
        leads[group] = True
    if not leads.all():
        outflow = np.diag(q.sum(axis=1)) - q
        heard = q[np.ix_(~leads, leads)] @ models[leads]
        models[~leads] = np.linalg.solve(outflow[np.ix_(~leads, ~leads)], heard)
    return models


def predicted_bias(scheme: Scheme, curvature: ArrayLike, optima: ArrayLike) -> float:
    """Distance of the mean of `predicted_models` to the uniform optimum, over the spread."""
    reached = predicted_models(scheme, curvature, optima)
    return relative_error(reached, optimum=weighted_optimum(curvature, optima), optima=optima)


def listening_groups(mixing_rates: ArrayLike) -> list[list[int]]:
    """The smallest groups of nodes that hear nobody outside, each as ascending positions."""
    hears = (_without_diagonal(mixing_rates) > 0.0) | np.eye(
        len(np.asarray(mixing_rates)), dtype=bool
    )
    for _ in range(len(hears).bit_length()):
        hears = hears @ hears
    # A node stands in such a group if everyone it hears, however far, hears it as well.
    closed = [i for i in range(len(hears)) if (hears[:, i] | ~hears[i]).all()]
    return [
        list(group) for group in sorted({tuple(np.flatnonzero(hears[i]).tolist()) for i in closed})
    ]


def pull(mixing: ArrayLike, rates: ArrayLike) -> Scheme:
    """Persistent buffers: at each of its updates i reads the newest of everyone, old or not.

    With a symmetric mixing matrix `[n, n]` the influence is uniform at any rates `[n]`; uniform
    row weights give influence proportional to degree + 1.
    """
    w, r = _arrays(mixing, rates)
    return Scheme(r[:, None] * w, r)


def pull_dropping_by_lag(mixing: ArrayLike, rates: ArrayLike) -> Scheme:
    """Pull that leaves out whoever is too many versions behind: sooner or later, all slower ones.

    The lag behind a slower node grows for ever, so every bound on it is exceeded in the end.
    """
    w, r = _arrays(mixing, rates)
    return Scheme(r[:, None] * w * (r[None, :] >= r[:, None]), r)


def consume_once(mixing: ArrayLike, rates: ArrayLike) -> Scheme:
    """A model is mixed at most once: fast nodes mix slow ones only as often as these publish.

    Source: M. Bornstein, T. Rabbani, E. Wang, A. S. Bedi, F. Huang, "SWIFT", 2023 (the
    memory-efficient form).
    """
    w, r = _arrays(mixing, rates)
    return Scheme(np.minimum(r[:, None], r[None, :]) * w, r)


def mix_on_receive(mixing: ArrayLike, rates: ArrayLike) -> Scheme:
    """Every arriving model is mixed in at once: influence proportional to the rate squared."""
    w, r = _arrays(mixing, rates)
    return Scheme(r[None, :] * w, r)


def pairwise(adjacency: ArrayLike, rates: ArrayLike, *, step_by_rate: bool = False) -> Scheme:
    """AD-PSGD: after each update a node averages with one random neighbour, both ways.

    `adjacency` is `[n, n]` of 0 and 1. `step_by_rate` divides each node's step by its rate, which
    makes the influence uniform.

    Source: X. Lian, W. Zhang, C. Zhang, J. Liu, "Asynchronous Decentralized Parallel Stochastic
    Gradient Descent", 2018.
    """
    a, r = _arrays(adjacency, rates)
    linked = (a > 0) & ~np.eye(len(a), dtype=bool)
    calls = r / linked.sum(axis=1)
    drift = np.ones_like(r) if step_by_rate else r
    return Scheme(linked * (calls[:, None] + calls[None, :]) / 2.0, drift)


def scaled_by_own_weight(mixing: ArrayLike, rates: ArrayLike) -> Scheme:
    """Pull that multiplies the local update by w_ii as well, as a common bug has it."""
    w, r = _arrays(mixing, rates)
    return Scheme(r[:, None] * w, r * np.diag(w))


def _arrays(mixing: ArrayLike, rates: ArrayLike) -> tuple[Real, Real]:
    w, r = np.asarray(mixing, dtype=np.float64), np.asarray(rates, dtype=np.float64)
    if w.ndim != 2 or w.shape != (len(r), len(r)):  # noqa: PLR2004 - [n, n]
        raise ConfigError(
            f"theory: mixing {list(w.shape)} does not fit rates {list(r.shape)}; "
            "expected [n, n] and [n]"
        )
    if not (r > 0).all():
        raise ConfigError("theory: a rate is not above zero; leave out nodes that do nothing")
    return w, r


def _without_diagonal(mixing_rates: ArrayLike) -> Real:
    q = np.array(mixing_rates, dtype=np.float64)
    np.fill_diagonal(q, 0.0)
    return q


def _shares(scheme: Scheme, group: list[int]) -> Real:
    """Pi times v within a group in which everybody hears everybody, however far; sums to one."""
    q = _without_diagonal(scheme.mixing_rates)[np.ix_(group, group)]
    outflow = np.diag(q.sum(axis=1)) - q
    null = np.abs(np.linalg.svd(outflow)[0][:, -1])
    shares = null * scheme.drift[group]
    return np.asarray(shares / shares.sum(), dtype=np.float64)
