"""Flat records as JSON objects and back: strict about keys and types, exact about numbers.

JSON has no nan and no infinity: where a number is meant they travel as the words "nan", "inf" and
"-inf". Everything else is what JSON says it is.
"""

import dataclasses
import json
import math
import types
from collections.abc import Callable, Hashable, Mapping
from functools import cache
from typing import (
    Final,
    Literal,
    NewType,
    TypeVar,
    Union,
    cast,
    get_args,
    get_origin,
    get_type_hints,
)

from p2pfl.errors import DataError

T = TypeVar("T")

_WORDS: Final = ("nan", "inf", "-inf")


def to_object(record: object, *, leave_out: tuple[str, ...] = ()) -> dict[str, object]:
    """A record (a dataclass of plain values) as a JSON object."""
    assert dataclasses.is_dataclass(record)
    return {
        field.name: _plain(getattr(record, field.name))
        for field in dataclasses.fields(record)
        if field.name not in leave_out
    }


def to_line(record: Mapping[str, object]) -> str:
    """One JSON object on one line, without its line end."""
    return json.dumps(record, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def from_object(kind: type[T], found: object, *, where: str) -> T:
    """The record that `to_object` wrote.

    Raises:
        DataError: `where`, and what is missing, unknown or of the wrong type there.
    """
    if not isinstance(found, dict):
        raise DataError(f"{where}: is not a JSON object")
    hints, needed = _grammar(cast("Hashable", kind))
    for name in needed:
        if name not in found:
            raise DataError(f"{where}: {name} is missing")
    for key in found:
        if key not in hints:
            raise DataError(f"{where}: {key} is unknown; was it written by a newer p2pfl?")
    values = {
        key: from_plain(hints[key], value, where=f"{where}: {key}") for key, value in found.items()
    }
    make: Callable[..., T] = kind
    return make(**values)


@cache
def _grammar(kind: Hashable) -> tuple[dict[str, object], tuple[str, ...]]:
    """The annotations of a dataclass, and the names without which there is none."""
    assert isinstance(kind, type)
    assert dataclasses.is_dataclass(kind)
    needed = tuple(
        field.name
        for field in dataclasses.fields(kind)
        if field.default is field.default_factory is dataclasses.MISSING
    )
    return get_type_hints(kind), needed


def from_plain(hint: object, value: object, *, where: str) -> object:
    """One value of the annotated type.

    Raises:
        DataError: it is of another type.
    """
    origin, arguments = get_origin(hint), get_args(hint)
    if isinstance(hint, NewType):
        return from_plain(hint.__supertype__, value, where=where)
    if origin in {Union, types.UnionType}:
        (inner,) = (each for each in arguments if each is not type(None))
        return None if value is None else from_plain(inner, value, where=where)
    if origin is Literal and value in arguments:
        return value
    if origin is tuple and isinstance(value, list):
        return _tuple(arguments, value, where=where)
    if origin is Mapping and isinstance(value, dict):
        return {key: from_plain(arguments[1], each, where=where) for key, each in value.items()}
    if hint is float and isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    if hint is float and value in _WORDS:
        return float(str(value))
    if type(value) is hint:
        return value
    raise DataError(f"{where} is {json.dumps(value)[:60]}, which is of the wrong type")


def _tuple(arguments: tuple[object, ...], value: list[object], *, where: str) -> tuple[object, ...]:
    if len(arguments) == 2 and arguments[1] is Ellipsis:  # noqa: PLR2004 - tuple[X, ...] has two
        arguments = (arguments[0],) * len(value)
    if len(arguments) != len(value):
        raise DataError(f"{where} has {len(value)} values; expected {len(arguments)}")
    return tuple(
        from_plain(hint, each, where=where) for hint, each in zip(arguments, value, strict=True)
    )


def _plain(value: object) -> object:
    """What `json` writes without loss: plain Python values, and words for what JSON lacks."""
    if isinstance(value, (tuple, list)):
        return [_plain(each) for each in value]
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, float) and not math.isfinite(value):
        return str(float(value))
    if value is None or type(value) in {bool, int, float, str}:
        return value
    if isinstance(value, str):
        return str(value)
    # numpy's scalars are no Python numbers to `json`.
    item: Callable[[], object] | None = getattr(value, "item", None)
    assert item is not None, f"{type(value).__name__} is no plain value"
    return _plain(item())
