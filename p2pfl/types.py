"""The words that every layer shares."""

from typing import Any, Final, NewType, TypeVar

import numpy as np
from numpy.typing import NDArray

NodeId = NewType("NodeId", str)
"""A node's name: `[A-Za-z0-9_-]{1,64}`, so that it can stand in a topic."""

Vector = NDArray[np.float32]
"""A flat model `[d]`, float32. Shared between messages and views, hence never written to."""

Rows = NDArray[np.float32]
"""Flat models as rows `[n, d]`, float32: one per node."""

Positions = NDArray[np.int64]
"""Places in an array."""

Extra = NDArray[np.float32] | NDArray[np.uint32]
"""What travels beside a model, flat: float32 trackers, or uint32 sums modulo 2^32."""

Matrix = NDArray[np.float64]
"""A dense square matrix `[n, n]`, float64."""

Array = NDArray[Any]

PROTOCOL_VERSION: Final = 1


A = TypeVar("A", bound=Array)


def frozen(array: A) -> A:
    """The same array, marked read-only: it can now be shared without copies."""
    array.setflags(write=False)
    return array


quick_tuple: Final = tuple.__new__
"""Makes a named tuple, `quick_tuple(Kind, (field, ...))`, at a third of what its own constructor
costs, and as unchecked: for what is made at every message of every node."""

ALIGNMENT: Final = 64
"""Bytes: the widest vector register. Where rows begin decides in which order some libraries sum."""


def aligned_rows(rows: int, numbers: int) -> Rows:
    """New uninitialised rows `[rows, numbers]` that begin at a multiple of `ALIGNMENT` bytes."""
    size = 4 * rows * numbers
    memory = np.empty(size + ALIGNMENT, np.uint8)
    begin = -memory.ctypes.data % ALIGNMENT
    return memory[begin : begin + size].view(np.float32).reshape(rows, numbers)
