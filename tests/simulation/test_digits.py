"""On the digits: whose classes survive when half of the nodes are slow."""

from functools import cache

import numpy as np
import pytest

from p2pfl.config.load import config_from_mapping
from p2pfl.experiment import Experiment
from p2pfl.results.record import RunResult
from p2pfl.simulation.simulate import simulate

SLOW_CLASSES = slice(0, 5)


@cache
def run(policy: str) -> RunResult:
    """Ten nodes with one digit each; those of 0 to 4 are five times slower."""
    staleness = {"metric": "lag", "bound": 4.0} if policy == "lag" else {}
    table = {
        "name": "slow-classes",
        "topology": {"kind": "circulant", "nodes": 10, "offsets": [1, 2, 4]},
        "data": "support.one_digit_each:load",
        "partition": {"kind": "natural_id"},
        "model": {"kind": "mlp", "hidden": [32]},
        "training": {"learning_rate": 0.1, "local_steps": 1},
        "compute": {"step_s": 1.0, "slowdown": {f"n{i}": 5.0 for i in range(5)}},
        "network": {"latency_s": 0.1},
        "staleness": staleness,
        "stop": {"time_s": 600.0},
        "evaluation": {"every_s": 600.0},
    }
    return simulate(Experiment(config_from_mapping(table, source="test")))


def slow_class_accuracy(result: RunResult) -> float:
    final = [s.per_class for s in result.samples if s.at_s == result.duration_s]
    return float(np.mean([per_class[SLOW_CLASSES] for per_class in final]))


def test_slow_nodes_classes_survive_under_pull_mix() -> None:
    assert slow_class_accuracy(run("liveness")) > 0.8
    assert run("liveness").final.accuracy_mean == pytest.approx(0.9, abs=0.06)


def test_slow_nodes_classes_die_when_models_are_dropped_by_lag() -> None:
    assert slow_class_accuracy(run("lag")) < 0.1
    accuracy = run("lag").final.accuracy_mean
    assert accuracy is not None
    assert accuracy < 0.6
