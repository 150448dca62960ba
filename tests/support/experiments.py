"""Small experiments made in code, for tests of laws."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from p2pfl.algorithms.suite import GOSSIPS, make_rule
from p2pfl.config.load import config_from_mapping
from p2pfl.experiment import Experiment
from p2pfl.learning.quadratics import QuadraticTask, QuadraticTrainer
from p2pfl.results.record import RunResult
from p2pfl.simulation.simulate import Simulation
from p2pfl.simulation.trace import Trace
from p2pfl.simulation.world import World
from p2pfl.types import Matrix, NodeId, Vector

SLOWDOWN = 5.0

SYNCHRONOUS: dict[str, dict[str, Any]] = {
    kind: {"kind": kind, **({"switch_step": 5} if kind == "local_sgd" else {})}
    for kind, each in GOSSIPS.items()
    if each.rule().capabilities.synchronous
}
"""Every synchronous algorithm, and the table of a file that names it."""


def momentum_of(kind: str, momentum: float) -> float:
    """This momentum for the local optimizer, or 0 where the algorithm must have plain SGD."""
    return 0.0 if kind in GOSSIPS and make_rule(kind, {}).capabilities.plain_sgd else momentum


def graph_of(kind: str, nodes: int) -> dict[str, Any]:
    """A ring, or a path where the algorithm needs a tree."""
    tree = kind in GOSSIPS and make_rule(kind, {}).capabilities.tree
    return {"kind": "path" if tree else "ring", "nodes": nodes}


def quadratic_experiment(
    *,
    nodes: int = 16,
    time_s: float = 1500.0,
    slow: int = 8,
    **tables: Any,  # noqa: ANN401 - tables and plain keys of the file, as a user writes them
) -> Experiment:
    """Quadratics on a ring (or path); `slow` nodes are five times slower, around another optimum.

    One step takes a virtual second. The instance of ALGORITHMS 8 in kind: condition 4, d = 10,
    exponential delay of mean 0.1, step 0.05.
    """
    sites = [-1.0] * slow + [1.0] * (nodes - slow)
    chosen = tables.get("algorithm", {}).get("kind", "pull_mix")
    base: dict[str, Any] = {
        "name": "quadratics",
        "topology": graph_of(chosen, nodes),
        "data": {"kind": "quadratic", "dimension": 10, "condition": 4.0, "sites": sites},
        "model": "quadratic",
        "training": {"learning_rate": 0.05, "local_steps": 1},
        "compute": {
            "step_s": 1.0,
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
    return Experiment(config_from_mapping(base, source="test"))


def quadratic_task(experiment: Experiment) -> QuadraticTask:
    """The objectives of a quadratic experiment."""
    trainer = experiment.make_trainer()
    assert isinstance(trainer, QuadraticTrainer)
    return trainer.task


def mixing_matrix(experiment: Experiment) -> Matrix:
    """The dense mixing matrix of the experiment's graph."""
    return experiment.topology.matrix()


def rates(experiment: Experiment) -> list[float]:
    """Each node's updates per second."""
    slowdown = experiment.config.compute.slowdown
    return [1.0 / slowdown.get(n, 1.0) for n in experiment.learners]


def models(vectors: Mapping[NodeId, Vector], experiment: Experiment) -> np.ndarray:
    """The nodes' models as rows `[n, d]`, in the order of the graph; the dead are left out."""
    return np.stack([vectors[n] for n in experiment.learners if n in vectors])


def simulated(experiment: Experiment) -> tuple[World, RunResult]:
    """The world as it stands when the run is over, and its result."""
    simulation = Simulation(experiment, experiment.make_trainer(), Trace())
    result = simulation.run()
    return simulation.world, result
