"""Synchronous algorithms are their dense-matrix iterations, whatever the network does."""

from collections.abc import Callable
from functools import cache, partial
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import textbook
from support.experiments import (
    SYNCHRONOUS,
    mixing_matrix,
    models,
    quadratic_experiment,
    quadratic_task,
)

from p2pfl.experiment import Experiment
from p2pfl.learning.trainer import TrainJob
from p2pfl.simulation.simulate import simulate

STEPS = 12

ROUGH: dict[str, dict[str, Any]] = {
    "jitter": {"compute": {"distribution": "lognormal", "sigma": 1.0, "slowdown": {"n0": 4.0}}},
    "latency": {"network": {"latency_s": 2.0, "latency": "exponential"}},
    "loss": {"network": {"loss": 0.2}},
    "duplication": {"network": {"duplication": 0.3, "latency_s": 0.5}},
    "reordering": {"network": {"reorder": 0.3, "reorder_s": 3.0}},
    "all": {
        "compute": {"distribution": "lognormal", "sigma": 1.0},
        "network": {"loss": 0.2, "duplication": 0.2, "reorder": 0.2, "reorder_s": 3.0},
    },
}
TEXTBOOK: dict[str, Callable[..., textbook.Models]] = {
    "dpsgd": textbook.dpsgd,
    "local_sgd": textbook.dpsgd,
    "dsgdm": partial(textbook.dsgdm, beta=0.9),
    "d2": textbook.d2,
    "relay_sum": textbook.relay_sum,
    "gradient_tracking": textbook.gradient_tracking,
    # Where all have as many neighbours, pushed shares are the weights, and no mass moves.
    "sgp": textbook.dpsgd,
    "qg_dsgdm": partial(textbook.qg_dsgdm, beta=0.9),
}


def dense_iteration(experiment: Experiment, *, by_update: bool) -> np.ndarray:
    """D-PSGD as a textbook has it: all models in one array, one mixing matrix, ten lines.

    `by_update` adds (trained - start) to the mix, as PullMix writes it; the same up to rounding.
    """
    trainer, weights = experiment.make_trainer(), mixing_matrix(experiment)
    nodes = experiment.learners
    x = [trainer.initial()] * len(nodes)
    for k in range(STEPS):
        pulls = [np.zeros_like(row) for row in x]
        for i, j in np.argwhere(weights):
            if i != j:
                pulls[i] += (x[j] - x[i]) * np.float32(weights[i, j])
        mixed = [a + p for a, p in zip(x, pulls, strict=True)]
        jobs = [TrainJob(n, m, k, 1, None) for n, m in zip(nodes, mixed, strict=True)]
        ends = [outcome.vector for outcome in trainer.train(jobs)]
        moves = [(e - m) + p for e, m, p in zip(ends, mixed, pulls, strict=True)]
        x = [a + u for a, u in zip(x, moves, strict=True)] if by_update else ends
    return np.stack(x)


def synchronous(kind: str, seed: int, **tables: dict[str, Any]) -> Experiment:
    """Six quadratics on a ring; nobody is taken for dead, however long a message takes."""
    base: dict[str, Any] = {
        "algorithm": SYNCHRONOUS.get(kind, {"kind": kind}),
        "stop": {"steps": STEPS, "time_s": 1e6},
        "data": {"noise": 0.3, "sites": [-1.0, 1.0]},
        "staleness": {"liveness_floor_s": 1000.0},
    }
    if kind == "pull_mix":
        base["staleness"] |= {"policy": "wait", "bound": 0.0}
    for name, table in tables.items():
        base[name] = base.get(name, {}) | table
    return quadratic_experiment(nodes=6, slow=2, seed=seed, **base)


@pytest.mark.parametrize("kind", ["dpsgd", "pull_mix"])
@given(
    seed=st.integers(0, 10_000),
    sigma=st.floats(0.0, 2.0),
    latency_s=st.floats(0.0, 3.0),
)
@settings(max_examples=15, deadline=None)
def test_waiting_for_equal_versions_is_bit_for_bit_the_dense_iteration(
    kind: str, seed: int, sigma: float, latency_s: float
) -> None:
    experiment = synchronous(
        kind,
        seed,
        compute={"distribution": "lognormal", "sigma": sigma, "slowdown": {"n0": 5.0, "n1": 3.0}},
        network={"latency_s": latency_s},
    )
    result = simulate(experiment)
    want = dense_iteration(experiment, by_update=kind == "pull_mix")
    assert np.array_equal(models(result.public, experiment), want)
    assert result.staleness_max == 0.0
    assert {n.steps for n in result.nodes} == {STEPS}


@pytest.mark.parametrize("seed", range(5))
def test_lost_versions_are_asked_for_again_and_nothing_changes(seed: int) -> None:
    experiment = synchronous("dpsgd", seed, network={"loss": 0.2})
    result = simulate(experiment)
    assert np.array_equal(
        models(result.public, experiment), dense_iteration(experiment, by_update=False)
    )


@cache
def calm(kind: str) -> np.ndarray:
    """Where the nodes end in a network without faults."""
    experiment = synchronous(kind, 1)
    return models(simulate(experiment).public, experiment)


@pytest.mark.parametrize("rough", ROUGH.values(), ids=ROUGH)
@pytest.mark.parametrize("kind", SYNCHRONOUS)
def test_no_network_changes_a_bit(kind: str, rough: dict[str, dict[str, Any]]) -> None:
    experiment = synchronous(kind, 1, **rough)
    assert np.array_equal(models(simulate(experiment).public, experiment), calm(kind))


@pytest.mark.parametrize("kind", SYNCHRONOUS)
def test_a_synchronous_rule_is_what_its_paper_says(kind: str) -> None:
    experiment = synchronous(kind, 3, data={"noise": 0.0})
    task = quadratic_task(experiment)
    x = TEXTBOOK[kind](
        mixing_matrix(experiment),
        lambda x: task.curvature * (x - task.optima),
        np.zeros_like(task.optima),
        rate=0.05,
        rounds=STEPS,
    )
    np.testing.assert_allclose(models(simulate(experiment).public, experiment), x, atol=1e-5)


def test_the_dense_iteration_is_the_matrix_form_up_to_rounding() -> None:
    experiment = synchronous("dpsgd", 3, data={"noise": 0.0})
    trainer, weights = experiment.make_trainer(), mixing_matrix(experiment)
    task = trainer.task  # type: ignore[attr-defined]  # quadratics show their objectives
    x = np.zeros((6, 10))
    for _ in range(STEPS):
        m = weights @ x
        x = m - 0.05 * task.curvature * (m - task.optima)
    np.testing.assert_allclose(dense_iteration(experiment, by_update=False), x, atol=1e-5)
