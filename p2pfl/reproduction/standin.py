"""A quadratic stand-in: an experiment's graph, speeds, network and algorithm without its data.

Its objectives are quadratics of which theory knows where they end, with the slow half of the nodes
around another optimum than the fast half, so that speeds can do harm.
"""

from dataclasses import fields, replace
from math import isclose
from typing import Final

import numpy as np

from p2pfl.compute import ComputeLaw
from p2pfl.config.schema import (
    CheckpointConfig,
    DataConfig,
    EvaluationConfig,
    ExperimentConfig,
    FaultsConfig,
    ModelConfig,
    PartitionConfig,
    SimulationConfig,
    StopConfig,
    TrainingConfig,
)
from p2pfl.experiment import Experiment
from p2pfl.theory.quadratics import Real

DIMENSION: Final = 10
CONDITION: Final = 4.0
"""Curvatures are drawn from 1 to this, which is L of the largest safe step."""

SITE: Final = 1.0
"""Slow nodes' optima lie around minus this, the others' around plus."""

_KEPT: Final = ("learning_rate", "local_steps", "local_steps_of", "batch_size")


def update_s(experiment: Experiment) -> Real:
    """Mean seconds of one local update of each learner `[n]`, as the file has them."""
    config = experiment.config
    law = ComputeLaw(config.compute, seed=config.seed)
    per_step = config.compute.step_s if config.compute.step_s is not None else 0.01
    steps = [_local_steps(config, node) for node in experiment.learners]
    paces = [law.pace(node) for node in experiment.learners]
    return np.array([per_step * pace * h for pace, h in zip(paces, steps, strict=True)])


def stand_in(experiment: Experiment, *, time_s: float, one_optimum: bool = False) -> Experiment:
    """The stand-in, for so many virtual seconds; a quadratic experiment keeps its own objectives.

    `one_optimum`: all nodes want the same, far from the start, so that the pace can be read off.

    Raises:
        ConfigError: the algorithm does not run on it.
    """
    config = experiment.config
    seconds = update_s(experiment)
    if one_optimum:
        data = DataConfig(kind="quadratic", dimension=DIMENSION, condition=1.0, spread=0.0,
                          sites=(5.0,))  # fmt: skip
    elif config.data.kind == "quadratic":
        data = replace(config.data, noise=0.0)
    else:
        middle = float(np.median(seconds))
        slow = seconds > middle * (1 + 1e-9)
        if isclose(float(seconds.min()), float(seconds.max())):
            slow = np.arange(len(seconds)) % 2 == 1
        data = DataConfig(kind="quadratic", dimension=DIMENSION, condition=CONDITION,
                          sites=tuple(np.where(slow, -SITE, SITE).tolist()))  # fmt: skip
    changed = replace(
        config,
        data=data,
        model=ModelConfig(kind="quadratic"),
        partition=PartitionConfig(),
        training=_training(config.training),
        faults=FaultsConfig(),
        checkpoint=CheckpointConfig(),
        simulation=SimulationConfig(),
        stop=StopConfig(time_s=time_s),
        evaluation=EvaluationConfig(every_s=time_s / 40.0),
    )
    return Experiment(changed, folder=experiment.folder)


def with_rate(experiment: Experiment, rate: float) -> Experiment:
    """The same with another learning rate."""
    return experiment.replace(training=replace(experiment.config.training, learning_rate=rate))


def _training(given: TrainingConfig) -> TrainingConfig:
    """Plain SGD with a constant step: what theory speaks of."""
    kept = {f.name: getattr(given, f.name) for f in fields(given) if f.name in _KEPT}
    if kept["local_steps"] is None:
        kept["local_steps"] = 1
    return TrainingConfig(**kept)


def _local_steps(config: ExperimentConfig, node: str) -> int:
    training = config.training
    return training.local_steps_of.get(node, training.local_steps or 1)
