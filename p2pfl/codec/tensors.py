"""Flat float32 models to little-endian bytes and back, in one of three widths.

The loops run over cache-sized blocks, never over elements.
"""

from typing import Final, Literal, cast

import numpy as np
from numpy.typing import NDArray

from p2pfl.errors import ProtocolError
from p2pfl.types import Extra, Vector, frozen

Dtype = Literal["float32", "float16", "bfloat16"]

ITEM_BYTES: Final[dict[str, int]] = {"float32": 4, "float16": 2, "bfloat16": 2}

ExtraDtype = Literal["float32", "uint32"]

EXTRA_DTYPES: Final[dict[str, str]] = {"float32": "<f4", "uint32": "<u4"}
"""What travels beside a model is never rounded: four bytes each."""

EXTRA_ITEM_BYTES: Final = 4

_BLOCK: Final = 65536
"""Elements per block: 256 KiB of float32 stay in the second-level cache between passes."""

_FLOAT16_MAX: Final = 65504.0
_BFLOAT16_MAX: Final = 0x7F7F
_BFLOAT16_INFINITY: Final = 0x7F80
_BFLOAT16_NAN: Final = 0x7FC0


def is_finite(vector: Vector) -> bool:
    """Whether no number is NaN or infinite, at the price of one pass.

    A sum of squares is finite only if every term is. It may overflow for large finite numbers, so
    an infinite one is looked at again, number by number.
    """
    blocks = (vector[start : start + _BLOCK] for start in range(0, vector.size, _BLOCK))
    with np.errstate(over="ignore", invalid="ignore"):
        return all(np.isfinite(np.dot(block, block)) or _look(block) for block in blocks)


def _look(block: Vector) -> bool:
    return bool(np.isfinite(block).all())


def payload_of(vector: Vector, dtype: Dtype) -> memoryview:
    """The vector's bytes in `dtype`; for float32 on little-endian machines a view, not a copy.

    Rounds to nearest, ties to even. Finite numbers beyond the largest of the narrow type become
    that largest (they would arrive as infinite and the whole model be refused).
    """
    if dtype == "float32":
        numbers = np.ascontiguousarray(vector, dtype="<f4")
        return numbers.view(np.uint8).data.toreadonly()
    if dtype == "float16":
        return _to_float16(vector).view(np.uint8).data.toreadonly()
    return _to_bfloat16(vector).view(np.uint8).data.toreadonly()


def vector_of(payload: memoryview, dtype: Dtype) -> Vector:
    """The read-only vector `[d]` of a payload; for float32 a view that keeps the bytes alive.

    Raises:
        ProtocolError: a number is not finite (`non_finite`).
    """
    if dtype == "float32":
        vector = np.frombuffer(payload, dtype="<f4").astype(np.float32, copy=False)
    elif dtype == "float16":
        vector = np.frombuffer(payload, dtype="<f2").astype(np.float32)
    else:
        bits = np.frombuffer(payload, dtype="<u2").astype(np.uint32)
        bits <<= 16
        vector = bits.view(np.float32)
    if not is_finite(vector):
        raise ProtocolError("non_finite", "a number of the model is NaN or infinite")
    return frozen(vector)


def extra_payload(extra: Extra) -> memoryview:
    """The bytes of what travels beside a model; a view on little-endian machines."""
    numbers = np.ascontiguousarray(extra, dtype=EXTRA_DTYPES[str(extra.dtype)])
    return numbers.view(np.uint8).data.toreadonly()


def extra_of(payload: memoryview, dtype: ExtraDtype) -> Extra:
    """The read-only numbers of such bytes; a view that keeps them alive.

    Raises:
        ProtocolError: a number is not finite (`non_finite`).
    """
    if dtype == "float32":
        return vector_of(payload, dtype)
    return frozen(np.frombuffer(payload, dtype="<u4").astype(np.uint32, copy=False))


def _to_float16(vector: Vector) -> NDArray[np.float16]:
    out = np.empty(vector.size, dtype="<f2")
    clipped = np.empty(min(_BLOCK, vector.size), dtype=np.float32)
    for start in range(0, vector.size, _BLOCK):
        block = vector[start : start + _BLOCK]
        room = clipped[: block.size]
        np.clip(block, -_FLOAT16_MAX, _FLOAT16_MAX, out=room)
        room[np.isinf(block)] = np.inf
        out[start : start + block.size] = room
    return out


def _to_bfloat16(vector: Vector) -> NDArray[np.uint16]:
    """Add half of the last kept place (and its own last bit: ties to even), keep the high half."""
    out = np.empty(vector.size, dtype="<u2")
    sums = np.empty(min(_BLOCK, vector.size), dtype=np.uint32)
    everywhere = np.ascontiguousarray(vector, dtype=np.float32).view(np.uint32)
    for start in range(0, vector.size, _BLOCK):
        block = vector[start : start + _BLOCK]
        bits = everywhere[start : start + _BLOCK]
        rounded = sums[: bits.size]
        np.right_shift(bits, 16, out=rounded)
        rounded &= 1
        rounded += 0x7FFF
        rounded += bits
        rounded >>= 16
        out[start : start + bits.size] = rounded
        if not is_finite(block) or (rounded & _BFLOAT16_INFINITY == _BFLOAT16_INFINITY).any():
            _mend(out[start : start + bits.size], block)
    return cast("NDArray[np.uint16]", out)


def _mend(out: NDArray[np.uint16], block: Vector) -> None:
    """Set right what rounding did to the block's infinities, NaNs and largest finite numbers."""
    sign = (np.signbit(block) * 0x8000).astype(np.uint16)
    overflowed = ((out & _BFLOAT16_INFINITY) == _BFLOAT16_INFINITY) & np.isfinite(block)
    out[overflowed] = sign[overflowed] | _BFLOAT16_MAX
    out[np.isnan(block)] = _BFLOAT16_NAN
