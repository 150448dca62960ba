"""The user's own arrays in one `.npz` file."""

from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from p2pfl.errors import DataError
from p2pfl.learning.dataset import Dataset, dataset_from_arrays
from p2pfl.learning.decoded import decoded
from p2pfl.types import Array


def load_npz(path: Path) -> Dataset:
    """The arrays x, y and, if there, test_x, test_y, ids and classes of one file.

    Without a test set each node holds out a fifth of its own samples. Types: see
    `dataset_from_arrays`.

    Raises:
        DataError: The file is missing, torn, pickled, or lacks x or y.
    """
    try:
        arrays = decoded([path], lambda: _read(path))
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file") from error
    except (OSError, EOFError, ValueError, TypeError, AttributeError, BadZipFile) as error:
        raise DataError(f"{path}: not a readable .npz file of plain arrays ({error})") from error
    for key in ("x", "y"):
        if key not in arrays:
            raise DataError(f"{path}: no array {key!r}; found {', '.join(arrays) or 'nothing'}")
    return dataset_from_arrays(
        str(path),
        arrays["x"],
        arrays["y"],
        test_x=arrays.get("test_x"),
        test_y=arrays.get("test_y"),
        ids=arrays.get("ids"),
        classes=_classes(path, arrays["classes"]) if "classes" in arrays else None,
    )


def _classes(path: Path, array: Array) -> int:
    if array.size != 1 or not np.issubdtype(array.dtype, np.integer) or array.item() < 1:
        raise DataError(f"{path}: classes must be one whole number from 1 on, how many there are")
    return int(array.item())


def _read(path: Path) -> dict[str, Array]:
    # Opened here: of a torn file numpy leaves its own handle open.
    with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
        return {key: file[key] for key in file.files}
