import numpy as np

from p2pfl.learning.dataset import Dataset, dataset_from_arrays
from p2pfl.learning.label_counts import deal, label_counts
from p2pfl.learning.partitions import Iid, Shard
from p2pfl.types import NodeId

NODES = [NodeId(f"n{i}") for i in range(5)]


def own(*, classes: bool = True) -> Dataset:
    x = np.arange(60.0)[:, None]
    return dataset_from_arrays("own", x, np.arange(60) % 3 if classes else x[:, 0])


def test_labels_are_counted_node_by_node() -> None:
    dataset, parts = deal(own(), Shard(1), nodes=NODES, seed=0)
    counts = label_counts(dataset, parts)
    assert counts.shape == (5, 3)
    assert counts.sum() == 60
    for row, part in zip(counts, parts.values(), strict=True):
        assert row.tolist() == [int((dataset.train_y[part] == c).sum()) for c in range(3)]


def test_only_the_samples_that_are_used_are_dealt() -> None:
    dataset, parts = deal(own(), Iid(), nodes=NODES, seed=0, samples=20)
    assert len(dataset) == 20
    assert list(parts) == NODES
    assert label_counts(dataset, parts).sum() == 20


def test_regression_has_one_column() -> None:
    dataset, parts = deal(own(classes=False), Iid(), nodes=NODES, seed=0)
    assert label_counts(dataset, parts).tolist() == [[12]] * 5
