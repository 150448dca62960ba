"""Models trained where they lie end where jobs would have brought them, bit for bit."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from p2pfl.learning.batched_trainer import BatchedTrainer
from p2pfl.learning.dataset import dataset_from_arrays
from p2pfl.learning.loop_trainer import LoopTrainer
from p2pfl.learning.partitions import Iid
from p2pfl.learning.row_training import RowTraining
from p2pfl.learning.task import Task, task_from_dataset
from p2pfl.learning.threads import spread_over_threads
from p2pfl.learning.trainer import RowTrainer, Trainer, TrainJob
from p2pfl.learning_rate import LearningRate
from p2pfl.types import NodeId, Rows, Vector, aligned_rows

NODES = [NodeId(f"n{i}") for i in range(7)]


def task(model: str = "mlp", **changes: Any) -> Task:  # noqa: ANN401 - keywords of the task
    rng = np.random.default_rng(0)
    x, labels = rng.random((210, 1, 5, 6)).astype(np.float32), np.arange(210) % 3
    data = dataset_from_arrays("own", x, labels, test_x=x[:20], test_y=labels[:20])
    arguments: dict[str, Any] = {
        "nodes": NODES,
        "seed": 0,
        "model": model,
        "learning_rate": 0.05,
        "batch_size": 4,
        "partition": Iid(),
        "hidden": (8,),
        **changes,
    }
    return task_from_dataset(data, **arguments)


def convolution() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 3, 3), nn.Flatten(), nn.Linear(36, 3))


def dropout() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(30, 3))


def by_jobs(
    trainer: Trainer, start: Rows, rounds: list[list[int]], steps: int, correction: Rows | None
) -> Rows:
    """What `RowTraining` promises, said with jobs."""
    rows = start.copy()
    momentum: dict[int, Vector | None] = {}
    for version, which in enumerate(rounds):
        jobs = [
            TrainJob(
                NODES[i],
                rows[i].copy(),
                version * steps,
                steps,
                momentum.get(i),
                None if correction is None else correction[i],
            )
            for i in which
        ]
        for i, outcome in zip(which, trainer.train(jobs), strict=True):
            rows[i], momentum[i] = outcome.vector, outcome.momentum
    return rows


@pytest.mark.parametrize(("steps", "corrected"), [(1, False), (3, True), (70, False)])
@pytest.mark.parametrize(
    ("changes", "model"),
    [
        ({}, None),
        ({"momentum": 0.9, "clip_norm": 0.3}, None),
        ({"optimizer": "adamw", "learning_rate": 0.003}, None),
        ({"learning_rate": LearningRate(base=0.05, schedule="cosine", length=9)}, None),
        ({}, convolution),
        ({"momentum": 0.9}, convolution),
        ({"momentum": 0.9}, dropout),
    ],
    ids=["sgd", "momentum", "adamw", "schedule", "traced", "traced momentum", "one at a time"],
)
def test_rows_end_where_jobs_do(
    changes: dict[str, Any], model: Callable[[], nn.Module] | None, steps: int, *, corrected: bool
) -> None:
    made = task(**changes) if model is None else replace(task("cnn", **changes), make_model=model)
    trainer = BatchedTrainer(made)
    rng = np.random.default_rng(1)
    start = trainer.initial() + rng.normal(0, 0.02, (7, trainer.dimension)).astype(np.float32)
    correction = rng.normal(0, 0.1, start.shape).astype(np.float32) if corrected else None
    everybody = [*range(7)]
    rounds = [everybody, everybody, [0, 2, 3, 6], [2, 6]]
    rows, training = start.copy(), RowTraining(trainer, NODES, [steps] * 7)
    for version, which in enumerate(rounds):
        losses = training.train(rows, np.array(which), version, correction)
        assert losses.shape == (len(which),)
        assert (losses > 0.0).all()
    wanted = by_jobs(trainer, start, rounds, steps, correction)
    assert np.array_equal(rows, wanted)


def test_unequal_steps_and_other_trainers_go_by_jobs() -> None:
    loop = LoopTrainer(task())
    assert not isinstance(loop, RowTrainer)
    rows = np.tile(loop.initial(), (7, 1))
    losses = RowTraining(loop, NODES, [1, 2, 3, 1, 2, 3, 1]).train(rows, np.arange(7), 2)
    for i, (node, steps) in enumerate(zip(NODES, [1, 2, 3, 1, 2, 3, 1], strict=True)):
        alone = loop.train([TrainJob(node, loop.initial(), 2 * steps, steps, None)])[0]
        assert np.array_equal(rows[i], alone.vector)
        assert losses[i] == alone.loss


def test_many_rows_go_in_the_batches_that_jobs_go_in(monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = BatchedTrainer(task())
    monkeypatch.setattr(trainer, "_rows", 3)
    start = np.tile(trainer.initial(), (7, 1))
    rows = start.copy()
    RowTraining(trainer, NODES, [2] * 7).train(rows, np.arange(7), 0)
    assert np.array_equal(rows, by_jobs(trainer, start, [[*range(7)]], 2, None))


@pytest.mark.parametrize("model", [None, convolution])
def test_threads_change_no_bit(
    model: Callable[[], nn.Module] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = task(momentum=0.9)
    if model is not None:
        made = replace(task("cnn", momentum=0.9), make_model=model)
    found = []
    before = torch.get_num_threads()
    for threads in (1, 3):
        trainer = BatchedTrainer(made)
        monkeypatch.setattr(trainer, "_rows", 2)
        rows = aligned_rows(7, trainer.dimension)
        rows[:] = trainer.initial()
        training = RowTraining(trainer, NODES, [2] * 7)
        try:
            torch.set_num_threads(threads)
            with training.spreading() as spread:
                assert spread.parts == threads
                assert torch.get_num_threads() == 1
                for version in range(3):
                    training.train(rows, np.arange(7), version)
            assert torch.get_num_threads() == threads
        finally:
            torch.set_num_threads(before)
        found.append(rows)
    assert np.array_equal(found[0], found[1])


def test_what_goes_wrong_in_a_thread_goes_wrong_outside() -> None:
    def fail(part: int) -> None:
        assert part == 0, "the second part"

    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with spread_over_threads() as spread, pytest.raises(AssertionError, match="second part"):
            spread.run(fail)
    finally:
        torch.set_num_threads(before)
