"""A made-up run, for tests of what is written, compared and shown of runs."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
import pytest

from p2pfl.config.schema import (
    AlgorithmConfig,
    ComputeConfig,
    DataConfig,
    ExperimentConfig,
    ModelConfig,
    StopConfig,
    TopologyConfig,
    TrainingConfig,
)
from p2pfl.results.record import NetworkSample, NodeSample, NodeTotals, RunResult
from p2pfl.types import NodeId

MakeResult = Callable[..., RunResult]

CONFIG = ExperimentConfig(
    name="made-up",
    topology=TopologyConfig(kind="ring", nodes=3),
    data=DataConfig(kind="digits"),
    model=ModelConfig(kind="mlp"),
    training=TrainingConfig(learning_rate=0.1, local_steps=1),
    stop=StopConfig(time_s=2.0),
    compute=ComputeConfig(slowdown={"n2": 4.0}),
)

NODES = (NodeId("n0"), NodeId("n1"), NodeId("n2"))
RING = ((NODES[0], NODES[1]), (NODES[1], NODES[2]), (NODES[0], NODES[2]))


def _sample(node: NodeId, at_s: float, accuracy: float | None) -> NodeSample:
    return NodeSample(
        at_s=at_s,
        node=node,
        version=int(at_s),
        steps=int(10 * at_s),
        loss=2.0 - at_s / 2,
        accuracy=accuracy,
        per_class=() if accuracy is None else (accuracy, 1.0),
        staleness_max=0.5,
        out_bytes=int(100 * at_s),
        in_bytes=int(200 * at_s),
    )


def _point(at_s: float, accuracy: float | None, busiest: int) -> NetworkSample:
    return NetworkSample(
        at_s=at_s,
        accuracy_mean=accuracy,
        accuracy_worst=None if accuracy is None else accuracy - 0.05,
        accuracy_average_model=accuracy,
        loss_mean=2.0 - at_s / 2,
        consensus_distance=0.1 * at_s,
        steps=int(30 * at_s),
        bytes_total=int(900 * at_s),
        bytes_busiest=int(busiest * at_s),
    )


def _totals(node: NodeId) -> NodeTotals:
    return NodeTotals(
        node=node,
        versions=20,
        steps=20,
        samples=320,
        mixes=40,
        staleness_max=0.5,
        staleness_mean=0.1,
        age_max_s=1.0,
        left_out=0,
        out_bytes=200,
        in_bytes=400,
        fan_out_bytes=400,
        control_bytes=10,
        out_messages=20,
        in_messages=40,
    )


@pytest.fixture
def make_result() -> MakeResult:
    """A run of three nodes on a ring with evaluations at 0, 1 and 2 seconds."""

    def make(
        *,
        label: str = "PullMix",
        kind: Literal["pull_mix", "fedavg", "local"] = "pull_mix",
        accuracies: Sequence[float | None] = (0.1, 0.5, 0.9),
        busiest: int = 300,
        **parts: object,
    ) -> RunResult:
        result = RunResult(
            name="made-up",
            label=label,
            driver="simulation",
            seed=0,
            config=replace(CONFIG, algorithm=AlgorithmConfig(kind=kind)),
            dimension=4,
            duration_s=2.0,
            wall_s=0.25,
            staleness_bound=3.0,
            staleness_unit="periods missed",
            curve=tuple(_point(float(i), a, busiest) for i, a in enumerate(accuracies)),
            samples=tuple(
                _sample(node, float(i), a) for i, a in enumerate(accuracies) for node in NODES
            ),
            nodes=tuple(map(_totals, NODES)),
            edges=RING,
            served={
                node: np.arange(4, dtype=np.float32) + place for place, node in enumerate(NODES)
            },
            trace_hash="abc",
        )
        return replace(result, **parts)  # type: ignore[arg-type]  # a test names the parts of a run that it changes

    return make
