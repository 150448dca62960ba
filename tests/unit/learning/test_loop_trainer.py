import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from p2pfl.errors import ConfigError
from p2pfl.learning.dataset import dataset_from_arrays
from p2pfl.learning.loop_trainer import LoopTrainer
from p2pfl.learning.models import seeded
from p2pfl.learning.partitions import Iid, NaturalId
from p2pfl.learning.sources import images
from p2pfl.learning.sources.folders import find_folder
from p2pfl.learning.task import Task, build_task, task_from_dataset
from p2pfl.learning.trainer import TrainJob, TrainOutcome
from p2pfl.types import NodeId, Vector

NODES = [NodeId(f"n{i}") for i in range(3)]


def digits(**changes: object) -> Task:
    arguments: dict[str, object] = {
        "nodes": NODES,
        "seed": 0,
        "data": "digits",
        "model": "mlp",
        "learning_rate": 0.1,
        **changes,
    }
    return build_task(**arguments)  # type: ignore[arg-type] # checked by running


@pytest.fixture(scope="module")
def plain() -> LoopTrainer:
    return LoopTrainer(digits())


def job(
    trainer: LoopTrainer,
    *,
    node: NodeId = NODES[0],
    start: Vector | None = None,
    first_step: int = 0,
    steps: int = 3,
    momentum: Vector | None = None,
    correction: Vector | None = None,
) -> TrainJob:
    where = trainer.initial() if start is None else start
    return TrainJob(node, where, first_step, steps, momentum, correction)


def same(one: TrainOutcome, other: TrainOutcome) -> bool:
    return np.array_equal(one.vector, other.vector) and one.loss == other.loss


def test_one_node_alone_learns_the_digits_in_seconds() -> None:
    trainer = LoopTrainer(digits(nodes=NODES[:1], momentum=0.9, learning_rate=0.05))
    outcome = trainer.train([job(trainer, steps=900)])[0]
    score = trainer.evaluate([outcome.vector], NODES[:1])[0]
    assert score.accuracy is not None
    assert score.accuracy > 0.9
    assert len(score.per_class) == 10
    assert outcome.loss < 1.0


def test_the_same_job_gives_the_same_bits_whatever_ran_before(plain: LoopTrainer) -> None:
    first = plain.train([job(plain)])[0]
    other = job(plain, node=NODES[1], first_step=50, start=first.vector)
    plain.train([other, other])
    plain.evaluate([first.vector], NODES[:1])
    torch.rand(5)
    assert same(plain.train([job(plain)])[0], first)
    assert same(LoopTrainer(digits()).train([job(plain)])[0], first)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_two_jobs_in_a_row_are_one_long_job(momentum: float) -> None:
    trainer = LoopTrainer(digits(momentum=momentum, weight_decay=0.01))
    whole = trainer.train([job(trainer, steps=7)])[0]
    first = trainer.train([job(trainer, steps=3)])[0]
    assert (first.momentum is None) == (momentum == 0.0)
    rest = job(trainer, start=first.vector, first_step=3, steps=4, momentum=first.momentum)
    assert np.array_equal(trainer.train([rest])[0].vector, whole.vector)


def test_training_is_that_of_pytorch_on_the_same_batches() -> None:
    task = digits(momentum=0.9, weight_decay=0.01)
    trainer = LoopTrainer(task)
    ours = trainer.train([job(trainer, node=NODES[1], first_step=5, steps=4)])[0]
    module = task.make_model()
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1, momentum=0.9, weight_decay=0.01)
    losses = []
    for step in range(5, 9):
        rows = trainer._stream(NODES[1]).batch(step)
        loss = task.loss(
            module(torch.from_numpy(task.train_x[rows])), torch.from_numpy(task.train_y[rows])
        )
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call] # torch ships it unannotated
        optimizer.step()
        losses.append(loss.item())
    theirs = torch.cat([p.detach().reshape(-1) for p in module.parameters()]).numpy()
    assert np.allclose(ours.vector, theirs, rtol=1e-5, atol=1e-6)
    assert ours.loss == pytest.approx(np.mean(losses))


def test_a_correction_is_added_to_every_gradient(plain: LoopTrainer) -> None:
    correction = np.full(plain.dimension, 2.0, np.float32)
    without = plain.train([job(plain, steps=1)])[0]
    with_it = plain.train([job(plain, steps=1, correction=correction)])[0]
    assert np.allclose(without.vector - with_it.vector, 0.1 * 2.0, atol=1e-6)


def test_a_node_trains_on_its_own_samples(plain: LoopTrainer) -> None:
    for node in NODES:
        shard = plain._task.shards[node]
        rows = plain._stream(node).batches(0, 100)
        assert set(rows) == set(range(shard.start, shard.stop))


def test_results_are_read_only_and_share_nothing(plain: LoopTrainer) -> None:
    outcomes = plain.train([job(plain), job(plain, node=NODES[1])])
    assert not any(outcome.vector.flags.writeable for outcome in outcomes)
    assert not plain.initial().flags.writeable
    assert not np.shares_memory(outcomes[0].vector, outcomes[1].vector)
    assert not np.array_equal(outcomes[0].vector, outcomes[1].vector)


def test_the_jobs_arrays_are_left_as_they_were() -> None:
    trainer = LoopTrainer(digits(momentum=0.9))
    start = trainer.initial().copy()
    momentum, correction = np.ones_like(start), np.ones_like(start)
    for array in (start, momentum, correction):
        array.flags.writeable = False
    trainer.train([job(trainer, start=start, momentum=momentum, correction=correction)])
    assert np.array_equal(start, trainer.initial())
    assert (momentum == 1).all()
    assert (correction == 1).all()


def test_evaluation_counts_right_answers_per_class(plain: LoopTrainer) -> None:
    score = plain.evaluate([np.zeros(plain.dimension, np.float32)], NODES[:1])[0]
    zeros = float((plain._task.test_y == 0).mean())
    assert score.accuracy == pytest.approx(zeros), "a model of zeros says 0 to everything"
    assert score.per_class == (1.0,) + (0.0,) * 9
    assert score.loss == pytest.approx(np.log(10), rel=1e-5)


def test_each_node_is_measured_on_its_own_samples_where_it_has_some() -> None:
    x = np.repeat(np.eye(2, dtype=np.float32), 50, axis=0)
    dataset = dataset_from_arrays("own", x, np.repeat([0, 1], 50), ids=np.repeat([0, 1], 50))
    nodes = [NodeId("a"), NodeId("b"), NodeId("server")]
    task = task_from_dataset(
        dataset,
        nodes=nodes[:2],
        seed=0,
        model="softmax",
        learning_rate=0.1,
        batch_size=4,
        partition=NaturalId(),
    )
    trainer = LoopTrainer(task)
    always_zero = np.zeros(trainer.dimension, np.float32)
    scores = trainer.evaluate([always_zero] * 3, nodes)
    assert [score.accuracy for score in scores] == [1.0, 0.0, 0.5]
    assert np.isnan(scores[0].per_class[1]), "nobody can say how good it is at what is not there"


def own_task(make: Callable[[], nn.Module], *, pixels: bool = False) -> Task:
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (60, 6), np.uint8) if pixels else rng.random((60, 6))
    task = task_from_dataset(
        dataset_from_arrays("own", x, np.arange(60) % 3),
        nodes=NODES,
        seed=0,
        model="softmax",
        learning_rate=0.1,
        batch_size=4,
        partition=Iid(),
    )
    return replace(task, make_model=lambda: seeded(make, 0))


def test_regression_is_scored_by_its_loss_alone() -> None:
    rng = np.random.default_rng(0)
    x = rng.random((200, 3))
    task = task_from_dataset(
        dataset_from_arrays("own", x, x @ np.array([1.0, -2.0, 0.5]) + 3.0),
        nodes=NODES,
        seed=0,
        model="softmax",
        learning_rate=0.2,
        batch_size=8,
        partition=Iid(),
    )
    trainer = LoopTrainer(task)
    outcome = trainer.train([job(trainer, steps=600)])[0]
    score = trainer.evaluate([outcome.vector], NODES[:1])[0]
    assert score.loss < 1e-3
    assert score.accuracy is None
    assert score.per_class == ()
    assert outcome.vector == pytest.approx([1.0, -2.0, 0.5, 3.0], abs=0.1)


def test_a_trainer_tells_what_its_vectors_are(plain: LoopTrainer) -> None:
    assert plain.dimension == sum(int(np.prod(shape)) for _, shape in plain.layout)
    assert [name for name, _ in plain.layout] == ["0.weight", "0.bias", "2.weight", "2.bias"]
    assert plain.schema == LoopTrainer(digits(seed=9)).schema
    assert sum(plain.samples(node) for node in NODES) == 1438
    assert plain.samples(NodeId("server")) == 0


class Noisy(nn.Module):
    """Draws while training, in a way that nobody can see from outside."""

    def __init__(self) -> None:
        super().__init__()
        self.out = nn.Linear(6, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        noise = torch.rand_like(x) if self.training else torch.zeros_like(x)
        y: torch.Tensor = self.out(x + noise)
        return y


def test_dropout_is_drawn_by_counter_and_leaves_the_global_state_alone() -> None:
    trainer = LoopTrainer(own_task(Noisy))
    torch.manual_seed(1)
    first = trainer.train([job(trainer)])[0]
    left = torch.rand(2)
    torch.manual_seed(1)
    assert torch.equal(torch.rand(2), left)
    assert same(trainer.train([job(trainer)])[0], first)
    two = trainer.train([job(trainer, steps=2)])[0]
    rest = trainer.train([job(trainer, start=two.vector, first_step=2, steps=1)])[0]
    assert np.array_equal(rest.vector, first.vector)


class Masks(nn.Module):
    """Puts out which inputs were kept: the loss of a step is its mask's fingerprint."""

    def __init__(self) -> None:
        super().__init__()
        self.out = nn.Linear(64, 3, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        kept = nn.functional.dropout(torch.ones(64), 0.5, training=self.training)
        y: torch.Tensor = self.out(kept * torch.arange(64.0)).expand(len(x), 3)
        return y


def test_each_step_of_each_node_under_each_seed_has_its_own_dropout_mask() -> None:
    x = np.zeros((60, 6))
    dataset = dataset_from_arrays("own", x, np.zeros(60), test_x=x, test_y=np.zeros(60))
    losses = []
    for seed in (0, 1):
        task = task_from_dataset(
            dataset,
            nodes=NODES,
            seed=seed,
            model="softmax",
            learning_rate=0.0,
            batch_size=4,
            partition=Iid(),
        )
        fixed = replace(
            task,
            make_model=lambda: seeded(Masks, 0),
            loss=lambda outputs, _: outputs.square().mean(),
        )
        trainer = LoopTrainer(fixed)
        todo = [job(trainer, node=n, first_step=s, steps=1) for n in NODES for s in range(3)]
        found = [outcome.loss for outcome in trainer.train(todo)]
        assert found == [outcome.loss for outcome in reversed(trainer.train(todo[::-1]))]
        losses += found
    assert len(set(losses)) == 2 * 3 * 3


def test_running_statistics_travel_and_are_not_decayed() -> None:
    trainer = LoopTrainer(own_task(lambda: nn.Sequential(nn.Linear(6, 3), nn.BatchNorm1d(3))))
    first = trainer.train([job(trainer)])[0]
    assert not np.array_equal(first.vector[-6:], trainer.initial()[-6:])
    assert same(trainer.train([job(trainer)])[0], first)
    trainer.evaluate([first.vector], NODES[:1])
    assert same(trainer.train([job(trainer)])[0], first)


def test_pixels_are_scaled_in_the_batch() -> None:
    task = own_task(lambda: nn.Linear(6, 3), pixels=True)
    assert task.train_x.dtype == np.uint8
    trainer = LoopTrainer(task)
    x = trainer._scaled(torch.tensor([[0, 255, 51]], dtype=torch.uint8))
    assert x.tolist() == [[0.0, 1.0, pytest.approx(0.2)]]
    assert np.isfinite(trainer.train([job(trainer)])[0].loss)


def test_a_model_that_does_not_fit_is_refused_before_the_first_step() -> None:
    with pytest.raises(ConfigError, match=r"does not fit the data of own/softmax: .*\(6,\)"):
        LoopTrainer(own_task(lambda: nn.Linear(5, 3)))
    with pytest.raises(ConfigError, match="has 2 outputs, but own/softmax has 3 classes"):
        LoopTrainer(own_task(lambda: nn.Linear(6, 2)))


def test_threads_do_not_disturb_each_other(plain: LoopTrainer) -> None:
    jobs = [job(plain, node=node, steps=60) for node in NODES]
    wanted = [outcome.vector for outcome in plain.train(jobs)]
    found: dict[int, Vector] = {}

    def work(i: int) -> None:
        found[i] = plain.train([jobs[i]])[0].vector
        plain.evaluate([found[i]], [NODES[i]])

    threads = [threading.Thread(target=work, args=(i,)) for i in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(np.array_equal(found[i], wanted[i]) for i in range(3))


def test_training_does_not_load_the_compiler() -> None:
    """`import torch` loads `torch.optim`; the second and 72 MB come with what it imports at use."""
    script = """
        import sys
        from p2pfl.learning.loop_trainer import LoopTrainer
        from p2pfl.learning.task import build_task
        from p2pfl.learning.trainer import TrainJob

        task = build_task(nodes=["a"], seed=0, data="digits", model="mlp", learning_rate=0.1,
                          momentum=0.9, weight_decay=0.1)
        trainer = LoopTrainer(task)
        outcome = trainer.train([TrainJob("a", trainer.initial(), 0, 2, None)])[0]
        trainer.evaluate([outcome.vector], ["a"])
        heavy = ("torch._dynamo", "torch._inductor", "sympy")
        assert not [name for name in heavy if name in sys.modules]
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_the_convolutional_network_takes_a_step_on_mnist() -> None:
    if find_folder("mnist", folder="", files=images.FILES) is None:
        pytest.skip("no MNIST folder")
    task = build_task(
        nodes=NODES,
        seed=0,
        data="mnist",
        samples=300,
        evaluation_samples=50,
        model="cnn",
        learning_rate=0.05,
        batch_size=10,
        keep=NODES[:1],
    )
    trainer = LoopTrainer(task)
    assert trainer.dimension == 1_663_370
    first = trainer.train([job(trainer, steps=1)])[0]
    again = trainer.train([job(trainer, start=first.vector, steps=1)])[0]
    assert again.loss < first.loss, "a step on a batch makes that batch's loss smaller"
