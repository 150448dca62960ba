"""Every data set by its name in the experiment file."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np

from p2pfl.errors import ConfigError, DataError
from p2pfl.learning.dataset import Dataset, dataset_from_arrays
from p2pfl.learning.own import call_with, is_own, load_function
from p2pfl.learning.sources.digits import load_digits
from p2pfl.learning.sources.heart_disease import load_heart_disease
from p2pfl.learning.sources.images import load_images
from p2pfl.learning.sources.npz import load_npz
from p2pfl.learning.sources.shakespeare import load_shakespeare

KINDS: Final = (
    "digits",
    "mnist",
    "fashion-mnist",
    "heart-disease",
    "shakespeare",
    "npz",
    "module:function",
)
_ARRAYS: Final = frozenset({"x", "y", "test_x", "test_y", "ids", "classes"})


def load_dataset(
    kind: str, *, folder: str = "", base: str = "", seed: int = 0, min_sequences: int = 10
) -> Dataset:
    """The data set that an experiment file names.

    `folder` is where its files lie (npz: the file itself); `base` is the experiment file's
    folder, where the user's own modules are looked for and relative files begin.

    A function of the user's is called with those of the keywords `folder` and `seed` that it
    names, and returns a `Dataset`, a mapping with x, y and, if wanted, test_x, test_y, ids and
    classes, or a tuple (x, y) or (x, y, test_x, test_y); see `dataset_from_arrays` for types.

    Raises:
        ConfigError: No such kind, or no such function.
        DataError: The data is missing, torn, or not what the kind promises.
    """
    where = str(Path(base, folder).expanduser()) if folder else ""
    if kind == "digits":
        return load_digits()
    if kind in {"mnist", "fashion-mnist"}:
        return load_images(kind, folder=where)
    if kind == "heart-disease":
        return load_heart_disease(folder=where)
    if kind == "shakespeare":
        return load_shakespeare(folder=where, min_sequences=min_sequences)
    if kind == "npz" or kind.endswith(".npz"):
        return _npz(kind, where, base)
    if is_own(kind):
        function = load_function(kind, folder=base)
        return _from_user(kind, call_with(function, {"folder": where, "seed": seed}))
    raise ConfigError(f"data.kind {kind!r} is unknown; allowed are {', '.join(KINDS)}")


def _npz(kind: str, where: str, base: str) -> Dataset:
    if kind != "npz":
        return load_npz(Path(base, kind).expanduser())
    if not where:
        raise ConfigError("data.kind 'npz' needs data.folder, the path of the .npz file")
    path = Path(where)
    if path.is_dir():
        files = sorted(path.glob("*.npz"))
        if len(files) != 1:
            raise DataError(f"{path}: {len(files)} .npz files in this folder; name the one")
        path = files[0]
    return load_npz(path)


def _from_user(spec: str, value: object) -> Dataset:
    if isinstance(value, Dataset):
        return value
    if isinstance(value, Mapping):
        unknown = sorted(str(key) for key in value.keys() - _ARRAYS)
        if unknown or not {"x", "y"} <= value.keys():
            raise DataError(
                f"{spec}: the mapping needs x and y, and may have test_x, test_y, ids and "
                f"classes; found {', '.join(sorted(map(str, value))) or 'nothing'}"
            )
        return dataset_from_arrays(
            spec,
            np.asarray(value["x"]),
            np.asarray(value["y"]),
            test_x=None if value.get("test_x") is None else np.asarray(value["test_x"]),
            test_y=None if value.get("test_y") is None else np.asarray(value["test_y"]),
            ids=None if value.get("ids") is None else np.asarray(value["ids"]),
            classes=value.get("classes"),
        )
    if isinstance(value, tuple) and len(value) in {2, 4}:
        names = ("x", "y", "test_x", "test_y")
        return _from_user(spec, dict(zip(names, value, strict=False)))
    raise DataError(
        f"{spec}: returned {type(value).__name__}; expected a Dataset, a mapping with x and y, "
        "or a tuple (x, y) or (x, y, test_x, test_y)"
    )
