"""Plain values as YAML that people read: blocks, and texts in quotes as JSON has them."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Final

_PLAIN: Final = re.compile(r"[A-Za-z/.][A-Za-z0-9_./-]*")
_WORDS: Final = frozenset({"true", "false", "null", "yes", "no", "on", "off", "y", "n", "."})
"""What YAML 1.1 takes for something else than a text; any case."""
_KEY: Final = re.compile(r"[A-Za-z][A-Za-z0-9_./-]*")


def to_yaml(value: object) -> str:
    """One document; texts of many lines stand there as they are."""
    return "\n".join(_lines(value)) + "\n"


def _lines(value: object) -> list[str]:
    """A block at the left margin."""
    if isinstance(value, Mapping) and value:
        lines = []
        for key, each in value.items():
            lines += _entry(f"{_key(str(key))}:", each)
        return lines
    if _is_list(value) and value:
        assert isinstance(value, Sequence)
        return [line for each in value for line in _item(each)]
    return [_scalar(value)]


def _entry(head: str, value: object) -> list[str]:
    if isinstance(value, str) and "\n" in value.rstrip("\n") and value.endswith("\n"):
        keep = "|" if not value.endswith("\n\n") else "|+"
        return [
            f"{head} {keep}2",
            *(f"  {line}" if line else "" for line in value[:-1].split("\n")),
        ]
    if isinstance(value, Mapping) and value:
        return [head, *(f"  {line}" if line else "" for line in _lines(value))]
    if _is_list(value) and value:
        return [head, *(f"  {line}" if line else "" for line in _lines(value))]
    return [f"{head} {_scalar(value)}"]


def _item(value: object) -> list[str]:
    first, *rest = _lines(value)
    return [f"- {first}", *(f"  {line}" if line else "" for line in rest)]


def _is_list(value: object) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)


def _key(key: str) -> str:
    return key if _KEY.fullmatch(key) and key.lower() not in _WORDS else json.dumps(key)


def _scalar(value: object) -> str:
    if isinstance(value, Mapping):
        return "{}"
    if _is_list(value):
        return "[]"
    if isinstance(value, str) and _PLAIN.fullmatch(value) and value.lower() not in _WORDS:
        return value
    assert value is None or isinstance(value, str | bool | int | float), type(value)
    return json.dumps(value)
