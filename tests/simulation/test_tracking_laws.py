"""Gradient tracking in the rough: nothing is lost to the last bit, and nothing is biased."""

from functools import cache

import numpy as np
import pytest
from support.experiments import models, quadratic_experiment, quadratic_task, simulated

from p2pfl.algorithms.fixed_point import difference
from p2pfl.algorithms.track_mix import TrackState
from p2pfl.experiment import Experiment
from p2pfl.results.record import RunResult
from p2pfl.simulation.simulate import simulate
from p2pfl.theory.fixed_points import disagreement, survivors_error
from p2pfl.theory.quadratics import relative_error, weighted_optimum

TRACK_MIX = {"kind": "track_mix"}
ROUGH = {"loss": 0.2, "duplication": 0.1, "reorder": 0.2}
EXPANDER = {"kind": "circulant", "nodes": 8, "offsets": [1, 2]}
"""Eight nodes; `nodes=8, slow=4` make four of them slow."""
JITTER = {"distribution": "lognormal", "sigma": 0.3}
DEAD = [0, 4, 8, 12]


@cache
def run(experiment: Experiment) -> RunResult:
    return simulate(experiment)


def error(experiment: Experiment, *, weights: list[float] | None = None) -> float:
    task = quadratic_task(experiment)
    wanted = weighted_optimum(task.curvature, task.optima, weights=weights)
    x = models(run(experiment).public, experiment)
    return relative_error(x, optimum=wanted, optima=task.optima)


@pytest.mark.parametrize("time_s", [97.3, 250.0])
def test_what_all_track_and_what_is_on_its_way_is_the_sum_of_all_gradients(time_s: float) -> None:
    experiment = quadratic_experiment(
        algorithm=TRACK_MIX, network=ROUGH, compute=JITTER, time_s=time_s
    )
    world, _ = simulated(experiment)
    states = {name: one.node.state for name, one in world.inhabitants.items()}
    assert all(isinstance(state, TrackState) for state in states.values())
    links = [(states[j].sums, told) for state in states.values() for j, told in state.heard.items()]
    assert len(links) == 32
    held = sum(state.tracker for state in states.values())
    on_their_way = [told.share * difference(pushed, told.sums) for pushed, told in links]
    wanted = sum(state.gradient for state in states.values())
    assert any(part.any() for part in on_their_way)
    assert np.array_equal(held + sum(on_their_way), wanted)


def test_neither_slow_nodes_nor_losses_nor_unequal_data_bias_it() -> None:
    assert error(quadratic_experiment(algorithm=TRACK_MIX, network=ROUGH, time_s=1500.0)) < 1e-3


def test_all_agree_in_the_end() -> None:
    experiment = quadratic_experiment(
        nodes=8, slow=4, algorithm=TRACK_MIX, topology=EXPANDER, time_s=400.0
    )
    assert disagreement(models(run(experiment).public, experiment)) < 1e-4


@pytest.mark.parametrize("latency_s", [0.1, 2.0, 10.0])
def test_it_is_stable_at_the_steps_that_the_curvature_allows(latency_s: float) -> None:
    experiment = quadratic_experiment(
        algorithm=TRACK_MIX,
        training={"learning_rate": 1.5 / 4.0},
        compute=JITTER,
        network={"latency_s": latency_s},
        time_s=600.0,
    )
    assert error(experiment) < 0.05


def test_local_steps_end_where_the_sums_of_their_gradients_cancel() -> None:
    experiment = quadratic_experiment(
        nodes=8,
        slow=4,
        algorithm=TRACK_MIX,
        topology=EXPANDER,
        training={"learning_rate": 0.02, "local_steps": 5},
        time_s=1000.0,
    )
    task = quadratic_task(experiment)
    moved = 1.0 - (1.0 - 0.02 * task.curvature) ** 5
    wanted = weighted_optimum(moved, task.optima)
    x = models(run(experiment).public, experiment)
    assert relative_error(x, optimum=wanted, optima=task.optima) < 1e-3


def test_weights_of_objectives_are_kept_whatever_the_local_steps() -> None:
    counts, steps = np.array([4.0, 1, 1, 1, 1, 1, 1, 2]), np.array([1, 1, 1, 1, 1, 1, 1, 2])
    experiment = quadratic_experiment(
        nodes=8,
        slow=4,
        algorithm=TRACK_MIX,
        topology=EXPANDER,
        training={
            "learning_rate": 0.02,
            "weights": {"n0": 4.0, "n7": 2.0},
            "local_steps_of": {"n7": 2},
        },
        time_s=600.0,
    )
    task = quadratic_task(experiment)
    moved = (1.0 - (1.0 - 0.02 * task.curvature) ** steps[:, None]) / steps[:, None]
    wanted = weighted_optimum(moved, task.optima, weights=counts)
    x = models(run(experiment).public, experiment)
    assert relative_error(x, optimum=wanted, optima=task.optima) < 1e-3
    assert error(experiment, weights=counts.tolist()) < 0.02 < error(experiment)


@cache
def crashed(restart_s: float | None = None) -> Experiment:
    """A quarter of the nodes dies early, far from the survivors' optimum."""
    back = {} if restart_s is None else {"restart_s": restart_s}
    return quadratic_experiment(
        slow=0,
        algorithm=TRACK_MIX,
        data={"sites": [4.0, 0.0, 0.0, 0.0]},
        faults={"crash": [{"node": f"n{i}", "at_s": 40.0, **back} for i in DEAD]},
        topology={"kind": "circulant", "nodes": 16, "offsets": [1, 2]},
        network={"loss": 0.05},
        time_s=600.0,
    )


def test_the_gradients_of_the_dead_leave_with_them() -> None:
    experiment = crashed()
    task = quadratic_task(experiment)
    x = models(run(experiment).public, experiment)
    assert survivors_error(x, task.curvature, task.optima, dead=DEAD) < 1e-6


def test_the_gradients_of_those_who_come_back_count_again() -> None:
    assert error(crashed(restart_s=200.0)) < 1e-6


def test_who_is_taken_for_dead_by_mistake_costs_nothing_lasting() -> None:
    """With this floor, every few seconds somebody is: a third of all messages is lost."""
    experiment = quadratic_experiment(
        nodes=8,
        slow=0,
        algorithm=TRACK_MIX,
        topology=EXPANDER,
        network={"loss": 0.35},
        staleness={"liveness_floor_s": 5.0},
        time_s=800.0,
    )
    assert error(experiment) < 2e-2
