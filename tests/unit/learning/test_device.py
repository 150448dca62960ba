"""Where torch computes. "cpu:0" is the CPU too, reached by the ways of any other device."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from p2pfl.config.load import config_from_mapping
from p2pfl.errors import ConfigError
from p2pfl.experiment import Experiment
from p2pfl.learning.devices import best_device
from p2pfl.learning.loop_trainer import LoopTrainer
from p2pfl.learning.task import Task, build_task
from p2pfl.learning.trainer import TrainJob
from p2pfl.types import NodeId

NODE = NodeId("n0")


def make_model() -> nn.Module:
    """Draws, and has buffers of floats and of integers."""
    inner = [nn.Linear(64, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 10)]
    return nn.Sequential(nn.Flatten(), *inner)


def task(**changes: Any) -> Task:  # noqa: ANN401 - many kinds
    arguments: dict[str, Any] = {
        "nodes": [NODE],
        "seed": 3,
        "data": "digits",
        "model": f"{__name__}:make_model",
        "learning_rate": 0.1,
        **changes,
    }
    return build_task(**arguments)


@pytest.mark.parametrize("found", ["cuda", "cpu"])
def test_auto_is_cuda_where_it_is_and_else_the_cpu(
    monkeypatch: pytest.MonkeyPatch, found: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: found == "cuda")
    assert best_device("auto") == found
    assert best_device("cuda:1") == "cuda:1"


@pytest.mark.parametrize(
    "changes",
    [{}, {"momentum": 0.9}, {"optimizer": "adamw", "weight_decay": 0.1}, {"clip_norm": 0.1}],
)
def test_on_a_device_of_its_own_a_node_learns_the_same(changes: dict[str, Any]) -> None:
    here, there = LoopTrainer(task(**changes)), LoopTrainer(task(**changes), device="cpu:0")
    assert np.array_equal(here.initial(), there.initial())
    plain = TrainJob(NODE, here.initial(), 2, 3, None)
    first = here.train([plain])[0]
    added = np.full(here.dimension, 0.01, np.float32)
    for job in (
        plain,
        TrainJob(NODE, first.vector, 5, 2, first.momentum, correction=added, proximal=0.1),
    ):
        one, other = here.train([job])[0], there.train([job])[0]
        assert np.array_equal(one.vector, other.vector)
        assert one.loss == other.loss
        assert (one.momentum is None) == (other.momentum is None)
        if one.momentum is not None and other.momentum is not None:
            assert np.array_equal(one.momentum, other.momentum)
        assert not other.vector.flags.writeable
    scores = [t.evaluate([first.vector], [NODE])[0] for t in (here, there)]
    assert scores[0] == scores[1]


def test_a_node_computes_where_its_machine_says() -> None:
    table = {
        "name": "small",
        "topology": {"kind": "ring", "nodes": 3},
        "data": "digits",
        "model": "mlp",
        "training": {"learning_rate": 0.1, "local_steps": 2},
        "runtime": {"device": "nowhere"},
        "stop": {"steps": 4},
    }
    experiment = Experiment(config_from_mapping(table, source="test"))
    with pytest.raises(ConfigError, match="device is 'nowhere', which this machine does not offer"):
        experiment.make_trainer(only=[NODE])
    # The simulator has its own word.
    assert experiment.make_trainer().dimension == 2410
