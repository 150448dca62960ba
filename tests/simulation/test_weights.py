"""Where a network of quadratics ends, by the weights of its objectives and its local steps."""

from typing import Any

import pytest
from support.experiments import models, quadratic_experiment, quadratic_task

from p2pfl.simulation.simulate import simulate
from p2pfl.theory.quadratics import relative_error, weighted_optimum

NODES = 8
HEAVY = {f"n{i}": 3.0 for i in range(4)}
BUSY = {f"n{i}": 4 for i in range(4)}


def error(algorithm: str, towards: list[float], **training: Any) -> float:  # noqa: ANN401 - keys as a user writes them
    """How far the nodes' mean ends from the optimum of the objective with these weights."""
    experiment = quadratic_experiment(
        nodes=NODES,
        slow=4,
        time_s=2000.0 if algorithm == "dpsgd" else 1000.0,
        topology={"kind": "complete", "nodes": NODES},
        algorithm={"kind": algorithm},
        training={"learning_rate": 0.02, **training},
    )
    task = quadratic_task(experiment)
    optimum = weighted_optimum(task.curvature, task.optima, weights=towards)
    end = simulate(experiment)
    found = models(end.public, experiment)
    return relative_error(found, optimum=optimum, optima=task.optima)


@pytest.mark.parametrize("algorithm", ["pull_mix", "dpsgd", "fedavg"])
def test_an_objective_counts_as_much_as_its_weight_says(algorithm: str) -> None:
    wanted = [3.0] * 4 + [1.0] * 4
    assert error(algorithm, wanted, weights=HEAVY) < 1e-3
    assert error(algorithm, [1.0] * 8, weights=HEAVY) > 0.3


@pytest.mark.parametrize("algorithm", ["pull_mix", "dpsgd"])
def test_more_local_steps_count_as_more_weight_unless_weights_are_said(algorithm: str) -> None:
    """The objective inconsistency of Wang et al., 2020, and its cure."""
    by_steps = [4.0] * 4 + [1.0] * 4
    assert error(algorithm, by_steps, local_steps_of=BUSY) < 0.05
    assert error(algorithm, [1.0] * 8, local_steps_of=BUSY) > 0.3
    assert error(algorithm, [1.0] * 8, local_steps_of=BUSY, weighting="uniform") < 0.05
