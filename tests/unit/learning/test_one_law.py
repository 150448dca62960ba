"""Loop, batched and quadratic trainer step by one law, which is PyTorch's."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from p2pfl.learning.batched_trainer import BatchedTrainer
from p2pfl.learning.dataset import dataset_from_arrays
from p2pfl.learning.loop_trainer import LoopTrainer
from p2pfl.learning.models import seeded
from p2pfl.learning.partitions import Iid
from p2pfl.learning.quadratics import QuadraticTask, QuadraticTrainer
from p2pfl.learning.task import Task, task_from_dataset
from p2pfl.learning.trainer import Trainer, TrainJob
from p2pfl.learning_rate import LearningRate
from p2pfl.types import NodeId, Vector

A, B = NODES = [NodeId("a"), NodeId("b")]
D = 8
RATES = {
    "constant": LearningRate(base=0.05),
    "warm-up": LearningRate(base=0.05, warmup=5),
    "steps": LearningRate(base=0.05, schedule="step", decay_at=(4, 7), decay=0.3),
    "cosine": LearningRate(base=0.05, schedule="cosine", warmup=2, length=12, floor=0.01),
    "linear": LearningRate(base=0.05, schedule="linear", length=9),
}
Law = dict[str, Any]
LAWS: dict[str, Law] = {
    "sgd": {},
    "momentum": {"momentum": 0.9, "weight_decay": 0.05},
    "clipped": {"clip_norm": 0.5},
    "clipped with momentum": {"clip_norm": 0.5, "momentum": 0.9, "weight_decay": 0.05},
}
ADAMW: Law = {"optimizer": "adamw", "weight_decay": 0.1, "eps": 1e-3}


def quadratic(**law: Any) -> QuadraticTask:  # noqa: ANN401 - fields of the task
    rng = np.random.default_rng(0)
    return QuadraticTask(
        nodes=(A,),
        curvature=rng.uniform(1.0, 4.0, (1, D)),
        optima=rng.normal(0.0, 1.0, (1, D)),
        start=np.zeros(D),
        **{"learning_rate": RATES["constant"], **law},
    )


def regression(task: QuadraticTask, **law: Any) -> Task:  # noqa: ANN401 - fields of the task
    """The same objective as a linear model of as many samples, all of them in each batch.

    Sample k is c_k e_k with the label c_k b_k, and c_k^2 = a_k d / 2.
    """
    c = np.sqrt(task.curvature[0] * D / 2.0)
    x, y = np.diag(c), c * task.optima[0]
    made = task_from_dataset(
        dataset_from_arrays("same", x, y, test_x=x, test_y=y),
        nodes=(A,),
        seed=0,
        model="softmax",
        batch_size=D,
        partition=Iid(),
        **{"learning_rate": task.learning_rate, **law},
    )
    return replace(made, make_model=lambda: seeded(lambda: nn.Linear(D, 1, bias=False), 0))


def job(*, steps: int = 6, first_step: int = 2, terms: bool = True) -> TrainJob:
    rng = np.random.default_rng(1)
    start, correction = rng.normal(0.0, 1.0, (2, D)).astype(np.float32)
    return TrainJob(
        A,
        start,
        first_step,
        steps,
        None,
        correction=correction if terms else None,
        proximal=0.7 if terms else 0.0,
    )


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("terms", [False, True], ids=["plain", "with terms"])
def test_three_trainers_take_the_same_steps(law: str, rate: str, *, terms: bool) -> None:
    task = quadratic(learning_rate=RATES[rate], **LAWS[law])
    same = regression(task, **LAWS[law])
    trainers: list[Trainer] = [LoopTrainer(same), BatchedTrainer(same)]
    todo = job(terms=terms)
    (wanted,) = QuadraticTrainer(task).train([todo])
    for trainer in trainers:
        (found,) = trainer.train([todo])
        away = np.linalg.norm(found.vector - wanted.vector)
        assert away <= 1e-5 * np.linalg.norm(wanted.vector - todo.start)
        assert found.loss == pytest.approx(wanted.loss, rel=1e-5)


def torchs(task: Task, todo: TrainJob) -> Vector:
    """The job done by PyTorch's own optimizer, scheduler and clipping."""
    model = nn.Linear(D, 1, bias=False)
    model.weight.data = torch.from_numpy(todo.start[None].copy())
    if task.optimizer == "adamw":
        optimizer: torch.optim.Optimizer = torch.optim.AdamW(
            model.parameters(),
            lr=task.learning_rate.base,
            betas=task.betas,
            eps=task.eps,
            weight_decay=task.weight_decay,
        )
    else:
        optimizer = torch.optim.SGD(
            model.parameters(),
            lr=task.learning_rate.base,
            momentum=task.momentum,
            weight_decay=task.weight_decay,
        )
    x, y = torch.from_numpy(task.train_x), torch.from_numpy(task.train_y)
    for step in range(todo.first_step, todo.first_step + todo.steps):
        optimizer.param_groups[0]["lr"] = task.learning_rate.at(step)
        optimizer.zero_grad()
        nn.functional.mse_loss(model(x).reshape(-1), y).backward()  # type: ignore[no-untyped-call] # torch ships it unannotated
        if task.clip_norm is not None:
            nn.utils.clip_grad_norm_(model.parameters(), task.clip_norm)
        assert model.weight.grad is not None
        if todo.correction is not None:
            model.weight.grad += torch.from_numpy(todo.correction)
        model.weight.grad += todo.proximal * (
            model.weight.detach() - torch.from_numpy(todo.start.copy())
        )
        optimizer.step()
    trained: Vector = model.weight.detach().numpy()[0]
    return trained


@pytest.mark.parametrize("law", [*LAWS.values(), ADAMW, {**ADAMW, "clip_norm": 0.5}], ids=str)
@pytest.mark.parametrize("terms", [False, True], ids=["plain", "with terms"])
def test_the_law_is_that_of_pytorch(law: Law, *, terms: bool) -> None:
    task = regression(quadratic(learning_rate=RATES["cosine"]), **law)
    todo = job(terms=terms)
    wanted = torchs(task, todo)
    trainers: list[Trainer] = [LoopTrainer(task), BatchedTrainer(task)]
    for trainer in trainers:
        found = trainer.train([todo])[0].vector
        assert np.linalg.norm(found - wanted) <= 1e-5 * np.linalg.norm(wanted - todo.start)


def test_two_steps_by_hand() -> None:
    """1/2 a (x - b)^2 with a = 2, b = 1 from x = 4: a gradient of 6, clipped to 3; then 2 more."""
    task = QuadraticTask(
        nodes=(A,),
        curvature=np.array([[2.0]]),
        optima=np.array([[1.0]]),
        start=np.array([4.0]),
        learning_rate=LearningRate(base=0.5, schedule="step", decay_at=(1,), decay=0.1),
        clip_norm=3.0,
    )
    start = np.array([4.0], np.float32)
    trainer = QuadraticTrainer(task)
    plain = trainer.train([TrainJob(A, start, 0, 2, None)])[0]
    assert plain.vector == pytest.approx([4.0 - 0.5 * 3.0 - 0.05 * 3.0], rel=1e-5)
    pulled = trainer.train([TrainJob(A, start, 0, 2, None, proximal=4.0)])[0]
    assert pulled.vector == pytest.approx([2.5 - 0.05 * (3.0 - 4.0 * 1.5)], rel=1e-5)
    corrected = TrainJob(A, start, 0, 1, None, correction=np.array([-6.0], np.float32))
    assert trainer.train([corrected])[0].vector == pytest.approx([4.0 + 0.5 * 3.0], rel=1e-5)
    assert plain.loss == pytest.approx(0.5 * (9.0 + 2.25)), "the loss is that of the data alone"
    assert pulled.loss == plain.loss


@pytest.mark.parametrize("rate", RATES)
def test_plain_sgds_update_over_the_step_sizes_is_the_mean_gradient(rate: str) -> None:
    """What SCAFFOLD and gradient tracking read out of an update."""
    task = quadratic(learning_rate=RATES[rate])
    trainer = QuadraticTrainer(task)
    todo = job(terms=False, first_step=1, steps=1)
    (done,) = trainer.train([todo])
    gradient = task.curvature[0] * (todo.start - task.optima[0])
    size = task.learning_rate.step_size_sum(1, 1)
    assert (todo.start - done.vector) / size == pytest.approx(gradient, rel=1e-4, abs=1e-5)
    # Over many steps: the mean of the gradients, each weighed by its step.
    whole = trainer.train([todo._replace(steps=6)])[0].vector
    x, sum_ = todo.start, np.zeros(D)
    for step in range(1, 7):
        (one,) = trainer.train([todo._replace(start=x, first_step=step, steps=1)])
        sum_ += task.learning_rate.at(step) * task.curvature[0] * (x - task.optima[0])
        x = one.vector
    mean = sum_ / task.learning_rate.step_size_sum(1, 6)
    found = (todo.start - whole) / task.learning_rate.step_size_sum(1, 6)
    assert found == pytest.approx(mean, rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("optimizer", [{"momentum": 0.9}, ADAMW], ids=["momentum", "adamw"])
def test_two_jobs_in_a_row_are_one_long_job_under_a_schedule(optimizer: Law) -> None:
    task = regression(quadratic(learning_rate=RATES["cosine"]), clip_norm=0.5, **optimizer)
    for trainer in (LoopTrainer(task), BatchedTrainer(task)):
        todo = job(terms=False, first_step=0, steps=7)
        (whole,) = trainer.train([todo])
        (first,) = trainer.train([todo._replace(steps=3)])
        rest = todo._replace(start=first.vector, first_step=3, steps=4, momentum=first.momentum)
        assert np.array_equal(trainer.train([rest])[0].vector, whole.vector)
