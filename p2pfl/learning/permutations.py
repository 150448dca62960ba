"""Permutations by counter: the same question always has the same order for an answer."""

import threading
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from p2pfl.draws import draw_bits

Indices = NDArray[np.int64]
"""Positions in a data set `[m]`."""


def philox(seed: int, node: str, purpose: str, k: int) -> np.random.Philox:
    """A stream of random bits of its own for each four arguments.

    Source: Salmon et al., Parallel random numbers: as easy as 1, 2, 3, 2011.
    """
    return np.random.Philox(key=draw_bits(seed, node, purpose, k))


def generator(seed: int, node: str, purpose: str, k: int) -> np.random.Generator:
    """A generator of its own for each four arguments."""
    return np.random.Generator(philox(seed, node, purpose, k))


def permutation(seed: int, node: str, purpose: str, k: int, *, size: int) -> Indices:
    """The numbers 0 .. size - 1 in an order that depends on nothing but the arguments."""
    order: Indices = permutations(seed, node, purpose, k, count=1, size=size)[0]
    return order


def permutations(seed: int, node: str, purpose: str, k: int, *, count: int, size: int) -> Indices:
    """So many independent orders of 0 .. size - 1, `[count, size]`, from the arguments alone.

    NumPy promises the raw bits of Philox for ever, but not the stream of `Generator.permutation`
    (NEP 19); machines with different versions must agree, so the bits are sorted here.
    """
    bits = _STREAM.raw(draw_bits(seed, node, purpose, k), count * size)
    orders = np.argsort(bits.reshape(count, size), axis=1, kind="stable")
    return orders.astype(np.int64, copy=False)


class _Stream(threading.local):
    """One Philox per thread, set to another key each time: a new one takes four times as long."""

    def __init__(self) -> None:
        self._philox = np.random.Philox(key=0)
        self._start: Any = self._philox.state

    def raw(self, key: int, count: int) -> NDArray[np.uint64]:
        """The first so many words of the stream of this key: `Philox(key=key).random_raw`."""
        start = self._start
        start["state"] = {
            "counter": np.zeros(4, np.uint64),
            "key": np.array([key, 0], np.uint64),
        }
        self._philox.state = start
        words: NDArray[np.uint64] = self._philox.random_raw(count)
        return words


_STREAM: Final = _Stream()
