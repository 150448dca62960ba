"""Minibatches by counter: which samples step t of a node takes, whoever asks and in any order.

A node's samples pass in epochs, each in a fresh order: the stream is the concatenation of the
epochs' permutations, and batch t is its stretch [t B, (t + 1) B). So every batch has exactly B
samples; it may reach over the end of an epoch, and a shard smaller than B comes round again.
"""

from collections.abc import Mapping
from typing import Final

import numpy as np

from p2pfl.learning.permutations import Indices, permutations
from p2pfl.types import NodeId

_BLOCK: Final = 256
"""Epochs of small shards are drawn together, as many as hold about this many samples: to set up a
bit stream costs as much as to sort 500 numbers. Part of what the numbers mean; never change it."""


class BatchStream:
    """The batches of one node: a pure function of (seed, node, step) with a small cache.

    `offset` is added to every position: where the node's shard begins in a shared array.
    """

    __slots__ = (
        "_base",
        "_batch_size",
        "_blocks",
        "_epochs",
        "_node",
        "_offset",
        "_seed",
        "_size",
        "_stream",
    )

    def __init__(
        self, *, seed: int, node: str, size: int, batch_size: int, offset: int = 0
    ) -> None:
        assert size >= 1
        assert batch_size >= 1
        self._seed = seed
        self._node = node
        self._size = size
        self._batch_size = batch_size
        self._offset = offset
        self._epochs = max(1, _BLOCK // size)
        """Epochs in one block."""
        self._blocks: dict[int, Indices] = {}
        """The blocks in the cache, by their number."""
        self._base = 0
        """Where the cached stretch begins in the whole stream."""
        self._stream: Indices = np.empty(0, np.int64)

    def batch(self, step: int) -> Indices:
        """Positions of the samples of one step, `[B]`; a view, not to be written to."""
        return self.batches(step, 1)

    def batches(self, first_step: int, steps: int) -> Indices:
        """Positions of the samples of so many steps in a row, `[steps * B]`; a view."""
        start = first_step * self._batch_size - self._base
        stop = start + steps * self._batch_size
        if start < 0 or stop > len(self._stream):
            base = self._base
            self._draw(start + base, stop + base)
            start, stop = start + base - self._base, stop + base - self._base
        return self._stream[start:stop]

    def _draw(self, start: int, stop: int) -> None:
        """Cache the blocks that hold [start, stop) of the whole stream."""
        length = self._size * self._epochs
        wanted = range(start // length, (stop - 1) // length + 1)
        known = self._blocks
        self._blocks = {b: known[b] if b in known else self._block(b) for b in wanted}
        blocks = list(self._blocks.values())
        self._stream = blocks[0] if len(blocks) == 1 else np.concatenate(blocks)
        self._base = wanted.start * length

    def _block(self, number: int) -> Indices:
        orders = permutations(
            self._seed, self._node, "batch", number, count=self._epochs, size=self._size
        )
        return orders.ravel() + self._offset


class Batches:
    """The batches of every node that holds data, each stream made when first asked for."""

    def __init__(self, *, seed: int, batch_size: int, shards: Mapping[NodeId, slice]) -> None:
        self._seed = seed
        self._batch_size = batch_size
        self._shards = shards
        self._streams: dict[NodeId, BatchStream] = {}

    def of(self, node: NodeId) -> BatchStream:
        """This node's stream."""
        stream = self._streams.get(node)
        if stream is None:
            shard = self._shards[node]
            stream = self._streams[node] = BatchStream(
                seed=self._seed,
                node=node,
                size=shard.stop - shard.start,
                batch_size=self._batch_size,
                offset=shard.start,
            )
        return stream
