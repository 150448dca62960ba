"""Data sets of images from OpenML, fetched once with scikit-learn and kept in the user's cache.

Source: Vanschoren et al., OpenML: networked science in machine learning, 2013.
"""

import os
import tempfile
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from p2pfl.errors import DataError
from p2pfl.learning.sources.folders import cache_folder
from p2pfl.types import Array

OPENML_ID: Final = {"mnist": 554, "fashion-mnist": 40996}
"""OpenML's numbers of `mnist_784` and `Fashion-MNIST`, training images first."""

Images = tuple[NDArray[np.uint8], NDArray[np.uint8]]
"""Images `[m, rows, columns]` and labels `[m]`."""

Fetch = Callable[[str], tuple[Array, Array]]
"""From a name to pixels `[m, rows * columns]` and labels `[m]`."""


def fetch_openml(name: str) -> tuple[Array, Array]:
    """Pixels `[m, 784]` and labels `[m]` of a data set by our name, over the network.

    Takes a minute or so: OpenML's format is text. What is on its way lies in the cache.

    Raises:
        DataError: The network or the server failed, or what came is not what was asked for.
    """
    # scikit-learn takes a second to import, so only who fetches pays.
    from sklearn.datasets import fetch_openml as fetch

    cache = cache_folder(name)
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as folder, warnings.catch_warnings():
            # Each retry warns; what matters is whether it succeeds in the end.
            warnings.simplefilter("ignore")
            bunch = fetch(
                data_id=OPENML_ID[name],
                as_frame=False,
                parser="liac-arff",  # The other parser needs pandas.
                data_home=folder,  # Without one it downloads twice, the first time to checksum.
                n_retries=1,
            )
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"{name}: cannot fetch it from OpenML ({error})") from error
    return bunch.data, bunch.target


def cached_images(name: str, *, fetch: Fetch = fetch_openml) -> Images:
    """Images and labels from the cache, fetched into it first if they are not there.

    Safe for several processes at once: each writes a file of its own and renames it into place.

    Raises:
        DataError: The cached file is torn or cannot be written, or `fetch` fails.
    """
    path = cache_folder(name) / "openml.npz"
    if not path.is_file():
        x, y = fetch(name)
        images, labels = _as_images(name, x, y)
        try:
            _write(path, images, labels)
        except OSError as error:
            raise DataError(f"{path}: cannot be written ({error})") from error
    try:
        # Opened here: of a torn file numpy leaves its own handle open.
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            return file["x"], file["y"]
    except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: torn ({error}); delete it, and it is fetched again") from error


def _as_images(name: str, x: Array, y: Array) -> Images:
    """The same as bytes in squares.

    Raises:
        DataError: The rows are no square images, or a value is no byte.
    """
    side = round(x.shape[1] ** 0.5) if x.ndim == 2 else 0  # noqa: PLR2004 - rows and pixels
    if not side or side * side != x.shape[1] or len(x) != len(y):
        raise DataError(f"{name}: OpenML sent {x.shape} pixels for {len(y)} labels")
    images, labels = x.astype(np.uint8), y.astype(np.float64).astype(np.uint8)
    if not np.array_equal(images, x):
        raise DataError(f"{name}: OpenML sent pixels that are no bytes")
    return images.reshape(-1, side, side), labels


def _write(path: Path, images: NDArray[np.uint8], labels: NDArray[np.uint8]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            np.savez_compressed(file, x=images, y=labels)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
