"""The bias that theory expects of a quadratic experiment, by algorithm and staleness policy."""

from typing import NamedTuple

import numpy as np

from p2pfl.experiment import Experiment
from p2pfl.reproduction.quadratics import task_of
from p2pfl.theory.client_drift import client_drift
from p2pfl.theory.fixed_points import When, steady_bias
from p2pfl.theory.quadratics import Real
from p2pfl.types import Array

UNBIASED = frozenset({"track_mix", "gradient_tracking", "d2", "scaffold"})
"""Algorithms that rest at the optimum whatever the data, speeds and graph."""

_MIXING = frozenset({"pull_mix", "dpsgd", "local_sgd", "qg_dsgdm", "dsgdm"})
_MEAN_OF_CLIENTS = frozenset({"fedavg", "fedavgm"})


class Expected(NamedTuple):
    """A bias, and the law that it comes from."""

    value: float
    source: str


def expected_bias(experiment: Experiment, time_s: float) -> Expected | None:
    """For a quadratic experiment after `time_s`; None: theory has no law for it."""
    config = experiment.config
    kind = config.algorithm.kind
    if config.training.local_steps_of:
        return None
    if kind in UNBIASED and (config.training.local_steps == 1 or kind == "scaffold"):
        return Expected(0.0, "no bias")
    if kind in _MEAN_OF_CLIENTS and config.algorithm.participation in {None, 1.0}:
        task = task_of(experiment)
        drift = client_drift(
            task.curvature, task.optima, learning_rate=config.training.learning_rate,
            local_steps=config.training.local_steps or 1,
        )  # fmt: skip
        return Expected(drift, "client drift")
    if kind not in _MIXING:
        return None
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
