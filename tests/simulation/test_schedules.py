"""Training over a graph that changes from round to round is the dense iteration over it."""

from typing import Any

import numpy as np
import pytest
from support.experiments import models, quadratic_experiment

from p2pfl.experiment import Experiment
from p2pfl.learning.trainer import TrainJob
from p2pfl.simulation.simulate import simulate

STEPS = 13

SCHEDULES: list[dict[str, Any]] = [
    {"kind": "base", "nodes": 6, "degree": 1},
    {"kind": "base", "nodes": 7, "degree": 2},
    {"kind": "one_peer_hypercube", "nodes": 8},
    {"kind": "one_peer_exponential", "nodes": 6},
    {"kind": "equi_dyn", "nodes": 6, "rounds": 5},
    {"kind": "equi_dyn", "nodes": 6, "rounds": 5, "directed": True},
    {"kind": "el_oracle", "nodes": 7, "degree": 2, "rounds": 4},
]


def scheduled(topology: dict[str, Any], **tables: dict[str, Any]) -> Experiment:
    """D-PSGD with exact gradients; nobody is taken for dead, however long a message takes."""
    base: dict[str, Any] = {
        "algorithm": {"kind": "dpsgd"},
        "stop": {"steps": STEPS, "time_s": 1e6},
        "staleness": {"liveness_floor_s": 10_000.0},
        "compute": {"distribution": "lognormal", "sigma": 1.0, "slowdown": {"n0": 5.0}},
    }
    for name, table in tables.items():
        base[name] = base[name] | table if name in base else table
    # The helper's ring has another number of nodes; whole tables replace it.
    return quadratic_experiment(nodes=topology["nodes"], slow=2, topology=topology, **base)


def dense_iteration(experiment: Experiment) -> np.ndarray:
    trainer, schedule = experiment.make_trainer(), experiment.topology.schedule
    assert schedule is not None
    nodes = experiment.learners
    x = [trainer.initial()] * len(nodes)
    for k in range(STEPS):
        weights = schedule.matrix(k)
        mixed = []
        for i in range(len(nodes)):
            pull = np.zeros_like(x[i])
            for j in np.flatnonzero(weights[i]):
                if i != j:
                    pull += (x[j] - x[i]) * np.float32(weights[i, j])
            mixed.append(x[i] + pull)
        jobs = [TrainJob(n, m, k, 1, None) for n, m in zip(nodes, mixed, strict=True)]
        x = [outcome.vector for outcome in trainer.train(jobs)]
    return np.stack(x)


@pytest.mark.parametrize("topology", SCHEDULES, ids=str)
def test_each_round_mixes_with_its_own_matrix(topology: dict[str, Any]) -> None:
    experiment = scheduled(topology)
    result = simulate(experiment)
    np.testing.assert_array_equal(models(result.public, experiment), dense_iteration(experiment))
    assert {n.steps for n in result.nodes} == {STEPS}


@pytest.mark.parametrize("topology", SCHEDULES, ids=str)
def test_lost_versions_of_a_round_are_asked_for_again(topology: dict[str, Any]) -> None:
    """A node keeps as many versions as it can be ahead of one that waits for a lost one."""
    experiment = scheduled(topology, network={"loss": 0.1})
    result = simulate(experiment)
    np.testing.assert_array_equal(models(result.public, experiment), dense_iteration(experiment))
