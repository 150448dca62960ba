"""What the training section must satisfy beyond ranges: keys that only make sense together."""

from collections.abc import Mapping
from itertools import pairwise
from typing import Final

from p2pfl.algorithms.suite import reads_weights
from p2pfl.config.read import Place, shown
from p2pfl.config.schema import ExperimentConfig, TrainingConfig

_SCHEDULE_KEYS: Final[Mapping[str, tuple[str, ...]]] = {
    "decay_at": ("step",),
    "decay": ("step",),
    "schedule_steps": ("cosine", "linear"),
    "learning_rate_min": ("cosine", "linear"),
}
"""Key -> the schedules that read it."""
_OPTIMIZER_KEYS: Final[Mapping[str, tuple[str, ...]]] = {
    "momentum": ("sgd",),
    "betas": ("adamw",),
    "eps": ("adamw",),
}
"""Key -> the optimizers that read it."""


def check_training(config: ExperimentConfig, place: Place) -> None:
    """Refuse a training section that contradicts itself.

    Raises:
        ConfigError: the first thing wrong.
    """
    here = place.at("training")
    _check_local_work(config.training, here)
    _check_optimizer(config, here)
    _check_schedule(config, here)
    _check_weights(config, here)


def _check_local_work(training: TrainingConfig, place: Place) -> None:
    steps, epochs = training.local_steps, training.local_epochs
    if steps is None and epochs is None:
        raise place.at("local_steps").error(
            "is missing; give exactly one of local_steps and local_epochs"
        )
    if steps is not None and epochs is not None:
        raise place.at("local_epochs").error(
            f"is {epochs} and local_steps is {steps}; give exactly one of them"
        )


def _check_optimizer(config: ExperimentConfig, place: Place) -> None:
    training = config.training
    if len(training.betas) != len(_defaults(training).betas):
        raise place.at("betas").error(f"has {len(training.betas)} numbers; allowed: two")
    _check_read(training, "optimizer", _OPTIMIZER_KEYS, place)
    if training.optimizer != "sgd" and config.data.kind == "quadratic":
        raise place.at("optimizer").error('is "adamw"; quadratics know "sgd" only')


def _check_schedule(config: ExperimentConfig, place: Place) -> None:
    training = config.training
    _check_read(training, "schedule", _SCHEDULE_KEYS, place)
    if training.schedule == "step":
        if not training.decay_at:
            raise place.at("decay_at").error('is missing; the schedule "step" needs it')
        if any(then <= first for first, then in pairwise(training.decay_at)):
            raise place.at("decay_at").error(
                f"is {shown(training.decay_at)}; allowed: steps in ascending order, each once"
            )
    if training.schedule not in {"cosine", "linear"}:
        return
    length = training.schedule_steps or config.stop.steps
    if length is None:
        raise place.at("schedule_steps").error(
            f'is missing; the schedule "{training.schedule}" needs it, or stop.steps'
        )
    if length <= training.warmup_steps:
        raise place.at("warmup_steps").error(
            f"is {training.warmup_steps}; allowed: below the schedule's {length} steps"
        )
    if training.learning_rate_min > training.learning_rate:
        raise place.at("learning_rate_min").error(
            f"is {training.learning_rate_min:g}; allowed: at most learning_rate,"
            f" which is {training.learning_rate:g}"
        )


def _check_weights(config: ExperimentConfig, place: Place) -> None:
    training, kind = config.training, config.algorithm.kind
    if training.weights and training.weighting == "samples":
        raise place.at("weights").error('are given, and weighting is "samples"; remove one of them')
    for key in ("weighting", "weights"):
        if getattr(training, key) and not reads_weights(kind):
            raise place.at(key).error(f'is not read by algorithm.kind "{kind}"; remove it')


def _check_read(
    training: TrainingConfig, key: str, keys: Mapping[str, tuple[str, ...]], place: Place
) -> None:
    """What only one optimizer or schedule reads is refused under another."""
    chosen, default = getattr(training, key), _defaults(training)
    for name, readers in keys.items():
        if chosen not in readers and getattr(training, name) != getattr(default, name):
            raise place.at(name).error(f'is not read by the {key} "{chosen}"; remove it')


def _defaults(training: TrainingConfig) -> TrainingConfig:
    return TrainingConfig(learning_rate=training.learning_rate)
