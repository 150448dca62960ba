"""What is learned: a model, a loss, the data of each node, and how to step.

Plain frozen data between the experiment file and the trainers.
"""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, float32, uint8
from torch.nn import functional

from p2pfl.errors import ConfigError, DataError
from p2pfl.learning.dataset import HELD_OUT, Dataset, Scaling
from p2pfl.learning.datasets import load_dataset
from p2pfl.learning.label_counts import deal
from p2pfl.learning.models import FLAT_KINDS, ModelMaker, Shape, model_maker
from p2pfl.learning.partitions import Partition, make_partition
from p2pfl.learning.permutations import Indices
from p2pfl.learning_rate import LearningRate
from p2pfl.types import Array, NodeId

if TYPE_CHECKING:
    from p2pfl.learning.objective import Objective

Loss = Callable[[Tensor, Tensor], Tensor]
"""Mean loss of outputs against labels."""

OPTIMIZERS: Final = ("sgd", "adamw")


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Task:
    """Everything a trainer needs. The samples of all nodes lie in one array, node by node.

    Raises:
        ConfigError: There is no such optimizer.
    """

    name: str
    make_model: ModelMaker
    loss: Loss
    classes: int
    """0: regression; then there is no accuracy."""
    train_x: Array
    train_y: Array
    shards: Mapping[NodeId, slice]
    """Where each node's samples lie in the training arrays; only of nodes whose data are kept."""
    sizes: Mapping[NodeId, int]
    """How many training samples each node was dealt, kept here or not."""
    test_x: Array
    test_y: Array
    test_shards: Mapping[NodeId, slice]
    """Where each node's own test samples lie; who is not named is measured on all."""
    scaling: Scaling
    """How uint8 samples become float32."""
    learning_rate: LearningRate
    batch_size: int
    momentum: float
    weight_decay: float
    seed: int
    optimizer: str = "sgd"
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    clip_norm: float | None = None
    """The norm that the gradient of a minibatch's loss may have; None: any."""
    objective: "Objective | None" = None
    """How the model's own kind comes to its loss; None: `loss` of its outputs."""

    def __post_init__(self) -> None:
        if self.optimizer not in OPTIMIZERS:
            raise ConfigError(
                f"training.optimizer {self.optimizer!r} is unknown; "
                f"allowed are {', '.join(OPTIMIZERS)}"
            )

    def samples(self, node: NodeId) -> int:
        """How many training samples this node holds; 0 for a node without data (a server)."""
        return self.sizes.get(node, 0)

    def labels(self, node: NodeId) -> tuple[int, ...]:
        """How many of them are of each class; empty: there are no classes, or they are not here."""
        if not self.classes or node not in self.shards:
            return ()
        counts = np.bincount(self.train_y[self.shards[node]].ravel(), minlength=self.classes)
        return tuple(counts.tolist())


def build_task(
    *,
    nodes: Sequence[NodeId],
    seed: int,
    data: str,
    model: str,
    learning_rate: LearningRate | float,
    batch_size: int = 16,
    momentum: float = 0.0,
    weight_decay: float = 0.0,
    optimizer: str = "sgd",
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    clip_norm: float | None = None,
    folder: str = "",
    samples: int | None = None,
    min_sequences: int = 10,
    partition: str = "iid",
    alpha: float = 0.5,
    min_partition_size: int = 1,
    shards_per_node: int = 2,
    hidden: tuple[int, ...] = (32,),
    evaluation_samples: int | None = None,
    base: str = "",
    keep: Collection[NodeId] | None = None,
) -> Task:
    """The task that an experiment file describes; keywords mirror its tables.

    Loss: cross entropy for integer labels, mean squared error for float labels. A learning rate
    that is a number is constant. `base` is the experiment file's folder; `keep` names the nodes
    whose data this process needs (None: all).

    Raises:
        ConfigError: A kind is unknown, or model, partition and data do not fit together.
        DataError: Data is missing or torn, or a node would hold none.
    """
    dealt = make_partition(
        partition,
        alpha=alpha,
        min_partition_size=min_partition_size,
        shards_per_node=shards_per_node,
    )
    return task_from_dataset(
        load_dataset(data, folder=folder, base=base, seed=seed, min_sequences=min_sequences),
        nodes=nodes,
        seed=seed,
        model=model,
        learning_rate=learning_rate,
        batch_size=batch_size,
        momentum=momentum,
        weight_decay=weight_decay,
        optimizer=optimizer,
        betas=betas,
        eps=eps,
        clip_norm=clip_norm,
        samples=samples,
        partition=dealt,
        hidden=hidden,
        evaluation_samples=evaluation_samples,
        base=base,
        keep=keep,
    )


def task_from_dataset(
    dataset: Dataset,
    *,
    nodes: Sequence[NodeId],
    seed: int,
    model: str,
    learning_rate: LearningRate | float,
    batch_size: int,
    partition: Partition,
    momentum: float = 0.0,
    weight_decay: float = 0.0,
    optimizer: str = "sgd",
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    clip_norm: float | None = None,
    samples: int | None = None,
    hidden: tuple[int, ...] = (32,),
    evaluation_samples: int | None = None,
    base: str = "",
    keep: Collection[NodeId] | None = None,
) -> Task:
    """As `build_task`, from a data set in memory.

    Raises:
        ConfigError: Model, partition and data do not fit together.
        DataError: A node would hold no data.
    """
    if model in FLAT_KINDS:
        dataset = dataset.flattened()
    dataset, parts = deal(dataset, partition, nodes=nodes, seed=seed, samples=samples)
    kept = frozenset(nodes if keep is None else keep)
    split_by = _split_own if dataset.test_x is None else _split_shared
    split = split_by(dataset, parts, kept)
    outputs = dataset.classes or math.prod(dataset.train_y.shape[1:])
    shape = Shape(tuple(dataset.train_x.shape[1:]), outputs)
    limit = None if split.test_shards else evaluation_samples
    return Task(
        name=f"{dataset.name}/{model}",
        make_model=model_maker(model, shape, hidden=hidden, base=base, seed=seed),
        loss=functional.cross_entropy if dataset.classes else squared_error,
        classes=dataset.classes,
        train_x=split.train_x,
        train_y=split.train_y,
        shards=split.shards,
        sizes=split.sizes,
        test_x=split.test_x[:limit],
        test_y=split.test_y[:limit],
        test_shards=split.test_shards,
        scaling=dataset.scaling,
        learning_rate=LearningRate.of(learning_rate),
        batch_size=batch_size,
        momentum=momentum,
        weight_decay=weight_decay,
        seed=seed,
        optimizer=optimizer,
        betas=betas,
        eps=eps,
        clip_norm=clip_norm,
    )


def squared_error(outputs: Tensor, labels: Tensor) -> Tensor:
    """Mean squared error; outputs `[B, 1]` and labels `[B]` are the same numbers."""
    return functional.mse_loss(outputs.reshape(labels.shape), labels)


def scaled(x: Tensor, task: Task) -> Tensor:
    """Pixels as float32; all else as it is."""
    if x.dtype != uint8:
        return x
    return x.to(float32).mul_(task.scaling.gain).add_(task.scaling.offset)


@dataclass(frozen=True, slots=True, eq=False)
class _Split:
    train_x: Array
    train_y: Array
    shards: dict[NodeId, slice]
    sizes: dict[NodeId, int]
    test_x: Array
    test_y: Array
    test_shards: dict[NodeId, slice]


def _split_shared(
    dataset: Dataset, parts: Mapping[NodeId, Indices], kept: frozenset[NodeId]
) -> _Split:
    """The data set's own test samples, the same for every node."""
    assert dataset.test_x is not None
    assert dataset.test_y is not None
    rows, shards = _join({k: p for k, p in parts.items() if k in kept})
    x, y = dataset.train_x[rows], dataset.train_y[rows]
    sizes = {node: len(part) for node, part in parts.items()}
    return _Split(x, y, shards, sizes, dataset.test_x, dataset.test_y, {})


def _split_own(
    dataset: Dataset, parts: Mapping[NodeId, Indices], kept: frozenset[NodeId]
) -> _Split:
    """A fifth of each node's own samples, at least one of two, held out for evaluation.

    Who keeps no node with such samples (a server) is measured on those of all.
    """
    held = {k: p[: max(1, len(p) // HELD_OUT)] for k, p in parts.items() if len(p) > 1}
    train = {k: p[len(held.get(k, ())) :] for k, p in parts.items()}
    sizes = {node: len(part) for node, part in train.items()}
    if not held:
        raise DataError(
            f"{dataset.name}: every node has a single sample, so none can be held out for "
            "evaluation: give test_x and test_y, more samples, or fewer nodes"
        )
    held = {k: p for k, p in held.items() if k in kept} or held
    rows, shards = _join({k: p for k, p in train.items() if k in kept})
    test_rows, test_shards = _join(held)
    x, y = dataset.train_x, dataset.train_y
    return _Split(x[rows], y[rows], shards, sizes, x[test_rows], y[test_rows], test_shards)


def _join(parts: Mapping[NodeId, Indices]) -> tuple[Indices, dict[NodeId, slice]]:
    """All positions one after the other, and where each node's begin and end."""
    ends = np.cumsum([0, *(len(part) for part in parts.values())])
    rows: NDArray[np.int64] = np.concatenate([np.empty(0, np.int64), *parts.values()])
    return rows, {
        node: slice(int(a), int(b)) for node, a, b in zip(parts, ends[:-1], ends[1:], strict=True)
    }
