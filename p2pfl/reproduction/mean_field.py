"""Where asynchronous algorithms rest in the mean, on quadratics and for one local step."""

from collections.abc import Callable, Mapping
from typing import Final

import numpy as np

from p2pfl.algorithms.push_sum import RobustPushSum
from p2pfl.experiment import Experiment
from p2pfl.reproduction.quadratics import task_of
from p2pfl.reproduction.standin import update_s
from p2pfl.theory.bias import Scheme, consume_once, mix_on_receive
from p2pfl.theory.pairs import resting_pairs
from p2pfl.theory.push_sum import push_sum
from p2pfl.theory.quadratics import Real, relative_error, weighted_optimum
from p2pfl.theory.rest import resting_bias


def mean_field_bias(experiment: Experiment) -> float | None:
    """The bias that the mean field expects; None: it has no law for this algorithm or setting."""
    law = _LAWS.get(experiment.config.algorithm.kind)
    return None if law is None or experiment.config.training.local_steps != 1 else law(experiment)


def _pairwise(experiment: Experiment) -> float:
    """AD-PSGD, whose steps count as often as they are made, or by the time that they took."""
    task, rates = task_of(experiment), _rates(experiment)
    models = resting_pairs(
        _linked(experiment), rates, task.curvature, task.optima,
        learning_rate=experiment.config.training.learning_rate,
        steps=_drift(experiment) / rates,
    )  # fmt: skip
    wanted = weighted_optimum(task.curvature, task.optima)
    return relative_error(models, optimum=wanted, optima=task.optima)


def _once(experiment: Experiment) -> float:
    """Consume-once: the slower of two sets the pace of their link."""
    scheme = consume_once(experiment.topology.matrix(), _rates(experiment))
    return _resting(experiment, Scheme(scheme.mixing_rates, _drift(experiment)))


def _on_receipt(experiment: Experiment) -> float:
    """Mixing on receipt: the sender sets the pace."""
    return _resting(experiment, mix_on_receive(experiment.topology.matrix(), _rates(experiment)))


def _drift(experiment: Experiment) -> Real:
    """Steps per second times their size; by elapsed time all step as far in a second."""
    rule, rates = experiment.rule, _rates(experiment)
    if getattr(rule, "step", "x") == "x":
        return rates
    plain_s = experiment.config.compute.step_s or 1.0
    return np.full(len(rates), 1.0 / (getattr(rule, "reference_s", None) or plain_s))


def _half_of_what_comes(experiment: Experiment) -> float:
    """Gossip learning: ages grow with the run, and soon all are about equal: merges are halves."""
    linked = _linked(experiment)
    # Each update goes to one neighbour.
    return _resting(
        experiment, mix_on_receive(0.5 * linked / linked.sum(axis=0), _rates(experiment))
    )


def _push_sum(experiment: Experiment) -> float | None:
    """By the kind of its step; shares are those of the sender's own degree.

    Without a window fast nodes starve, and what then bounds their steps has no law; nor has a mass
    that waits for acknowledgements while it scales the steps.
    """
    linked, rule = _linked(experiment), experiment.rule
    assert isinstance(rule, RobustPushSum)
    windowed = rule.pushes_max > 0
    if windowed == (rule.step == "y"):
        return None
    shares = linked / (1.0 + linked.sum(axis=0))
    scheme = push_sum(shares, _rates(experiment), step=rule.step, windowed=windowed)
    return _resting(experiment, scheme, mixed_meanwhile=True)


_LAWS: Final[Mapping[str, Callable[[Experiment], float | None]]] = {
    "ad_psgd": _pairwise,
    "consume_once": _once,
    "mix_on_receive": _on_receipt,
    "gossip_learning": _half_of_what_comes,
    "push_sum": _push_sum,
}


def _resting(experiment: Experiment, scheme: Scheme, *, mixed_meanwhile: bool = False) -> float:
    """`mixed_meanwhile`: a node's mass is mixed by others while it trains from what it was."""
    return resting_bias(
        scheme,
        task_of(experiment).curvature,
        task_of(experiment).optima,
        learning_rate=experiment.config.training.learning_rate,
        update_rates=_rates(experiment) if mixed_meanwhile else None,
    )


def _rates(experiment: Experiment) -> Real:
    return np.asarray(1.0 / update_s(experiment))


def _linked(experiment: Experiment) -> Real:
    linked = (experiment.topology.matrix() > 0.0).astype(np.float64)
    np.fill_diagonal(linked, 0.0)
    return np.asarray(linked)
