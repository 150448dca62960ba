from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from p2pfl.errors import ConfigError, DataError
from p2pfl.learning.dataset import Dataset, dataset_from_arrays
from p2pfl.learning.loop_trainer import LoopTrainer
from p2pfl.learning.partitions import Halves, Iid, NaturalId
from p2pfl.learning.task import Task, build_task, squared_error, task_from_dataset
from p2pfl.types import NodeId

NODES = [NodeId(f"n{i}") for i in range(4)]


def own(size: int = 40, *, test: int = 0) -> Dataset:
    """Sample i is the number i, so that one sees where each went."""
    x, y = np.arange(float(size))[:, None], np.arange(size) % 2
    if not test:
        return dataset_from_arrays("own", x, y, ids=np.arange(size) % 4)
    return dataset_from_arrays("own", x, y, test_x=-x[:test], test_y=y[:test])


def make(dataset: Dataset, **changes: object) -> Task:
    arguments: dict[str, object] = {
        "nodes": NODES,
        "seed": 0,
        "model": "softmax",
        "learning_rate": 0.1,
        "batch_size": 4,
        "partition": Iid(),
        **changes,
    }
    return task_from_dataset(dataset, **arguments)  # type: ignore[arg-type] # checked by running


def test_shards_lie_one_after_the_other_and_hold_what_was_dealt() -> None:
    task = make(own(test=5), partition=Halves())
    assert [task.shards[n] for n in NODES] == [slice(i, i + 10) for i in (0, 10, 20, 30)]
    assert sorted(task.train_x[:, 0]) == list(range(40))
    assert np.array_equal(task.train_x[:, 0] % 2, task.train_y)


def test_the_data_sets_own_test_samples_are_shared() -> None:
    task = make(own(test=5))
    assert task.test_shards == {}
    assert len(task.test_y) == 5
    assert len(make(own(test=5), evaluation_samples=3).test_x) == 3


def test_each_class_of_a_nodes_samples_is_counted_where_they_are_kept() -> None:
    task = make(own(test=5), partition=Halves(), keep=NODES[:1])
    labels = task.labels(NODES[0])
    assert labels == tuple(np.bincount(task.train_y, minlength=2).tolist())
    assert sum(labels) == 10
    assert task.labels(NODES[1]) == ()
    numbers = np.linspace(0.0, 1.0, 40)
    assert make(dataset_from_arrays("own", numbers[:, None], numbers)).labels(NODES[0]) == ()


def test_without_a_test_set_each_node_holds_out_a_fifth_of_its_own() -> None:
    task = make(own(), partition=NaturalId())
    for i, node in enumerate(NODES):
        assert task.samples(node) == 8
        mine = task.train_x[task.shards[node]], task.test_x[task.test_shards[node]]
        assert len(mine[1]) == 2
        assert {int(v) % 4 for part in mine for v in part[:, 0]} == {i}
    assert sorted([*task.train_x[:, 0], *task.test_x[:, 0]]) == list(range(40))


def test_a_single_sample_is_trained_on_and_a_pair_is_split() -> None:
    task = make(own(7), partition=Halves())
    assert [task.samples(node) for node in NODES] == [1, 1, 1, 1]
    assert [node in task.test_shards for node in NODES] == [True, True, True, False]
    with pytest.raises(DataError, match="own: every node has a single sample"):
        make(own(4))


def test_only_what_is_kept_is_in_memory() -> None:
    task = make(own(test=5), keep={NODES[2]})
    whole = make(own(test=5))
    assert len(task.train_x) == 10
    assert np.array_equal(
        task.train_x[task.shards[NODES[2]]], whole.train_x[whole.shards[NODES[2]]]
    )
    assert set(task.shards) == {NODES[2]}
    assert [task.samples(node) for node in NODES] == [whole.samples(node) for node in NODES]


def test_a_server_keeps_no_training_data_and_is_measured_on_all() -> None:
    server = {NodeId("server")}
    for dataset, count in ((own(test=5), 5), (own(), 8)):
        task = make(dataset, keep=server)
        assert len(task.train_x) == 0
        assert len(task.test_x) == count
        score = LoopTrainer(task).evaluate([LoopTrainer(task).initial()], list(server))[0]
        assert score.accuracy is not None


def test_fewer_samples_are_a_random_choice() -> None:
    task = make(own(test=5), samples=12)
    assert len(task.train_x) == 12
    assert task.train_x.max() > 12


def test_labels_choose_the_loss() -> None:
    assert make(own()).loss is functional.cross_entropy
    x = np.random.default_rng(0).random((40, 3))
    regression = make(dataset_from_arrays("own", x, x[:, 0]))
    assert regression.loss is squared_error
    assert regression.classes == 0
    assert regression.make_model()(torch.zeros(2, 3)).shape == (2, 1)


def test_outputs_of_one_column_are_compared_one_by_one() -> None:
    outputs, labels = torch.tensor([[1.0], [3.0]]), torch.tensor([1.0, 1.0])
    assert squared_error(outputs, labels).item() == 2.0


def test_a_task_is_built_from_plain_values(tmp_path: Path) -> None:
    np.savez(tmp_path / "my.npz", x=np.random.default_rng(0).random((50, 6)), y=np.arange(50) % 3)
    task = build_task(
        nodes=NODES,
        seed=1,
        data="npz",
        folder="my.npz",
        base=str(tmp_path),
        partition="linear",
        model="mlp",
        hidden=(5,),
        learning_rate=0.1,
        momentum=0.9,
    )
    assert task.name.endswith("my.npz/mlp")
    assert [task.samples(n) for n in NODES] == [4, 8, 12, 16]
    assert task.momentum == 0.9


def test_a_model_that_does_not_take_the_data_is_refused() -> None:
    with pytest.raises(ConfigError, match="'cnn' takes images"):
        make(own(), model="cnn")
