import threading
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.trainers import gradient_of
from torch import nn

from p2pfl.errors import ConfigError
from p2pfl.learning.batched_trainer import BatchedTrainer
from p2pfl.learning.dataset import Dataset, dataset_from_arrays
from p2pfl.learning.loop_trainer import LoopTrainer
from p2pfl.learning.models import seeded
from p2pfl.learning.partitions import Iid, Linear, NaturalId
from p2pfl.learning.stacked_layers import StackedLayers
from p2pfl.learning.stacked_model import PlainGradient, TracedGradient
from p2pfl.learning.task import Task, task_from_dataset
from p2pfl.learning.trainer import TrainJob, TrainOutcome
from p2pfl.learning_rate import LearningRate
from p2pfl.types import NodeId, Vector

NODES = [NodeId(f"n{i}") for i in range(20)]
TOLERANCE = 1e-5


def images(*, pixels: bool = False) -> Dataset:
    x = np.random.default_rng(0).integers(0, 256, (420, 1, 6, 5), np.uint8)
    labels = np.arange(420) % 3
    return dataset_from_arrays(
        "own",
        x if pixels else x / 255.0,
        labels,
        test_x=(x if pixels else x / 255.0)[:50],
        test_y=labels[:50],
    )


def make(model: str = "mlp", *, dataset: Dataset | None = None, **changes: object) -> Task:
    arguments: dict[str, object] = {
        "nodes": NODES,
        "seed": 0,
        "model": model,
        "learning_rate": 0.05,
        "batch_size": 4,
        "partition": Linear(),
        "hidden": (8, 6),
        **changes,
    }
    return task_from_dataset(dataset or images(), **arguments)  # type: ignore[arg-type] # checked by running


def own(module: Callable[[], nn.Module], **changes: object) -> Task:
    return replace(make("cnn", dataset=None, **changes), make_model=lambda: seeded(module, 0))


def small_cnn() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 3, 3), nn.GroupNorm(1, 3), nn.Tanh(), nn.Flatten(), nn.Linear(36, 3)
    )


def jobs(
    trainer: LoopTrainer | BatchedTrainer,
    width: int,
    *,
    steps: int = 3,
    uneven: bool = False,
    corrected: bool = False,
    first: int = 0,
) -> list[TrainJob]:
    """Jobs that start from different places; some with corrections and proximal terms."""
    rng = np.random.default_rng(width)
    x0 = trainer.initial()
    found = []
    for i in range(width):
        start = x0 + rng.normal(0.0, 0.02, len(x0)).astype(np.float32)
        correction = rng.normal(0.0, 0.1, len(x0)).astype(np.float32)
        found.append(
            TrainJob(
                node=NODES[i % len(NODES)],
                start=start,
                first_step=first + i,
                steps=1 + (steps + i) % 5 if uneven else steps,
                momentum=None,
                correction=correction if corrected and i >= width // 2 else None,
                proximal=0.5 if corrected and i % 2 else 0.0,
            )
        )
    return found


def assert_agree(
    found: list[TrainOutcome], wanted: list[TrainOutcome], todo: list[TrainJob]
) -> None:
    for one, other, job in zip(found, wanted, todo, strict=True):
        moved = np.linalg.norm(other.vector - job.start)
        assert np.linalg.norm(one.vector - other.vector) <= TOLERANCE * moved
        assert one.loss == pytest.approx(other.loss, rel=TOLERANCE)
        assert (one.momentum is None) == (other.momentum is None)
        if one.momentum is not None and other.momentum is not None:
            scale = np.linalg.norm(other.momentum)
            assert np.linalg.norm(one.momentum - other.momentum) <= TOLERANCE * scale


COSINE = LearningRate(base=0.05, schedule="cosine", warmup=2, length=80)
OPTIMIZERS: list[dict[str, object]] = [
    {},
    {"momentum": 0.9, "weight_decay": 0.01},
    {"optimizer": "adamw", "learning_rate": 0.003, "weight_decay": 0.1, "eps": 1e-4},
    {"momentum": 0.9, "clip_norm": 0.3, "learning_rate": COSINE},
    {"optimizer": "adamw", "eps": 1e-4, "learning_rate": COSINE, "weight_decay": 0.1},
]
MODELS: dict[str, tuple[Callable[..., Task], type]] = {
    "softmax": (lambda **c: make("softmax", **c), StackedLayers),
    "mlp": (lambda **c: make("mlp", **c), StackedLayers),
    "pixels": (lambda **c: make("mlp", dataset=images(pixels=True), **c), StackedLayers),
    "mlp with flatten": (
        lambda **c: own(
            lambda: nn.Sequential(
                nn.Flatten(), nn.Linear(30, 7, bias=False), nn.ReLU(), nn.Linear(7, 3)
            ),
            **c,
        ),
        StackedLayers,
    ),
    "cnn": (lambda **c: own(small_cnn, **c), TracedGradient),
    "frozen": (
        lambda **c: own(
            lambda: nn.Sequential(
                nn.Flatten(), nn.Linear(30, 7).requires_grad_(requires_grad=False), nn.Linear(7, 3)
            ),
            **c,
        ),
        TracedGradient,
    ),
}


@pytest.mark.parametrize(
    "optimizer", OPTIMIZERS, ids=["sgd", "momentum", "adamw", "clipped", "decayed"]
)
@pytest.mark.parametrize("model", MODELS)
def test_many_at_once_are_what_each_would_be_alone(
    model: str, optimizer: dict[str, object]
) -> None:
    build, path = MODELS[model]
    task = build(**optimizer)
    loop, batched = LoopTrainer(task), BatchedTrainer(task)
    assert type(gradient_of(batched)) is path, batched.notes
    assert batched.notes == ()
    for width in (1, 3, 17):
        for uneven, corrected in ((False, False), (True, True)):
            todo = jobs(batched, width, uneven=uneven, corrected=corrected)
            wanted = loop.train(todo)
            assert_agree(batched.train(todo), wanted, todo)
            rest = [
                job._replace(start=done.vector, momentum=done.momentum, first_step=30)
                for job, done in zip(todo, wanted, strict=True)
            ]
            assert_agree(batched.train(rest), loop.train(rest), rest)


TASK = make("mlp", momentum=0.5)
LOOP, BATCHED = LoopTrainer(TASK), BatchedTrainer(TASK)


@settings(max_examples=30, deadline=None)
@given(
    width=st.integers(1, 40),
    steps=st.integers(1, 6),
    first=st.integers(0, 300),
    uneven=st.booleans(),
    corrected=st.booleans(),
    rows=st.sampled_from([1, 4, 16, 64]),
)
def test_whatever_shares_a_batch_each_job_is_its_own(
    *, width: int, steps: int, first: int, uneven: bool, corrected: bool, rows: int
) -> None:
    BATCHED._rows = rows
    todo = jobs(BATCHED, width, steps=steps, uneven=uneven, corrected=corrected, first=first)
    assert_agree(BATCHED.train(todo), LOOP.train(todo), todo)


def test_regression_batches_too() -> None:
    rng = np.random.default_rng(0)
    x = rng.random((420, 3))
    for y in (x @ np.array([1.0, -2.0, 0.5]), x[:, :2]):
        dataset = dataset_from_arrays("own", x, y, test_x=x[:9], test_y=y[:9])
        task = make("mlp", dataset=dataset)
        batched, loop = BatchedTrainer(task), LoopTrainer(task)
        assert isinstance(gradient_of(batched), StackedLayers)
        todo = jobs(batched, 5)
        assert_agree(batched.train(todo), loop.train(todo), todo)
        vectors = [job.start for job in todo]
        found, wanted = (t.evaluate(vectors, NODES[:5]) for t in (batched, loop))
        assert [s.loss for s in found] == pytest.approx([s.loss for s in wanted], rel=1e-5)
        assert {s.accuracy for s in found} == {None}


def test_the_same_call_gives_the_same_bits() -> None:
    task = make("mlp")
    first = BatchedTrainer(task)
    todo = jobs(first, 17)
    wanted = [outcome.vector for outcome in first.train(todo)]
    first.train(jobs(first, 9, first=100))
    for trainer in (first, BatchedTrainer(task)):
        found = trainer.train(todo)
        assert all(np.array_equal(a.vector, b) for a, b in zip(found, wanted, strict=True))


def test_results_are_read_only_and_own_their_memory() -> None:
    outcomes = BATCHED.train(jobs(BATCHED, 6))
    for outcome in outcomes:
        for array in (outcome.vector, outcome.momentum):
            assert array is not None
            assert not array.flags.writeable
            assert array.base is None, "a row of a batch would keep the whole batch alive"


def test_jobs_are_left_as_they_were() -> None:
    todo = jobs(BATCHED, 4, corrected=True)
    copies = [job.start.copy() for job in todo]
    for job in todo:
        job.start.flags.writeable = False
    BATCHED.train(todo)
    assert all(np.array_equal(job.start, copy) for job, copy in zip(todo, copies, strict=True))


def test_no_jobs_are_no_work() -> None:
    assert BATCHED.train([]) == []
    assert BATCHED.evaluate([], []) == []


class Stateful(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.out = nn.Linear(30, 3)
        self.seen: torch.Tensor
        self.register_buffer("seen", torch.zeros(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.seen += 1.0
        y: torch.Tensor = self.out(x.flatten(1))
        return y


class Undecided(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.out = nn.Linear(30, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.out(x.flatten(1))
        return y * 2.0 if bool(y.sum() > 0.0) else y


def with_batch_norm() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(30, 3), nn.BatchNorm1d(3))


def with_dropout() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(30, 3))


@pytest.mark.parametrize(
    ("module", "reason"),
    [
        (with_batch_norm, "keeps state while it trains (2.running_mean"),
        (Stateful, "keeps state while it trains (seen)"),
        (with_dropout, "draws random numbers"),
        (Undecided, "data-dependent control flow"),
    ],
)
def test_what_cannot_be_batched_is_looped_and_told_once(
    module: Callable[[], nn.Module], reason: str
) -> None:
    task = own(module)
    batched, loop = BatchedTrainer(task), LoopTrainer(task)
    assert batched.notes[0].startswith("trains one model at a time: ")
    assert reason in batched.notes[0]
    todo = jobs(batched, 3)
    for one, other in zip(batched.train(todo), loop.train(todo), strict=True):
        assert np.array_equal(one.vector, other.vector), "the loop's own bits"
    vectors = [job.start for job in todo]
    found, wanted = (t.evaluate(vectors, NODES[:3]) for t in (batched, loop))
    assert [s.loss for s in found] == pytest.approx([s.loss for s in wanted], rel=1e-5)


def test_finding_out_leaves_the_global_random_state_alone() -> None:
    torch.manual_seed(1)
    wanted = torch.rand(3)
    torch.manual_seed(1)
    BatchedTrainer(own(with_dropout))
    assert torch.equal(torch.rand(3), wanted)


def test_a_gradient_of_very_many_operations_is_not_traced(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("p2pfl.learning.stacked_model._TRACED_MAX", 5)
    task = own(small_cnn)
    batched = BatchedTrainer(task)
    assert isinstance(gradient_of(batched), PlainGradient)
    todo = jobs(batched, 5)
    assert_agree(batched.train(todo), LoopTrainer(task).train(todo), todo)


def test_widths_are_padded_to_few() -> None:
    traced = gradient_of(BatchedTrainer(own(small_cnn)))
    assert isinstance(traced, TracedGradient)
    assert [traced.width(n) for n in (1, 2, 3, 4, 5, 7, 8, 9, 13, 17, 25, 100)] == [
        *(1, 2, 3, 4, 6, 8, 8, 12, 16, 24, 32, 128)
    ]


def test_a_trainer_describes_what_the_loop_describes() -> None:
    assert BATCHED.dimension == LOOP.dimension
    assert BATCHED.schema == LOOP.schema
    assert BATCHED.layout == LOOP.layout
    assert np.array_equal(BATCHED.initial(), LOOP.initial())
    assert [BATCHED.samples(n) for n in NODES] == [LOOP.samples(n) for n in NODES]


def test_a_device_that_is_not_there_is_refused_in_one_line() -> None:
    for name in ("cuda:99", "abacus"):
        with pytest.raises(ConfigError, match=f"device is '{name}'"):
            BatchedTrainer(TASK, device=name)


@pytest.mark.parametrize("model", ["softmax", "mlp", "cnn", "pixels"])
def test_scores_are_those_of_the_loop(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    task = MODELS[model][0]()
    loop, batched = LoopTrainer(task), BatchedTrainer(task)
    vectors = [job.start for job in jobs(batched, 9)]
    wanted = loop.evaluate(vectors, NODES[:9])
    for samples in (512, 16):
        monkeypatch.setattr("p2pfl.learning.stacked_scoring._SAMPLES_MAX", samples)
        found = batched.evaluate(vectors, NODES[:9])
        assert [s.accuracy for s in found] == [s.accuracy for s in wanted]
        assert [s.per_class for s in found] == [s.per_class for s in wanted]
        assert [s.loss for s in found] == pytest.approx([s.loss for s in wanted], rel=1e-5)


def test_own_test_samples_are_each_nodes_own() -> None:
    rng = np.random.default_rng(0)
    dataset = dataset_from_arrays(
        "own", rng.random((60, 4)), rng.integers(0, 2, 60), ids=np.arange(60) % 3
    )
    task = make("softmax", dataset=dataset, nodes=NODES[:3], partition=NaturalId())
    loop, batched = LoopTrainer(task), BatchedTrainer(task)
    who = [NODES[1], NodeId("server"), NODES[0], NODES[2]]
    vectors: list[Vector] = [rng.normal(size=loop.dimension).astype(np.float32) for _ in who]
    found, wanted = batched.evaluate(vectors, who), loop.evaluate(vectors, who)
    assert [s.accuracy for s in found] == [s.accuracy for s in wanted]
    assert [s.loss for s in found] == pytest.approx([s.loss for s in wanted], rel=1e-5)


def test_a_class_without_test_samples_scores_nan() -> None:
    rng = np.random.default_rng(0)
    x = rng.random((60, 4))
    dataset = dataset_from_arrays(
        "own", x, np.arange(60) % 3, test_x=x[:4], test_y=np.array([0, 1, 0, 1])
    )
    task = make("softmax", dataset=dataset, partition=Iid())
    score = BatchedTrainer(task).evaluate([LoopTrainer(task).initial()], NODES[:1])[0]
    assert np.isnan(score.per_class[2])


def test_threads_do_not_disturb_each_other() -> None:
    todo = jobs(BATCHED, 6, steps=20)
    wanted = [BATCHED.train([job])[0].vector for job in todo]
    found: dict[int, Vector] = {}

    def work(i: int) -> None:
        found[i] = BATCHED.train([todo[i]])[0].vector
        BATCHED.evaluate([found[i]], [NODES[i]])

    threads = [threading.Thread(target=work, args=(i,)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(np.array_equal(found[i], wanted[i]) for i in range(6))


def test_one_thread_works_and_the_others_are_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[int] = []
    monkeypatch.setattr(torch, "get_num_threads", lambda: 7)
    monkeypatch.setattr(torch, "set_num_threads", told.append)
    todo = jobs(BATCHED, 2)
    BATCHED.train(todo)
    assert told == [1, 7]
    LoopTrainer(TASK).train(todo)
    assert told == [1, 7], "a real node uses what torch was told to use"
    LoopTrainer(TASK, one_thread=True).train(todo)
    assert told == [1, 7, 1, 7]
