"""The one arithmetic of mixing, shared by every algorithm that averages with its neighbours."""

from collections.abc import Sequence
from typing import Final

import numpy as np

from p2pfl.messages import Neighbour
from p2pfl.types import Vector, frozen

BLOCK: Final = 1 << 16
"""Floats per block: result and scratch (512 KiB) stay in a core's second-level cache."""


def mix(x: Vector, neighbours: Sequence[Neighbour]) -> Vector:
    """x + sum_j w_ij s_ij (x_j - x), a new read-only vector `[d]`.

    A neighbour that is left out (s_ij = 0) gives its weight back to x; nothing is renormalised.
    Equal models mix to exactly themselves. The sum runs in the order of `neighbours`, block by
    block, so that the result has the same bits wherever it is computed.
    """
    terms = [(n.vector, n.weight * n.trust) for n in neighbours if n.vector is not None]
    result = x.copy()
    scratch = np.empty(min(BLOCK, x.size), dtype=np.float32)
    for begin in range(0, x.size, BLOCK):
        own = x[begin : begin + BLOCK]
        block = result[begin : begin + BLOCK]
        work = scratch[: own.size]
        for vector, weight in terms:
            np.subtract(vector[begin : begin + BLOCK], own, out=work)
            np.multiply(work, np.float32(weight), out=work)
            np.add(block, work, out=block)
    return frozen(result)


def add_update(mixed: Vector, trained: Vector, start: Vector) -> Vector:
    """mixed + (trained - start): a local update moved onto a fresher mix, un-scaled."""
    result = np.subtract(trained, start)
    np.add(result, mixed, out=result)
    return frozen(result)


def weighted_mean(vectors: Sequence[Vector], weights: Sequence[float]) -> Vector:
    """sum_k w_k x_k / sum_k w_k, a new read-only vector `[d]`; weights are non-negative."""
    total = sum(weights)
    assert total > 0.0
    result = np.zeros_like(vectors[0])
    for vector, weight in zip(vectors, weights, strict=True):
        result += vector * np.float32(weight / total)
    return frozen(result)
