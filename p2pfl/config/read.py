"""Mappings to frozen dataclasses: strict about keys and types, and helpful about mistakes.

The reader knows nothing of experiments: a dataclass's annotations are the whole grammar.
"""

import dataclasses
import difflib
import json
import math
import types
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from p2pfl.errors import ConfigError

T = TypeVar("T")

_SHOWN_CHARACTERS: Final = 60
"""A found value is quoted up to this length; the rest is in the user's own file."""

_SCALARS: Final[dict[object, str]] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a text in quotes",
}


@dataclass(frozen=True, slots=True)
class Place:
    """Where a value stands: the file (or other source) and the dotted key in it."""

    source: str
    key: str = ""

    def at(self, name: object) -> "Place":
        """The place one key, or one position in a list, further down."""
        if isinstance(name, int):
            return Place(self.source, f"{self.key}[{name}]")
        return Place(self.source, f"{self.key}.{name}" if self.key else str(name))

    def error(self, sentence: str) -> ConfigError:
        """The user's mistake at this place, as one line."""
        return ConfigError(f"{self.source}: {self.key} {sentence}".replace(":  ", ": "))


def suggestion(found: str, allowed: Iterable[str]) -> str:
    """`; did you mean x?` if one of the allowed names is close to what was found, else nothing."""
    close = difflib.get_close_matches(found, list(allowed), n=1)
    return f'; did you mean "{close[0]}"?' if close else ""


def shown(value: object) -> str:
    """A value as it would stand in the file, shortened."""
    if value is None:
        return "nothing"
    if isinstance(value, Mapping):
        return "a table"
    if isinstance(value, (bool, str, int, float)):
        text = json.dumps(value, ensure_ascii=False)
    elif isinstance(value, (list, tuple)):
        text = f"[{', '.join(shown(each) for each in value[:_SHOWN_CHARACTERS])}]"
    else:
        text = str(value)
    return text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "..."


def read_dataclass(kind: type[T], table: object, place: Place) -> T:
    """An instance of the dataclass `kind` from a table.

    Raises:
        ConfigError: an unknown or a missing key, or a value of the wrong type.
    """
    if not isinstance(table, Mapping):
        raise place.error(f"is {shown(table)}; allowed: a table of {_names(kind)}")
    hints = get_type_hints(kind)
    for key in table:
        if key not in hints:
            raise place.at(key).error(
                f"is unknown{suggestion(str(key), hints)} (allowed here: {_names(kind)})"
            )
    values: dict[str, object] = {}
    for name, required in _fields(kind).items():
        if name in table:
            values[name] = _read(hints[name], table[name], place.at(name))
        elif required:
            raise place.at(name).error(f"is missing; needed: {_described(hints[name])}")
    build: Callable[..., T] = kind
    return build(**values)


def _fields(kind: type[object]) -> dict[str, bool]:
    """Each field's name, and whether the file must give it."""
    assert dataclasses.is_dataclass(kind)
    return {
        field.name: field.default is dataclasses.MISSING
        and field.default_factory is dataclasses.MISSING
        for field in dataclasses.fields(kind)
    }


def _names(kind: type[object]) -> str:
    return ", ".join(_fields(kind))


def _read(hint: object, value: object, place: Place) -> object:
    """A value of the annotated type, or the error that says what is allowed."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in {Union, types.UnionType}:
        inner = [each for each in arguments if each is not type(None)]
        words = [each for each in inner if get_origin(each) is Literal]
        # A word or a number: what is no word is to be the number.
        chosen = words if words and isinstance(value, str) else [e for e in inner if e not in words]
        return _read(chosen[0], value, place)
    if origin is Literal:
        return _read_choice(arguments, value, place)
    if origin is tuple:
        return _read_tuple(hint, value, place)
    if origin is Mapping:
        return _read_mapping(hint, value, place)
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return read_dataclass(hint, value, place)
    return _read_scalar(hint, value, place)


def _read_scalar(hint: object, value: object, place: Place) -> object:
    assert hint in _SCALARS, f"the reader does not know {hint}"
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return _finite(value, place)
    # In Python a bool is an int; in an experiment file `batch_size = true` is a mistake.
    if type(value) is not hint:
        raise _wrong(hint, value, place)
    return _finite(value, place) if isinstance(value, float) else value


def _finite(value: float, place: Place) -> float:
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise place.error(f"is {shown(value)}; allowed: a finite number")
    return number


def _read_choice(choices: tuple[object, ...], value: object, place: Place) -> object:
    if isinstance(value, str) and value in choices:
        return value
    hint = suggestion(value, map(str, choices)) if isinstance(value, str) else ""
    raise place.error(f"is {shown(value)}{hint} (allowed: {_choices(choices)})")


def _read_tuple(hint: object, value: object, place: Place) -> tuple[object, ...]:
    arguments = get_args(hint)
    if not isinstance(value, (list, tuple)):
        raise _wrong(hint, value, place)
    if len(arguments) == 2 and arguments[1] is Ellipsis:  # noqa: PLR2004 - tuple[X, ...] has two
        arguments = (arguments[0],) * len(value)
    if len(arguments) != len(value):
        raise _wrong(hint, value, place)
    return tuple(
        _read(inner, each, place.at(position))
        for position, (inner, each) in enumerate(zip(arguments, value, strict=True))
    )


def _read_mapping(hint: object, value: object, place: Place) -> dict[str, object]:
    _, inner = get_args(hint)
    if not isinstance(value, Mapping):
        raise _wrong(hint, value, place)
    return {str(key): _read(inner, each, place.at(key)) for key, each in value.items()}


def _wrong(hint: object, value: object, place: Place) -> ConfigError:
    return place.error(f"is {shown(value)}; allowed: {_described(hint)}")


def _choices(choices: Iterable[object]) -> str:
    return ", ".join(shown(each) for each in choices)


def _described(hint: object) -> str:
    """What an annotation allows, in words."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in {Union, types.UnionType}:
        return " or ".join(_described(each) for each in arguments if each is not type(None))
    if origin is Literal:
        return f"one of {_choices(arguments)}"
    if origin is tuple:
        many = arguments[-1] is Ellipsis
        each = [_described(inner) for inner in arguments if inner is not Ellipsis]
        return f"a list, each {each[0]}" if many else f"[{', '.join(each)}]"
    if origin is Mapping:
        return f"a table of names, each {_described(arguments[1])}"
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return f"a table of {_names(hint)}"
    return _SCALARS[hint]
