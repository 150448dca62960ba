"""A data set in memory: samples, labels, and what a trainer must know about them."""

from dataclasses import dataclass, replace
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from p2pfl.errors import DataError
from p2pfl.learning.permutations import Indices, permutation
from p2pfl.types import Array

HELD_OUT: Final = 5
"""One sample in so many is held out for evaluation where a source has no test set."""


_CLASSES_SURE: Final = 1000
"""More classes than this and than there are labels are numbers of something else."""

_PIECE: Final = 1024


@dataclass(frozen=True, slots=True)
class Scaling:
    """How uint8 pixels become float32, batch by batch: x * gain + offset."""

    gain: float = 1.0 / 255.0
    offset: float = 0.0


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Dataset:
    """Samples and labels; immutable by convention, checked once.

    `x` is float32, uint8 (pixels, kept small and scaled batch by batch) or int64 (tokens);
    `y` is int64 `[m]` (classes) or float32 (regression).

    Raises:
        DataError: Lengths differ, something is empty or not finite, or a label is out of range.
    """

    name: str
    train_x: Array
    train_y: Array
    test_x: Array | None = None
    """None: the data has no test set; each node holds out a fifth of its own."""
    test_y: Array | None = None
    classes: int = 0
    """0: regression."""
    ids: NDArray[Any] | None = None
    """Whose each training sample is, by nature (a hospital, a writer)."""
    scaling: Scaling = Scaling()

    def __post_init__(self) -> None:
        _check(self.name, "training", self.train_x, self.train_y, self.classes)
        if (self.test_x is None) != (self.test_y is None):
            raise DataError(f"{self.name}: test_x and test_y come together, or not at all")
        if self.test_x is not None and self.test_y is not None:
            _check(self.name, "test", self.test_x, self.test_y, self.classes)
            if self.test_x.shape[1:] != self.train_x.shape[1:]:
                raise DataError(
                    f"{self.name}: a test sample has shape {self.test_x.shape[1:]}, "
                    f"a training sample {self.train_x.shape[1:]}"
                )
        if self.ids is not None and len(self.ids) != len(self.train_x):
            raise DataError(f"{self.name}: {len(self.ids)} ids for {len(self.train_x)} samples")

    def __len__(self) -> int:
        """Training samples."""
        return len(self.train_x)

    def take(self, indices: Indices) -> Self:
        """The same data set with these training samples only, in this order (a copy)."""
        ids = None if self.ids is None else self.ids[indices]
        return replace(self, train_x=self.train_x[indices], train_y=self.train_y[indices], ids=ids)

    def flattened(self) -> Self:
        """The same data set with each sample as one row of numbers."""
        test_x = None if self.test_x is None else self.test_x.reshape(len(self.test_x), -1)
        return replace(self, train_x=self.train_x.reshape(len(self), -1), test_x=test_x)


def dataset_from_arrays(
    name: str,
    x: Array,
    y: Array,
    *,
    test_x: Array | None = None,
    test_y: Array | None = None,
    ids: Array | None = None,
    classes: int | None = None,
) -> Dataset:
    """A data set from any arrays: the types are made right, the number of classes is counted.

    Floats become float32; uint8 stays (pixels, divided by 255 batch by batch); other integers
    become int64. Integer or boolean labels mean classes 0 .. C - 1, float labels regression.
    Give `classes` where the labels at hand may lack the last ones.

    Raises:
        DataError: As `Dataset`, or an array that holds no numbers.
    """
    if x.ndim < 1 or y.ndim < 1:
        raise DataError(
            f"{name}: x and y must be arrays of samples and labels, one for each sample"
        )
    train_y = _labels(name, y)
    held_y = None if test_y is None else _labels(name, test_y)
    if classes is None:
        known = [train_y] if held_y is None else [train_y, held_y]
        integer = train_y.dtype == np.int64
        classes = 1 + max(int(k.max()) for k in known if k.size) if integer and y.size else 0
        if classes > max(_CLASSES_SURE, train_y.size):
            raise DataError(
                f"{name}: labels reach up to {classes - 1}, with {train_y.size} of them: number the"
                " classes 0, 1, 2, ..., or give classes, how many there are"
            )
    return Dataset(
        name=name,
        train_x=_samples(name, x),
        train_y=train_y,
        test_x=None if test_x is None else _samples(name, test_x),
        test_y=held_y,
        classes=classes,
        ids=ids,
    )


def hold_out(name: str, size: int) -> tuple[Indices, Indices]:
    """Positions to train on and to test on: a random fifth that depends on the name alone."""
    order = permutation(0, name, "held-out", 0, size=size)
    return np.sort(order[size // HELD_OUT :]), np.sort(order[: size // HELD_OUT])


def _samples(name: str, x: Array) -> Array:
    if x.dtype == np.uint8:
        return x
    if np.issubdtype(x.dtype, np.floating) or x.dtype == np.bool_:
        with np.errstate(over="ignore"):  # What is too large becomes infinite, and is refused.
            return x.astype(np.float32, copy=False)
    if np.issubdtype(x.dtype, np.integer):
        return x.astype(np.int64, copy=False)
    raise DataError(f"{name}: samples of type {x.dtype}; give floats, integers or uint8 pixels")


def _labels(name: str, y: Array) -> Array:
    if np.issubdtype(y.dtype, np.integer) or y.dtype == np.bool_:
        return y.astype(np.int64, copy=False)
    if np.issubdtype(y.dtype, np.floating):
        return y.astype(np.float32, copy=False)
    raise DataError(
        f"{name}: labels of type {y.dtype}; number the classes 0, 1, 2, ... or give floats"
    )


def _check(name: str, part: str, x: Array, y: Array, classes: int) -> None:
    if len(x) != len(y):
        raise DataError(f"{name}: {len(x)} {part} samples but {len(y)} labels")
    if len(x) == 0:
        raise DataError(f"{name}: no {part} samples")
    if x.size == 0:
        raise DataError(f"{name}: {part} samples of shape {x.shape[1:]} hold no numbers")
    if x.dtype == np.float32 and not all(
        # In pieces: a map of all of it would be a quarter of its size.
        np.isfinite(x[begin : begin + _PIECE]).all()
        for begin in range(0, len(x), _PIECE)
    ):
        raise DataError(f"{name}: a {part} sample is not finite (nan or infinity)")
    if not np.isfinite(y).all():
        raise DataError(f"{name}: a {part} label is not finite (nan or infinity)")
    if not classes:
        return
    if y.ndim != 1 or y.dtype != np.int64:
        raise DataError(f"{name}: class labels must be one integer per sample, not {y.shape}")
    if int(y.min()) < 0 or int(y.max()) >= classes:
        raise DataError(
            f"{name}: {part} labels reach from {int(y.min())} to {int(y.max())}; "
            f"allowed are 0 to {classes - 1}"
        )
