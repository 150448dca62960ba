"""Data that is decoded once on a machine, and then shared by all processes that learn from it.

What a file holds is written to the user's cache as plain arrays, and every process maps these: the
system keeps one copy of what is read. Private is only what a process changes, which is nothing.
"""

import hashlib
import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

import numpy as np

from p2pfl.learning.sources.folders import cache_folder
from p2pfl.types import Array

WORTH_BYTES: Final = 16 << 20
"""Below this reading anew is quick and takes little."""
_PLACE: Final = "decoded"


def decoded(files: Iterable[Path], decode: Callable[[], Mapping[str, Array]]) -> dict[str, Array]:
    """The arrays that `decode` makes of these files, mapped from the cache where they are large.

    The cache holds one version of each group of files; one that has changed since (its size or its
    time) is decoded anew. Where the cache cannot be written, the arrays are the process's own.

    Raises:
        Whatever `decode` does.
    """
    paths = [file.resolve() for file in files]
    states = [path.stat() for path in paths]
    name = _digest(str(path) for path in paths)
    state = _digest(f"{s.st_size} {s.st_mtime_ns}" for s in states)
    place = cache_folder(_PLACE) / f"{name}-{state}"
    with suppress(OSError, ValueError):
        return _mapped(place)
    arrays = {key: np.asarray(array, order="C") for key, array in decode().items()}
    if sum(array.nbytes for array in arrays.values()) < WORTH_BYTES:
        return arrays
    with suppress(OSError, ValueError):
        _write(place, arrays)
        _forget_others(place, name)
        return _mapped(place)
    return arrays


def _mapped(place: Path) -> dict[str, Array]:
    """All arrays of a folder; changed pages would be private ("c"), and stay off the disk."""
    files = sorted(place.glob("*.npy"))
    if not files:
        raise FileNotFoundError(place)
    return {
        # As plain arrays: the subclass slows every view of them.
        file.stem: np.asarray(np.load(file, mmap_mode="c", allow_pickle=False))
        for file in files
    }


def _write(place: Path, arrays: Mapping[str, Array]) -> None:
    """All or nothing: written beside, then renamed; who comes second uses what is there."""
    place.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(dir=place.parent, prefix=".new-"))
    try:
        for key, array in arrays.items():
            np.save(beside / f"{key}.npy", array, allow_pickle=False)
        beside.rename(place)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _forget_others(place: Path, name: str) -> None:
    """Earlier versions of the same files; who has mapped them keeps them until it ends."""
    for other in place.parent.glob(f"{name}-*"):
        if other != place:
            shutil.rmtree(other, ignore_errors=True)


def _digest(words: Iterable[str]) -> str:
    return hashlib.blake2b("\n".join(words).encode(), digest_size=8).hexdigest()
