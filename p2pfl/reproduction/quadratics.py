"""Quadratics on which laws are measured: half of the nodes slow, and around another optimum."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from p2pfl.config.load import config_from_mapping
from p2pfl.experiment import Experiment
from p2pfl.learning.quadratics import QuadraticTask, QuadraticTrainer
from p2pfl.results.record import RunResult
from p2pfl.simulation.simulate import Simulation
from p2pfl.simulation.trace import Trace
from p2pfl.theory.quadratics import Real, relative_error, weighted_optimum
from p2pfl.types import Array

SLOWDOWN = 5.0
JITTER = 0.3
"""Sigma of the lognormal times: with equal ones, nodes would march in step."""

_LOOKS = 101


def quadratics(*, nodes: int = 16, slow: int = 8, time_s: float, **tables: object) -> Experiment:
    """A ring of `nodes` quadratics of 10 dimensions, condition 4; the first `slow` ones are slow.

    A step takes a virtual second, a message 0.1 in the mean (exponential). `tables` change or add
    tables of the experiment file.
    """
    base: dict[str, Any] = {
        "name": "quadratics",
        "topology": {"kind": "ring", "nodes": nodes},
        "data": {
            "kind": "quadratic",
            "dimension": 10,
            "condition": 4.0,
            "sites": [-1.0] * slow + [1.0] * (nodes - slow),
        },
        "model": "quadratic",
        "training": {"learning_rate": 0.05, "local_steps": 1},
        "compute": {
            "step_s": 1.0,
            "distribution": "lognormal",
            "sigma": JITTER,
            "slowdown": {f"n{i}": SLOWDOWN for i in range(slow)},
        },
        "network": {"latency_s": 0.1, "latency": "exponential"},
        "stop": {"time_s": time_s},
        "evaluation": {"every_s": time_s},
    }
    for name, table in tables.items():
        before = base.get(name, {})
        if isinstance(table, Mapping) and isinstance(before, Mapping):
            base[name] = {**before, **table}
        else:
            base[name] = table
    return Experiment(config_from_mapping(base, source="reproduction"))


def task_of(experiment: Experiment) -> QuadraticTask:
    """The objectives."""
    trainer = experiment.make_trainer()
    assert isinstance(trainer, QuadraticTrainer)
    return trainer.task


def rates_of(experiment: Experiment) -> Real:
    """Each node's updates per second `[n]`, as the file has them."""
    compute = experiment.config.compute
    step_s = compute.step_s or 1.0
    return np.array([1.0 / (step_s * compute.slowdown.get(n, 1.0)) for n in experiment.learners])


def measured_rates(result: RunResult) -> Real:
    """Each learner's updates per second `[n]`, as they came."""
    return np.array([node.versions / result.duration_s for node in result.learners])


def measured_bias(experiment: Experiment, result: RunResult) -> float:
    """Distance of the mean of the nodes' x to the uniform optimum, over the optima's spread."""
    x = np.stack([result.public[n] for n in experiment.learners if n in result.public])
    return _bias(experiment, x)


def settled_bias(experiment: Experiment) -> float:
    """The same of each node's x averaged over the second half of a run, in which nobody dies.

    Random partners and masses keep models moving for ever: laws in the mean speak of this.
    """
    end_s = experiment.config.stop.time_s
    assert end_s is not None
    world = Simulation(experiment, experiment.make_trainer(), Trace()).world
    world.start()
    looks = np.linspace(end_s / 2, end_s, _LOOKS)
    total = np.zeros(())
    for at_s in looks:
        while world.next_s <= at_s:
            world.step()
        total = total + np.stack([world.inhabitants[n].node.public() for n in experiment.learners])
    return _bias(experiment, total / len(looks))


def _bias(experiment: Experiment, x: Array) -> float:
    task = task_of(experiment)
    wanted = weighted_optimum(task.curvature, task.optima)
    return relative_error(x, optimum=wanted, optima=task.optima)
