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
    terms = [(n.vector, np.float32(n.weight * n.trust)) for n in neighbours if n.vector is not None]
    result = x.copy()
    scratch = np.empty(min(BLOCK, x.size), dtype=np.float32)
    if x.size <= BLOCK:
        _add_terms(result, x, terms, scratch)
        return frozen(result)
    for begin in range(0, x.size, BLOCK):
        block = slice(begin, begin + BLOCK)
        own = x[block]
        parts = [(vector[block], weight) for vector, weight in terms]
        _add_terms(result[block], own, parts, scratch[: own.size])
    return frozen(result)


def _add_terms(
    result: Vector, x: Vector, terms: Sequence[tuple[Vector, np.float32]], scratch: Vector
) -> None:
    """Add sum_j a_j (x_j - x) to `result` in place."""
    for vector, weight in terms:
        np.subtract(vector, x, scratch)
        np.multiply(scratch, weight, scratch)
        np.add(result, scratch, result)


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
