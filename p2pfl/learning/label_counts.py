"""What the nodes hold before anything is learned: samples dealt, and how many of each label."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from p2pfl.learning.dataset import Dataset
from p2pfl.learning.partitions import Partition
from p2pfl.learning.permutations import Indices, permutation
from p2pfl.types import NodeId


def deal(
    dataset: Dataset,
    partition: Partition,
    *,
    nodes: Sequence[NodeId],
    seed: int,
    samples: int | None = None,
) -> tuple[Dataset, dict[NodeId, Indices]]:
    """The data set (its first `samples` after shuffling), and which of them each node holds.

    Raises:
        ConfigError: The partition needs what this data does not have.
        DataError: A node would hold nothing.
    """
    if samples is not None and samples < len(dataset):
        dataset = dataset.take(permutation(seed, "", "samples", 0, size=len(dataset))[:samples])
    parts = partition.deal(dataset.train_y, dataset.ids, nodes=nodes, seed=seed)
    return dataset, dict(zip(nodes, parts, strict=True))


def label_counts(dataset: Dataset, parts: Mapping[NodeId, Indices]) -> NDArray[np.int64]:
    """How many samples of each class every node holds, `[n, classes]`; regression: one column."""
    if not dataset.classes:
        return np.array([[len(part)] for part in parts.values()], dtype=np.int64)
    return np.array(
        [np.bincount(dataset.train_y[part], minlength=dataset.classes) for part in parts.values()],
        dtype=np.int64,
    )
