"""Training over a graph that changes from round to round is the dense iteration over it."""

from typing import Any

import numpy as np
import pytest
from support.experiments import models, quadratic_experiment, quadratic_task

from p2pfl.experiment import Experiment
from p2pfl.learning.trainer import TrainJob
from p2pfl.simulation.simulate import simulate
from p2pfl.theory.fixed_points import disagreement
from p2pfl.theory.quadratics import relative_error, weighted_optimum

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


EXACT = [topology for topology in SCHEDULES if topology["kind"] in ("base", "one_peer_hypercube")]


def then_still(topology: dict[str, Any], dimension: int = 10) -> Experiment:
    """Nodes that learn for one period of the schedule, and in the next only mix."""
    schedule = scheduled(topology).topology.schedule
    assert schedule is not None
    return scheduled(
        topology,
        # So small a step moves no float32.
        training={"schedule": "step", "decay_at": [schedule.period], "decay": 1e-30},
        stop={"steps": 2 * schedule.period},
        data={"dimension": dimension},
    )


@pytest.mark.parametrize("topology", EXACT, ids=str)
def test_after_one_period_without_learning_all_have_the_exact_mean(
    topology: dict[str, Any],
) -> None:
    experiment = then_still(topology)
    assert experiment.topology.schedule is not None
    period = experiment.topology.schedule.period
    before = simulate(experiment.replace(stop=type(experiment.config.stop)(steps=period)))
    mean = models(before.public, experiment).astype(np.float64).mean(axis=0)
    assert disagreement(models(before.public, experiment)) > 0.01
    x = models(simulate(experiment).public, experiment)
    np.testing.assert_allclose(x, np.tile(mean, (len(x), 1)), rtol=0.0, atol=1e-6)


@pytest.mark.parametrize("topology", SCHEDULES, ids=str)
def test_a_model_goes_to_those_who_hear_it_in_its_round_and_to_nobody_else(
    topology: dict[str, Any],
) -> None:
    dimension = 20_000
    experiment = then_still(topology, dimension)
    schedule = experiment.topology.schedule
    assert schedule is not None
    versions = range(2 * schedule.period + 1)
    for node in simulate(experiment).nodes:
        # All words together weigh less than half a model.
        sent = sum(len(schedule.heard_by(k, node.node)) for k in versions)
        heard = sum(len(schedule.row(k, node.node)) for k in versions)
        assert round(node.out_bytes / (4 * dimension)) == sent
        assert round(node.in_bytes / (4 * dimension)) == heard


@pytest.mark.parametrize("topology", EXACT, ids=str)
def test_gradient_tracking_has_no_bias_on_rounds_that_change(topology: dict[str, Any]) -> None:
    experiment = scheduled(
        topology,
        algorithm={"kind": "gradient_tracking"},
        stop={"steps": 200},
    )
    task, x = quadratic_task(experiment), models(simulate(experiment).served, experiment)
    wanted = weighted_optimum(task.curvature, task.optima)
    assert relative_error(x, optimum=wanted, optima=task.optima) < 1e-5
    assert disagreement(x) < 1e-4
