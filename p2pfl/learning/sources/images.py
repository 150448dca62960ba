"""MNIST and Fashion-MNIST: 60,000 and 10,000 images of 28x28 pixels, kept as bytes.

Sources: LeCun, Cortes and Burges, The MNIST database of handwritten digits, 1998; Xiao, Rasul and
Vollgraf, Fashion-MNIST: a novel image dataset for benchmarking machine learning algorithms, 2017.
"""

from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from p2pfl.errors import DataError
from p2pfl.learning.dataset import Dataset, Scaling
from p2pfl.learning.decoded import decoded
from p2pfl.learning.sources.folders import data_folders, find_file, find_folder
from p2pfl.learning.sources.idx import read_idx
from p2pfl.learning.sources.openml import Fetch, cached_images, fetch_openml

FILES: Final = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
_MEAN_AND_DEVIATION: Final = {"mnist": (0.1307, 0.3081), "fashion-mnist": (0.2860, 0.3530)}
"""Of the training pixels, after division by 255."""
_TEST_PART: Final = 7
"""OpenML has both sets in one table; the last seventh, 10,000 rows, is the test set."""


def load_images(name: str, *, folder: str = "", fetch: Fetch = fetch_openml) -> Dataset:
    """`mnist` or `fashion-mnist`, `[m, 1, 28, 28]`, from files or else from OpenML.

    Looked for in `folder`, if given, and nowhere else; otherwise below P2PFL_DATA, ./data,
    ../shared/data and the user's cache, at last on the network.

    Raises:
        DataError: A file is missing or torn, its counts differ, or the network failed.
    """
    found = find_folder(name, folder=folder, files=FILES)
    if found is None and folder:
        raise DataError(f"{name}: {folder} lacks one of {', '.join(FILES)} (plain or .gz)")
    if found is not None:
        train = _read(found, FILES[0], FILES[1])
        test = _read(found, FILES[2], FILES[3])
    else:
        train, test = _fetched(name, fetch)
    mean, deviation = _MEAN_AND_DEVIATION[name]
    return Dataset(
        name=name,
        train_x=train[0][:, None],
        train_y=train[1].astype(np.int64),
        test_x=test[0][:, None],
        test_y=test[1].astype(np.int64),
        classes=10,
        scaling=Scaling(1.0 / (255.0 * deviation), -mean / deviation),
    )


_Part = tuple[NDArray[np.uint8], NDArray[np.uint8]]


def _read(folder: Path, images_file: str, labels_file: str) -> _Part:
    images_path, labels_path = find_file(folder, images_file), find_file(folder, labels_file)
    assert images_path is not None
    assert labels_path is not None
    arrays = decoded(
        [images_path, labels_path],
        lambda: {"images": read_idx(images_path, axes=3), "labels": read_idx(labels_path, axes=1)},
    )
    images, labels = arrays["images"], arrays["labels"]
    if len(images) != len(labels):
        raise DataError(f"{labels_path}: {len(labels)} labels for {len(images)} images")
    return images, labels


def _fetched(name: str, fetch: Fetch) -> tuple[_Part, _Part]:
    try:
        images, labels = cached_images(name, fetch=fetch)
    except DataError as error:
        places = ", ".join(str(place) for place in data_folders(name))
        raise DataError(f"{error}; put its files into one of {places}") from error
    cut = len(labels) - len(labels) // _TEST_PART
    return (images[:cut], labels[:cut]), (images[cut:], labels[cut:])
