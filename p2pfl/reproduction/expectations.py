"""The bias that theory expects of a quadratic experiment, by algorithm and staleness policy."""

from typing import NamedTuple

import numpy as np

from p2pfl.algorithms.fedasync import FedAsyncServer
from p2pfl.algorithms.fedbuff import FedBuffServer
from p2pfl.experiment import SERVER, Experiment
from p2pfl.reproduction.mean_field import mean_field_bias
from p2pfl.reproduction.quadratics import task_of
from p2pfl.theory.client_drift import star_fixed_point
from p2pfl.theory.fixed_points import When, steady_bias
from p2pfl.theory.quadratics import Real, relative_error, weighted_optimum
from p2pfl.theory.servers import influence
from p2pfl.types import Array

UNBIASED = frozenset({"track_mix", "gradient_tracking", "d2", "scaffold"})
"""Algorithms that rest at the optimum whatever the data, speeds and graph."""

_MIXING = frozenset({"pull_mix", "dpsgd", "local_sgd", "qg_dsgdm", "dsgdm"})
_MEAN_OF_CLIENTS = frozenset({"fedavg", "fedprox", "fedavgm", "fedadam"})
_WITHOUT_ROUNDS = frozenset({"fedasync", "fedbuff"})

_WEIGHT_MAX = 0.1
"""The largest weight of one client's update for which the law of rates is good to 15 %."""


class Expected(NamedTuple):
    """A bias, and the law that it comes from."""

    value: float
    source: str
    in_the_mean: bool = False
    """Models keep moving around it: it is their mean over time."""


def expected_bias(experiment: Experiment, time_s: float) -> Expected | None:
    """For a quadratic experiment after `time_s`; None: theory has no law for it."""
    config = experiment.config
    kind = config.algorithm.kind
    if kind in _MEAN_OF_CLIENTS and config.algorithm.participation in {None, 1.0}:
        return Expected(_at_a_server(experiment, None), "client drift")
    if kind in _WITHOUT_ROUNDS:
        shares = _shares_without_rounds(experiment)
        return None if shares is None else Expected(_at_a_server(experiment, shares), "rates")
    if config.training.local_steps_of:
        return None
    if kind in UNBIASED and (config.training.local_steps == 1 or kind == "scaffold"):
        return Expected(0.0, "no bias")
    if kind not in _MIXING:
        found = mean_field_bias(experiment)
        return (
            None
            if found is None
            else Expected(found, "resting point, in the mean", in_the_mean=True)
        )
    policy, lags = config.staleness, _by_lag(experiment, time_s)
    asynchronous = kind == "pull_mix" and config.staleness.metric == "lag"
    if asynchronous and policy.policy == "drop":
        kept = (lags <= 0.0).astype(float)
        return Expected(steady(experiment, kept), "fixed point without slower neighbours")
    if asynchronous and policy.policy == "discount":
        if policy.discount != "polynomial":
            return None
        factor = (1.0 + lags) ** -policy.discount_a
        factor = np.minimum(factor, factor.T) if policy.reciprocal else factor
        return Expected(steady(experiment, factor), "fixed point with the last weights")
    if kind == "pull_mix" and policy.policy == "discount":
        return None
    return Expected(steady(experiment), "fixed point of D-PSGD, at any speeds")


def _at_a_server(experiment: Experiment, shares: Real | None) -> float:
    """Distance of the server's resting point to the uniform optimum, over the spread."""
    task, training = task_of(experiment), experiment.config.training
    client = experiment.place(experiment.learners[0]).algorithm
    steps = [training.local_steps_of.get(n, training.local_steps or 1) for n in experiment.learners]
    x = star_fixed_point(
        task.curvature, task.optima, learning_rate=training.learning_rate, local_steps=steps,
        weights=shares, proximal=getattr(client, "proximal", 0.0),
        normalise=bool(experiment.config.algorithm.normalise),
    )  # fmt: skip
    optimum = weighted_optimum(task.curvature, task.optima)
    return relative_error(x, optimum=optimum, optima=task.optima)


def _shares_without_rounds(experiment: Experiment) -> Real | None:
    """How much each client counts.

    None for discounts that are not a power of the age, and where one update counts so much that
    the server's model swings from client to client.
    """
    from p2pfl.reproduction.standin import update_s

    rates = 1.0 / (update_s(experiment) + 2.0 * experiment.config.network.latency_s)
    rule = experiment.place(SERVER).algorithm
    assert isinstance(rule, (FedAsyncServer, FedBuffServer))
    if isinstance(rule, FedBuffServer):
        buffer, weight = rule.buffer_size, rule.server_learning_rate / rule.buffer_size
    else:
        buffer, weight = 1, rule.alpha
    if rule.discount not in {"polynomial", "constant"} or weight > _WEIGHT_MAX:
        return None
    exponent = 0.0 if rule.discount == "constant" else rule.discount_a
    return influence(rates, exponent=exponent, buffer=buffer)


def steady(experiment: Experiment, factor: Array | None = None) -> float:
    """The fixed point's bias, with these factors on the links; what is lost goes to self."""
    config, task = experiment.config, task_of(experiment)
    mixing = experiment.topology.matrix()
    if factor is not None:
        mixing = mixing * factor
        np.fill_diagonal(mixing, 0.0)
        mixing += np.diag(1.0 - mixing.sum(axis=1))
    when: When = config.algorithm.when or "both"
    momentum = 0.0
    if config.algorithm.kind == "dsgdm":
        momentum = float(getattr(experiment.rule, "beta", 0.0))
    return steady_bias(
        mixing, task.curvature, task.optima, learning_rate=config.training.learning_rate,
        local_steps=config.training.local_steps or 1, when=when, momentum=momentum,
    )  # fmt: skip


def _by_lag(experiment: Experiment, time_s: float) -> Real:
    """How many versions each node has fallen behind each other's `[i, j]`: j behind i."""
    from p2pfl.reproduction.standin import update_s

    rates = 1.0 / update_s(experiment)
    return np.maximum(0.0, (rates[:, None] - rates[None, :]) * time_s)
