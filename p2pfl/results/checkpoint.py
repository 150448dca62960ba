"""What a node remembers of itself over its death: one file, replaced whole or not at all.

A safetensors file: the arrays of the algorithm's state and of the optimizer, and in its metadata
the rest as JSON. No pickle: a file can hold no code, and names only the classes that the node's own
algorithm is made of.
"""

import json
import os
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from p2pfl.algorithms.base import Algorithm
from p2pfl.errors import DataError
from p2pfl.messages import Saved
from p2pfl.types import Array, NodeId, Vector, frozen

SUFFIX: Final = ".checkpoint"
FORMAT: Final = 1

_MOMENTUM: Final = "optimizer"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Checkpoint:
    """One node at one moment."""

    node: NodeId
    digest: str
    """Of the experiment: another one's checkpoint is refused."""
    schema: str
    saved: Saved
    momentum: Vector | None
    updates: int
    """Trainings done: the counter of durations."""


def checkpoint_file(folder: Path, node: NodeId) -> Path:
    """Where a node keeps its newest checkpoint."""
    return folder / f"{node}{SUFFIX}"


def write_checkpoint(folder: Path, checkpoint: Checkpoint) -> int:
    """Replace the node's checkpoint: written, synced, then renamed. Returns its bytes.

    A crash at any moment leaves the old file or the new one, never a torn one.

    Raises:
        OSError: the disk does not take it; the old checkpoint is still there.
    """
    data = encode_checkpoint(checkpoint)
    folder.mkdir(parents=True, exist_ok=True)
    file = checkpoint_file(folder, checkpoint.node)
    fresh = file.with_suffix(f"{SUFFIX}.part")
    try:
        with fresh.open("wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        fresh.replace(file)
    finally:
        with suppress(FileNotFoundError):
            fresh.unlink()
    _sync_folder(folder)
    return len(data)


def read_checkpoint(
    folder: Path,
    node: NodeId,
    *,
    algorithm: Algorithm[Any],
    digest: str,
    schema: str,
) -> Checkpoint | None:
    """The node's newest checkpoint, or None if it has none yet.

    Raises:
        DataError: the file is damaged, or another experiment's or model's; names it.
    """
    file = checkpoint_file(folder, node)
    found = load_checkpoint(file, algorithm)
    if found is None:
        return None
    for what, its, wanted in (
        ("node", found.node, node),
        ("experiment", found.digest, digest),
        ("model", found.schema, schema),
    ):
        if its != wanted:
            raise DataError(
                f"{file}: is of the {what} {its}, and this is {wanted}; give another folder"
            )
    return found


def load_checkpoint(file: Path, algorithm: Algorithm[Any]) -> Checkpoint | None:
    """The checkpoint in a file, of whatever experiment, or None if there is no file.

    Raises:
        DataError: the file is damaged, or not of this algorithm; names it.
    """
    try:
        data = file.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise DataError(f"{file}: cannot be read: {error.strerror}") from error
    try:
        return _decode(data, _classes(algorithm))
    except (SafetensorError, KeyError, TypeError, ValueError, IndexError) as error:
        raise DataError(
            f"{file}: is no checkpoint that this algorithm can go on from ({error}); move it away"
            " to start from the neighbours' models"
        ) from error


def _sync_folder(folder: Path) -> None:
    """Make the rename itself durable; some systems cannot open folders."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


# ---------------------------------------------------------------- the file


def encode_checkpoint(checkpoint: Checkpoint) -> bytes:
    """The whole file."""
    arrays: dict[str, Array] = {}
    state = _plain(checkpoint.saved.state, arrays)
    if checkpoint.momentum is not None:
        arrays[_MOMENTUM] = np.ascontiguousarray(checkpoint.momentum)
    head = {
        "format": FORMAT,
        "node": checkpoint.node,
        "digest": checkpoint.digest,
        "schema": checkpoint.schema,
        "version": checkpoint.saved.version,
        "steps": checkpoint.saved.steps,
        "updates": checkpoint.updates,
        "state": state,
    }
    data: bytes = save(arrays, metadata={"p2pfl": json.dumps(head)})
    return data


def _decode(data: bytes, known: Mapping[str, type[Any]]) -> Checkpoint:
    size = int.from_bytes(data[:8], "little")
    head = json.loads(json.loads(data[8 : 8 + size])["__metadata__"]["p2pfl"])
    if head["format"] != FORMAT:
        raise ValueError(f"its format is {head['format']}, this version reads {FORMAT}")
    arrays = {name: frozen(array) for name, array in load(data).items()}
    state = _alive(head["state"], arrays, known)
    return Checkpoint(
        node=NodeId(head["node"]),
        digest=head["digest"],
        schema=head["schema"],
        saved=Saved(state, int(head["version"]), int(head["steps"])),
        momentum=arrays.get(_MOMENTUM),
        updates=int(head["updates"]),
    )


def _plain(value: object, arrays: dict[str, Array]) -> object:
    """JSON for a value; its arrays go to `arrays`, under the names that the JSON has."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, np.ndarray):
        name = f"a{len(arrays)}"
        arrays[name] = np.ascontiguousarray(value)
        return {"array": name}
    if isinstance(value, Mapping):
        return {"table": [[str(key), _plain(each, arrays)] for key, each in value.items()]}
    names = _names(value)
    if names is not None:
        parts = {name: _plain(getattr(value, name), arrays) for name in names}
        return {"class": type(value).__qualname__, "parts": parts}
    if isinstance(value, (tuple, list)):
        return {"items": [_plain(each, arrays) for each in value]}
    raise TypeError(
        f"a checkpoint cannot hold a {type(value).__name__}: Algorithm.resumed says what it can"
    )


def _alive(
    plain: Any,  # noqa: ANN401 - whatever JSON holds; anything unforeseen raises
    arrays: Mapping[str, Array],
    known: Mapping[str, type[Any]],
) -> Any:  # noqa: ANN401
    """The value of such JSON."""
    if not isinstance(plain, dict):
        return plain
    if "array" in plain:
        return arrays[plain["array"]]
    if "table" in plain:
        return {key: _alive(each, arrays, known) for key, each in plain["table"]}
    if "items" in plain:
        return tuple(_alive(each, arrays, known) for each in plain["items"])
    make: Callable[..., Any] = known[plain["class"]]
    return make(**{name: _alive(each, arrays, known) for name, each in plain["parts"].items()})


def _classes(algorithm: Algorithm[Any]) -> Mapping[str, type[Any]]:
    """The records that the modules of the algorithm and its bases make its state of."""
    modules = dict.fromkeys(each.__module__ for each in reversed(type(algorithm).__mro__))
    there = [value for module in modules for value in vars(sys.modules[module]).values()]
    records = [each for each in there if isinstance(each, type)]
    return {
        record.__qualname__: record
        for record in records
        if is_dataclass(record) or hasattr(record, "_fields")
    }


def _names(value: object) -> tuple[str, ...] | None:
    """The field names of a dataclass or a named tuple."""
    if is_dataclass(value) and not isinstance(value, type):
        return tuple(field.name for field in fields(value))
    return getattr(value, "_fields", None)
