"""Two halves of MNIST, in short: apart they learn what one model learns from all."""

from functools import cache
from pathlib import Path

import pytest

from p2pfl.config.load import config_from_mapping
from p2pfl.errors import DataError
from p2pfl.experiment import Experiment
from p2pfl.learning.datasets import load_dataset
from p2pfl.simulation.simulate import simulate


@cache
def mnist_is_there() -> bool:
    try:
        load_dataset("mnist", folder=str(Path("../shared/data/mnist")))
    except DataError:
        return False
    return True


def accuracy(kind: str) -> float:
    """A small multilayer perceptron, two epochs over 12,000 images."""
    table = {
        "name": "mnist-short",
        "topology": {"kind": "path", "nodes": 2},
        "data": {"kind": "mnist", "folder": "../shared/data/mnist", "samples": 12000},
        "partition": {"kind": "halves"},
        "model": {"kind": "mlp", "hidden": [64]},
        "training": {"learning_rate": 0.1, "batch_size": 20, "local_steps": 50},
        "algorithm": {"kind": kind},
        "stop": {"steps": 600},
        "evaluation": {"every_s": 1000.0},
    }
    final = simulate(Experiment(config_from_mapping(table, source="test"))).final
    assert final.accuracy_mean is not None
    return final.accuracy_mean


def test_two_halves_apart_are_as_good_as_one_whole() -> None:
    if not mnist_is_there():
        pytest.skip("no MNIST folder")
    apart, whole, alone = (accuracy(kind) for kind in ("pull_mix", "centralized", "local"))
    assert apart > 0.9
    assert apart > whole - 0.015
    assert apart > alone
