"""The one arithmetic of mixing, shared by every algorithm that averages with its neighbours."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from p2pfl.messages import Neighbour
from p2pfl.types import Vector, frozen

BLOCK: Final = 1 << 16
"""Floats per block: result and scratch (512 KiB) stay in a core's second-level cache."""


def mix(x: Vector, neighbours: Sequence[Neighbour]) -> Vector:
    """x + sum_j w_ij s_ij (x_j - x), a new read-only vector `[d]`.

    A neighbour that is left out (s_ij = 0) gives its weight back to x; nothing is renormalised.
    Equal models mix to exactly themselves.
    """
    result = np.empty_like(x)
    sum_terms(result, x, _terms(neighbours), onto_own=True)
    return frozen(result)


def pull(x: Vector, neighbours: Sequence[Neighbour]) -> Vector:
    """sum_j w_ij s_ij (x_j - x), a new vector `[d]`: how far a mix moves x.

    The sum runs in the order of `neighbours`, block by block, so that the result has the same bits
    wherever it is computed.
    """
    result = np.empty_like(x)
    sum_terms(result, x, _terms(neighbours))
    return result


def pull_after(pulled: Vector, moved: Vector, neighbours: Sequence[Neighbour]) -> Vector:
    """The pull on x + moved by the same models that pulled x: pull - (sum_j w_ij s_ij) moved.

    It is written over `pulled`, and `moved` is lost.
    """
    weight = 0.0
    for neighbour in neighbours:
        weight += neighbour.weight * neighbour.trust
    np.multiply(moved, _factor(weight), moved)
    return np.subtract(pulled, moved, pulled)


Factor = NDArray[np.float32] | np.float32
"""One number. As an array of no dimensions it need not be converted at each product."""


@lru_cache(maxsize=1024)
def _factor(weight: float) -> NDArray[np.float32]:
    return frozen(np.array(weight, np.float32))


def _terms(neighbours: Sequence[Neighbour]) -> list[tuple[Vector, Factor]]:
    return [(n.vector, _factor(n.weight * n.trust)) for n in neighbours if n.vector is not None]


def sum_terms(
    result: Vector, x: Vector, terms: Sequence[tuple[Vector, Factor]], *, onto_own: bool = False
) -> None:
    """Write sum_j a_j (x_j - x) over the terms (x_j, a_j), in their order, to `result`.

    `onto_own`: write x plus that sum, which is added while its block is still in the cache.
    """
    if not terms:
        result.fill(0.0)
        if onto_own:
            np.add(result, x, result)
        return
    scratch = np.empty(min(BLOCK, x.size), dtype=np.float32)
    if x.size <= BLOCK:
        _sum_block(result, x, terms, scratch)
        if onto_own:
            np.add(result, x, result)
        return
    for begin in range(0, x.size, BLOCK):
        block = slice(begin, begin + BLOCK)
        own, into = x[block], result[block]
        parts = [(vector[block], weight) for vector, weight in terms]
        _sum_block(into, own, parts, scratch[: own.size])
        if onto_own:
            np.add(into, own, into)


def _sum_block(
    result: Vector, x: Vector, terms: Sequence[tuple[Vector, Factor]], scratch: Vector
) -> None:
    subtract, multiply, add = np.subtract, np.multiply, np.add
    into = result
    for vector, weight in terms:
        subtract(vector, x, into)
        multiply(into, weight, into)
        if into is not result:
            add(result, into, result)
        into = scratch


def scaled(start: Vector, trained: Vector, scale: float) -> Vector:
    """start + c (trained - start), read-only: a local update that counts c times."""
    if scale == 1.0:
        return trained
    return frozen(start + np.float32(scale) * (trained - start))


def mean_gradient(start: Vector, trained: Vector, step_size: float) -> Vector | None:
    """(start - trained) / step_size, read-only: what plain SGD has followed, corrections included.

    None where the step size is 0 and training moved nothing.
    """
    if step_size == 0.0:
        return None
    return frozen((start - trained) / np.float32(step_size))


def weighted_mean(vectors: Sequence[Vector], weights: Sequence[float]) -> Vector:
    """sum_k w_k x_k / sum_k w_k, a new read-only vector `[d]`; weights are non-negative."""
    total = sum(weights)
    assert total > 0.0
    result = np.zeros_like(vectors[0])
    for vector, weight in zip(vectors, weights, strict=True):
        result += vector * np.float32(weight / total)
    return frozen(result)
