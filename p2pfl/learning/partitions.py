"""Who holds which samples: published ways to deal a data set to nodes.

Names and parameters follow flwr-datasets, which people know. Every partition covers each sample
exactly once, in shuffled order within a node, and depends on the seed alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from p2pfl.errors import ConfigError, DataError
from p2pfl.learning.permutations import Indices, generator, permutation
from p2pfl.types import Array, NodeId

ATTEMPTS_MAX: Final = 100
"""How often Dirichlet deals before it says that the wish cannot be met."""


class Partition(Protocol):
    """A way to deal samples."""

    def deal(
        self, labels: Array, ids: NDArray[Any] | None, *, nodes: Sequence[NodeId], seed: int
    ) -> list[Indices]:
        """The positions of each node's samples, in the order of `nodes`; none is empty.

        Raises:
            DataError: A node would hold nothing.
            ConfigError: The partition needs what this data does not have.
        """
        ...


@dataclass(frozen=True, slots=True)
class Iid:
    """Shuffle, then deal one by one like cards: sizes differ by at most one."""

    def deal(
        self, labels: Array, ids: NDArray[Any] | None, *, nodes: Sequence[NodeId], seed: int
    ) -> list[Indices]:
        """See `Partition.deal`."""
        del ids
        order = _shuffled(len(labels), seed)
        return _none_empty([order[i :: len(nodes)] for i in range(len(nodes))], nodes)


@dataclass(frozen=True, slots=True)
class Halves:
    """Shuffle, then cut into n equal stretches (the two halves of 30,000 of MNIST)."""

    def deal(
        self, labels: Array, ids: NDArray[Any] | None, *, nodes: Sequence[NodeId], seed: int
    ) -> list[Indices]:
        """See `Partition.deal`."""
        del ids
        return _none_empty(np.array_split(_shuffled(len(labels), seed), len(nodes)), nodes)


@dataclass(frozen=True, slots=True)
class Linear:
    """Node i of n (from 1) holds a share proportional to i."""

    def deal(
        self, labels: Array, ids: NDArray[Any] | None, *, nodes: Sequence[NodeId], seed: int
    ) -> list[Indices]:
        """See `Partition.deal`."""
        del ids
        share = np.cumsum(np.arange(1, len(nodes) + 1))
        # Whole numbers: no rounding can lose or double a sample.
        cuts = len(labels) * share[:-1] // share[-1]
        return _none_empty(np.split(_shuffled(len(labels), seed), cuts), nodes)


@dataclass(frozen=True, slots=True)
class Sorted:
    """Sort by label, cut into n equal stretches: the first nodes hold the first classes.

    The hardest case, and one in which it is known who holds what (slow nodes, say).
    """

    def deal(
        self, labels: Array, ids: NDArray[Any] | None, *, nodes: Sequence[NodeId], seed: int
    ) -> list[Indices]:
        """See `Partition.deal`."""
        del ids
        _need_classes(labels, "sorted")
        order = _shuffled(len(labels), seed)
        order = order[np.argsort(labels[order], kind="stable")]
        parts = np.array_split(order, len(nodes))
        return _reshuffled(_none_empty(parts, nodes), nodes, seed)


@dataclass(frozen=True, slots=True)
class Shard:
    """Sort by label, cut into equal shards, deal each node so many at random.

    Source: McMahan et al., Communication-efficient learning of deep networks from decentralized
    data, 2017 (two shards per node).
    """

    shards_per_node: int = 2

    def deal(
        self, labels: Array, ids: NDArray[Any] | None, *, nodes: Sequence[NodeId], seed: int
    ) -> list[Indices]:
        """See `Partition.deal`."""
        del ids
        if self.shards_per_node < 1:
            raise ConfigError(
                f"partition.shards_per_node is {self.shards_per_node}; it must be at least 1"
            )
        _need_classes(labels, "shard")
        order = _shuffled(len(labels), seed)
        order = order[np.argsort(labels[order], kind="stable")]
        count = len(nodes) * self.shards_per_node
        shards = np.array_split(order, count)
        dealt = permutation(seed, "", "partition", 1, size=count).reshape(len(nodes), -1)
        parts = [np.concatenate([shards[s] for s in row]) for row in dealt]
        return _reshuffled(_none_empty(parts, nodes), nodes, seed)


@dataclass(frozen=True, slots=True)
class Dirichlet:
    """Each class is split among the nodes by proportions drawn from Dirichlet(alpha).

    Small `alpha` is uneven. Dealt again until every node holds `min_partition_size`.
    Source: Hsu, Qi and Brown, Measuring the effects of non-identical data distribution for
    federated visual classification, 2019; per class as in Yurochkin et al., Bayesian
    nonparametric federated learning of neural networks, 2019.
    """

    alpha: float = 0.5
    min_partition_size: int = 1

    def deal(
        self, labels: Array, ids: NDArray[Any] | None, *, nodes: Sequence[NodeId], seed: int
    ) -> list[Indices]:
        """See `Partition.deal`."""
        del ids
        if not self.alpha > 0.0:
            raise ConfigError(f"partition.alpha is {self.alpha}; it must be above 0")
        _need_classes(labels, "dirichlet")
        order = _shuffled(len(labels), seed)
        members = [order[labels[order] == c] for c in np.unique(labels)]
        counts = np.array([len(m) for m in members])
        wanted = max(1, self.min_partition_size)
        for attempt in range(ATTEMPTS_MAX):
            rng = generator(seed, "", "partition", 2 + attempt)
            shares = rng.dirichlet(np.full(len(nodes), self.alpha), size=len(members))
            cuts = (np.cumsum(shares, axis=1) * counts[:, None]).astype(np.int64)
            cuts[:, -1] = counts  # The sum of the shares may round to just below one.
            sizes = np.diff(cuts, axis=1, prepend=0).sum(axis=0)
            if sizes.min() >= wanted:
                split = [np.split(m, c[:-1]) for m, c in zip(members, cuts, strict=True)]
                parts = [np.concatenate(part) for part in zip(*split, strict=True)]
                return _reshuffled(parts, nodes, seed)
        least = int(sizes.argmin())
        raise DataError(
            f"empty shard: after {ATTEMPTS_MAX} deals of {len(labels)} samples node "
            f"{nodes[least]!r} still has {int(sizes[least])} of {wanted}: raise partition.alpha "
            f"({self.alpha}), or take fewer nodes ({len(nodes)}) or more samples"
        )


@dataclass(frozen=True, slots=True)
class NaturalId:
    """One node per natural id (a hospital, a writer), by name where the names are the nodes'.

    Fewer nodes than ids: the ids, in order, are dealt round-robin.
    """

    def deal(
        self, labels: Array, ids: NDArray[Any] | None, *, nodes: Sequence[NodeId], seed: int
    ) -> list[Indices]:
        """See `Partition.deal`."""
        del labels
        if ids is None:
            raise ConfigError(
                "partition.kind 'natural_id' needs data with ids; this data set has none"
            )
        values = np.unique(ids)
        if len(nodes) > len(values):
            raise DataError(
                f"empty shard: {len(nodes)} nodes but only {len(values)} natural ids, so node "
                f"{nodes[len(values)]!r} would hold nothing: take at most {len(values)} nodes"
            )
        names = [str(v) for v in values]
        if set(names) == set(nodes):
            owned = [[values[names.index(node)]] for node in nodes]
        else:
            owned = [list(values[i :: len(nodes)]) for i in range(len(nodes))]
        parts = [np.flatnonzero(np.isin(ids, mine)) for mine in owned]
        return _reshuffled(parts, nodes, seed)


def make_partition(
    kind: str, *, alpha: float = 0.5, min_partition_size: int = 1, shards_per_node: int = 2
) -> Partition:
    """The partition that an experiment file names.

    Raises:
        ConfigError: No such kind.
    """
    partitions: dict[str, Partition] = {
        "iid": Iid(),
        "halves": Halves(),
        "sorted": Sorted(),
        "linear": Linear(),
        "shard": Shard(shards_per_node),
        "dirichlet": Dirichlet(alpha, min_partition_size),
        "natural_id": NaturalId(),
    }
    if kind not in partitions:
        raise ConfigError(
            f"partition.kind {kind!r} is unknown; allowed are {', '.join(partitions)}"
        )
    return partitions[kind]


def _shuffled(size: int, seed: int) -> Indices:
    return permutation(seed, "", "partition", 0, size=size)


def _reshuffled(parts: list[Indices], nodes: Sequence[NodeId], seed: int) -> list[Indices]:
    """Each part in a fresh order: what was sorted or joined by label is so no longer."""
    return [
        part[permutation(seed, node, "partition", 0, size=len(part))]
        for part, node in zip(parts, nodes, strict=True)
    ]


def _none_empty(parts: list[Indices], nodes: Sequence[NodeId]) -> list[Indices]:
    for part, node in zip(parts, nodes, strict=True):
        if len(part) == 0:
            total = sum(len(p) for p in parts)
            raise DataError(
                f"empty shard: node {node!r} would hold none of the {total} samples of "
                f"{len(nodes)} nodes: take fewer nodes, more samples, or a more even partition"
            )
    return parts


def _need_classes(labels: Array, kind: str) -> None:
    if not np.issubdtype(labels.dtype, np.integer):
        raise ConfigError(
            f"partition.kind {kind!r} deals by class, but these labels are {labels.dtype}: "
            "use iid, halves, linear or natural_id"
        )
