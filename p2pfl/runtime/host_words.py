"""What the launching machine and a host say to each other: orders, a survey, and its answer."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Final, TypeVar

from p2pfl.errors import TransportError

EXPERIMENT: Final = "experiment.toml"
CA_FILE: Final = "broker.pem"
NODES: Final = "nodes"
"""Of a run's folder on a host: where nodes leave logs, faults, final models."""
CHECKPOINTS: Final = "checkpoints"
RECORDS: Final = "records"

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Orders:
    """What a host is to do in a run."""

    nodes: tuple[str, ...]
    alone_s: float
    data: str = ""
    device: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What a host is asked before anything starts there."""

    url: str
    nodes: tuple[str, ...]
    password: str | None = None
    data: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What it found; an empty text says that all is well."""

    version: str = ""
    digest: str = ""
    experiment: str = ""
    """Why the experiment cannot be read there."""
    broker: str = ""
    """Why the broker cannot be used from there."""
    data: str = ""
    """Why the data cannot be read there."""


def to_text(words: Orders | Question | Answer) -> str:
    """One line of JSON."""
    return json.dumps(asdict(words)) + "\n"


def from_text(kind: type[T], text: str) -> T:
    """The words in a line. Raises TransportError where it holds none of that kind."""
    try:
        plain: Mapping[str, Any] = json.loads(text)
        known = {field.name for field in fields(kind)}  # type: ignore[arg-type]  # a dataclass.
        values = {key: value for key, value in plain.items() if key in known}
        if "nodes" in values:
            values["nodes"] = tuple(map(str, values["nodes"]))
        return kind(**values)
    except (ValueError, TypeError, AttributeError) as problem:
        raise TransportError(f"no {kind.__name__.lower()}: {text[:200]!r}") from problem
