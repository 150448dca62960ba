"""Push-sum in the rough: whose data counts, and what becomes of mass."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from support.experiments import (
    models,
    quadratic_experiment,
    quadratic_task,
    rates,
    simulated,
)

from p2pfl.algorithms.fixed_point import difference, in_own_steps, no_sums
from p2pfl.config.schema import TopologyConfig
from p2pfl.experiment import Experiment
from p2pfl.results.record import RunResult
from p2pfl.simulation.simulate import simulate
from p2pfl.theory.bias import predicted_bias
from p2pfl.theory.fixed_points import survivors_error
from p2pfl.theory.push_sum import push_sum
from p2pfl.theory.quadratics import relative_error, weighted_optimum

GRAPHS = {
    "circulant": TopologyConfig(kind="circulant", nodes=8, offsets=(1, 2)),
    "exponential": TopologyConfig(kind="exponential", nodes=8, directed=True, weights="uniform"),
    "one-way ring": TopologyConfig(
        kind="edges",
        edges=tuple((f"n{i}", f"n{(i + 1) % 8}") for i in range(8)),
        directed=True,
        weights="uniform",
    ),
}
DEAD = [0, 4, 8, 12]


@cache
def run(experiment: Experiment) -> RunResult:
    return simulate(experiment)


@cache
def law(step: str, graph: str = "circulant", *, loss: float = 0.0) -> Experiment:
    """Eight nodes, four of them five times slower; small steps, so that all nearly agree."""
    experiment = quadratic_experiment(
        nodes=8,
        slow=4,
        algorithm={"kind": "push_sum", "step": step},
        training={"learning_rate": 0.005},
        network={"loss": loss},
        compute={"distribution": "lognormal", "sigma": 0.3},
        time_s=900.0,
    )
    return experiment.replace(topology=GRAPHS[graph])


def bias(experiment: Experiment) -> float:
    task = quadratic_task(experiment)
    wanted = weighted_optimum(task.curvature, task.optima)
    x = models(run(experiment).public, experiment)
    return relative_error(x, optimum=wanted, optima=task.optima)


def predicted(experiment: Experiment) -> float:
    task, graph = quadratic_task(experiment), experiment.topology.graph
    adjacency = np.array(
        [[float(j in graph.in_neighbours(i)) for j in graph.nodes] for i in graph.nodes]
    )
    shares = adjacency / (1.0 + adjacency.sum(axis=0))
    return predicted_bias(
        push_sum(shares, rates(experiment), step="x"), task.curvature, task.optima
    )


@pytest.mark.parametrize("graph", GRAPHS)
def test_with_plain_steps_nodes_count_by_their_rates(graph: str) -> None:
    experiment = law("x", graph)
    assert bias(experiment) == pytest.approx(predicted(experiment), rel=0.15)


@pytest.mark.parametrize("graph", GRAPHS)
@pytest.mark.parametrize("step", ["elapsed", "y"])
def test_steps_by_time_or_by_mass_give_slow_nodes_their_share(step: str, graph: str) -> None:
    experiment = law(step, graph)
    assert bias(experiment) < 0.2 * predicted(experiment)


def test_what_is_lost_on_the_way_biases_nothing() -> None:
    assert bias(law("elapsed", loss=0.2)) < 0.04
    assert bias(law("elapsed", "exponential", loss=0.2)) < 0.04


@pytest.mark.parametrize("directed", [False, True])
def test_every_bit_of_mass_is_at_a_node_or_on_a_link(directed: bool) -> None:  # noqa: FBT001 - a parameter
    experiment = quadratic_experiment(
        algorithm={"kind": "push_sum"},
        network={"loss": 0.2, "duplication": 0.1, "reorder": 0.3},
        training={"learning_rate": 0.01},
        time_s=155.5,
    )
    if directed:
        graph = TopologyConfig(kind="exponential", nodes=16, directed=True, weights="uniform")
        experiment = experiment.replace(topology=graph)
    world, _ = simulated(experiment)
    states = {name: one.node.state for name, one in world.inhabitants.items()}
    held = sum(int(state.mass[-1]) for state in states.values())
    away = 0
    for name, state in states.items():
        for hearer, link in state.out.items():
            came = states[hearer].into.get(name)
            known = no_sums(link.sums.size) if came is None else came.sums
            lag = difference(link.sums, known)
            away += int(in_own_steps(lag)[-1])
    assert away > 0
    assert held + away == 16 << 40


def crashed(algorithm: dict[str, object]) -> Experiment:
    return quadratic_experiment(
        slow=0,
        algorithm={"kind": "push_sum", **algorithm},
        topology={"kind": "circulant", "nodes": 16, "offsets": [1, 2]},
        data={"sites": [4.0, 0.0, 0.0, 0.0]},
        training={"learning_rate": 0.02},
        faults={"crash": [{"node": f"n{i}", "at_s": 40.0} for i in DEAD]},
        time_s=250.0,
    )


def test_the_dead_keep_what_they_hold_and_no_more() -> None:
    """With a window, each of their links swallows one push; without, half of all mass is gone."""
    held = []
    for window in (1, 0):
        experiment = crashed({"window": window})
        world, result = simulated(experiment)
        task = quadratic_task(experiment)
        x = models(result.public, experiment)
        assert survivors_error(x, task.curvature, task.optima, dead=DEAD) < 0.05
        alive = [one.node.state for one in world.inhabitants.values() if one.alive]
        held.append(sum(int(state.mass[-1]) for state in alive) / (12 << 40))
    assert held[0] > 0.8
    assert held[1] < 0.6


def test_a_fast_node_without_a_window_gives_its_mass_away() -> None:
    experiment = quadratic_experiment(
        algorithm={"kind": "push_sum", "step": "x"},
        training={"learning_rate": 0.005},
        time_s=200.0,
    )
    least = {}
    for window in (1, 0):
        chosen = replace(experiment.config.algorithm, window=window)
        world, _ = simulated(experiment.replace(algorithm=chosen))
        masses = [int(one.node.state.mass[-1]) for one in world.inhabitants.values()]
        least[window] = min(masses) / (1 << 40)
    assert least[1] > 2.0 * least[0]


def test_one_who_comes_back_takes_part_again() -> None:
    experiment = quadratic_experiment(
        nodes=8,
        slow=0,
        algorithm={"kind": "push_sum"},
        data={"sites": [4.0, 0.0, 0.0, 0.0]},
        training={"learning_rate": 0.02},
        faults={"crash": [{"node": "n0", "at_s": 40.0, "restart_s": 80.0}]},
        time_s=300.0,
    ).replace(topology=GRAPHS["circulant"])
    assert bias(experiment) < 0.05
