"""The IDX file format of MNIST, plain or gzipped, read with every length checked.

Source: LeCun, Cortes and Burges, The MNIST database of handwritten digits, 1998.
"""

import gzip
import math
import struct
import zlib
from pathlib import Path
from typing import BinaryIO, Final

import numpy as np
from numpy.typing import NDArray

from p2pfl.errors import DataError

_UINT8: Final = 0x08
_BYTES_MAX: Final = 1 << 31
"""No file of ours is larger; a torn header must not ask for all memory."""


def read_idx(path: Path, *, axes: int) -> NDArray[np.uint8]:
    """The array of one IDX file of unsigned bytes with so many axes.

    Raises:
        DataError: The file is torn, of another kind, or longer than it says.
    """
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            return _read(file, path, axes)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: torn or unreadable ({error}); fetch it again") from error


def _read(file: BinaryIO | gzip.GzipFile, path: Path, axes: int) -> NDArray[np.uint8]:
    magic = file.read(4)
    expected = bytes((0, 0, _UINT8, axes))
    if magic != expected:
        raise DataError(
            f"{path}: wrong magic {magic.hex() or 'nothing'}, expected {expected.hex()}: "
            f"not an IDX file of bytes with {axes} axes"
        )
    header = file.read(4 * axes)
    if len(header) != 4 * axes:
        raise DataError(f"{path}: torn in the header; fetch it again")
    shape = struct.unpack(f">{axes}I", header)
    size = math.prod(shape)
    if size > _BYTES_MAX:
        raise DataError(f"{path}: the header promises {size} bytes, the limit is {_BYTES_MAX}")
    content = file.read(size + 1)
    if len(content) != size:
        found = "more" if len(content) > size else f"only {len(content)}"
        raise DataError(f"{path}: the header promises {size} bytes, found {found}")
    return np.frombuffer(content, np.uint8).reshape(shape)
