"""Strict reading of a header's fields: type and range of each, or ProtocolError."""

import math
import re
from collections.abc import Mapping
from typing import Final

from p2pfl.errors import ProtocolError
from p2pfl.types import NodeId

NODE_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
"""A node's name can stand in a topic of any broker."""

RUN_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,128}")
"""A run: an experiment's name of up to 64 and its random id."""

TEXT_CHARACTERS_MAX: Final = 128
"""Hashes and kinds are shorter; what is longer is no hash."""

INTEGER_MAX: Final = 2**64 - 1
"""What msgpack can carry."""

Plain = Mapping[str, object]


class Fields:
    """One header's fields; every reader gives a checked value or raises ProtocolError(`field`)."""

    __slots__ = ("_plain",)

    def __init__(self, plain: Plain, allowed: frozenset[str]) -> None:
        """Raises ProtocolError for a key outside `allowed`: a reader would ignore it silently."""
        unknown = plain.keys() - allowed
        if unknown:
            raise ProtocolError("field", f"unknown {', '.join(sorted(unknown))[:64]}")
        self._plain = plain

    def _value(self, key: str) -> object:
        if key not in self._plain:
            raise ProtocolError("field", f"{key} is missing")
        return self._plain[key]

    def integer(self, key: str, maximum: int = INTEGER_MAX) -> int:
        """A whole number from 0 to `maximum`."""
        value = self._value(key)
        if type(value) is not int or not 0 <= value <= maximum:
            raise ProtocolError("field", f"{key} is not a whole number from 0 to {maximum}")
        return value

    def number(self, key: str) -> float:
        """A finite floating-point number."""
        value = self._value(key)
        if type(value) is not float or not math.isfinite(value):
            raise ProtocolError("field", f"{key} is not a finite number")
        return value

    def duration_s(self, key: str) -> float:
        """A finite number of seconds, not negative."""
        value = self.number(key)
        if value < 0:
            raise ProtocolError("field", f"{key} is negative")
        return value

    def text(self, key: str, maximum: int = TEXT_CHARACTERS_MAX) -> str:
        """A string of at most `maximum` characters."""
        value = self._value(key)
        if type(value) is not str or len(value) > maximum:
            raise ProtocolError("field", f"{key} is not a text of at most {maximum} characters")
        return value

    def node(self, key: str) -> NodeId:
        """A node id."""
        value = self.text(key)
        if not NODE_ID.fullmatch(value):
            raise ProtocolError("field", f"{key} is not a node id")
        return NodeId(value)

    def run(self, key: str) -> str:
        """A run id."""
        value = self.text(key)
        if not RUN_ID.fullmatch(value):
            raise ProtocolError("field", f"{key} is not a run id")
        return value

    def integers(self, key: str) -> tuple[int, ...]:
        """Some whole numbers."""
        values = self._value(key)
        if not isinstance(values, list) or not values:
            raise ProtocolError("field", f"{key} is not a list of whole numbers")
        if any(type(value) is not int or not 0 <= value <= INTEGER_MAX for value in values):
            raise ProtocolError("field", f"{key} holds what is no whole number")
        return tuple(values)

    def shares(self, key: str) -> tuple[tuple[NodeId, float], ...]:
        """Node ids, each with a number from 0 to 1."""
        pairs = self._value(key)
        if not isinstance(pairs, list) or not pairs:
            raise ProtocolError("field", f"{key} is not a list of shares")
        return tuple(_share(key, pair) for pair in pairs)

    def choice(self, key: str, among: frozenset[str]) -> str:
        """One of a few words."""
        value = self.text(key)
        if value not in among:
            raise ProtocolError("field", f"{key} is none of {', '.join(sorted(among))}")
        return value


def _share(key: str, pair: object) -> tuple[NodeId, float]:
    match pair:
        case [str() as node, float() as share] if NODE_ID.fullmatch(node) and 0.0 <= share <= 1.0:
            return NodeId(node), share
        case _:
            raise ProtocolError("field", f"{key} holds what is no node and a number from 0 to 1")
