"""Where asynchronous algorithms rest in the mean, on quadratics and for one local step."""

from collections.abc import Callable, Mapping
from typing import Final

import numpy as np

from p2pfl.algorithms.push_sum import RobustPushSum
from p2pfl.experiment import Experiment
from p2pfl.reproduction.quadratics import task_of
from p2pfl.reproduction.standin import update_s
from p2pfl.theory.bias import Scheme, mix_on_receive, pairwise
from p2pfl.theory.push_sum import push_sum
from p2pfl.theory.quadratics import Real
from p2pfl.theory.rest import resting_bias


def mean_field_bias(experiment: Experiment) -> float | None:
    """The bias that the mean field expects; None: it has no law for this algorithm or setting."""
    law = _LAWS.get(experiment.config.algorithm.kind)
    return None if law is None or experiment.config.training.local_steps != 1 else law(experiment)


def _pairwise(experiment: Experiment) -> float:
    """AD-PSGD, whose steps count as often as they are made."""
    return _resting(experiment, pairwise(_linked(experiment), _rates(experiment)))


def _half_of_what_comes(experiment: Experiment) -> float:
    """Gossip learning: ages grow with the run, and soon all are about equal: merges are halves."""
    linked = _linked(experiment)
    # Each update goes to one neighbour.
    return _resting(
        experiment, mix_on_receive(0.5 * linked / linked.sum(axis=0), _rates(experiment))
    )


def _push_sum(experiment: Experiment) -> float | None:
    """By the kind of its step; shares are those of the sender's own degree.

    Steps by elapsed time have no law here: as slow as they are long, they meet a mass that has been
    mixed a few times only, and what the mean field expects was off by 10 % to 100 %. Without a
    window fast nodes starve, and what then bounds their steps has none either.
    """
    linked, rule = _linked(experiment), experiment.rule
    assert isinstance(rule, RobustPushSum)
    windowed = rule.pushes_max > 0
    if (rule.step, windowed) not in {("x", True), ("y", False)}:
        return None
    shares = linked / (1.0 + linked.sum(axis=0))
    scheme = push_sum(shares, _rates(experiment), step=rule.step, windowed=windowed)
    return _resting(experiment, scheme)


_LAWS: Final[Mapping[str, Callable[[Experiment], float | None]]] = {
    "ad_psgd": _pairwise,
    "gossip_learning": _half_of_what_comes,
    "push_sum": _push_sum,
}


def _resting(experiment: Experiment, scheme: Scheme) -> float:
    task = task_of(experiment)
    rate = experiment.config.training.learning_rate
    return resting_bias(scheme, task.curvature, task.optima, learning_rate=rate)


def _rates(experiment: Experiment) -> Real:
    return np.asarray(1.0 / update_s(experiment))


def _linked(experiment: Experiment) -> Real:
    linked = (experiment.topology.matrix() > 0.0).astype(np.float64)
    np.fill_diagonal(linked, 0.0)
    return np.asarray(linked)
