"""One life of a node, line by line: what happened to it, and what it decided.

    {"format":1,"node":"n0", ...}                     whose life, in which run
    {"at":9.5,"trained":3,"loss":0.2,"hash":"..."}    an event and its time, before it is handled
    {"did":[["train",4,8,4], ...],"made":"..."}       then what the node decided, unless nothing
    {"at":20.0,"served":"...","public":"..."}         last, hashes of the final models

No vector is kept. A model that came in is named by its sender, the sender's incarnation and its
sequence number: the sender's own history says how it was made. Floats are written so that they
read back to the same bits. A line is whole or it was never written: a torn last one is ignored.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from platform import machine, python_version
from typing import Any, Final, NamedTuple, assert_never

import xxhash

from p2pfl.messages import (
    Effect,
    Ended,
    Event,
    Message,
    ModelMessage,
    PeerLost,
    Presence,
    Publish,
    Received,
    Record,
    Send,
    Started,
    Stop,
    Train,
    Trained,
    VersionRequest,
    Wake,
    Woken,
)
from p2pfl.types import NodeId, Vector

RECORD: Final = "record"
"""The part of a run's folder in which the histories lie."""

SUFFIX: Final = ".jsonl"
FORMAT: Final = 1

_text: Final = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """Whose life it is, and all that a replay must know besides what happened."""

    node: NodeId
    life: tuple[int, int]
    """The incarnation: counter and nonce."""
    run: str
    at_s: float
    """When the record began, on the clock of its events."""
    unix_s: float
    """The same moment by the calendar: it only puts lives of several machines side by side."""
    experiment: Mapping[str, Any]
    """The configuration as a mapping."""
    folder: str
    """Where the experiment's relative paths begin."""
    made_with: Mapping[str, str]
    format: int = FORMAT


class ModelName(NamedTuple):
    """A model as a history names it: nobody else ever handed out one of this name."""

    node: NodeId
    counter: int
    nonce: int
    sequence: int

    def __str__(self) -> str:
        return f"model #{self.sequence} of {self.node}'s life {self.counter}"


class HeardModel(NamedTuple):
    """A `Received` without its vector."""

    name: ModelName
    version: int
    retained: bool


class WasTrained(NamedTuple):
    """A `Trained` without its vector."""

    token: int
    loss: float
    hash: str


class Left(NamedTuple):
    """The end of a life in order: hashes of the model that it served and of its own x."""

    served: str
    public: str


Happened = Started | HeardModel | WasTrained | Received | PeerLost | Woken | Ended | Left


class Step(NamedTuple):
    """One event as it was recorded, and the line of what was decided then."""

    at_s: float
    what: Happened
    decided: str | None
    """Empty: nothing. None: the record ends before it would say so."""
    line: int


def name_of(message: ModelMessage) -> ModelName:
    """The name under which receivers record this model."""
    header = message.header
    life = header.incarnation
    return ModelName(header.node, life.counter, life.nonce, header.sequence)


def vector_hash(vector: Vector) -> str:
    """xxh3 of the numbers, 16 hex digits."""
    return xxhash.xxh3_64_hexdigest(vector.data)


def made_with() -> dict[str, str]:
    """What weights depend on in their last bits, besides the experiment."""
    found = {"python": python_version(), "machine": machine()}
    for name in ("numpy", "torch"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "none"
    return found


def head_line(head: Head) -> str:
    """The first line of a history."""
    return _text(asdict(head))


def event_line(event: Event, at_s: float) -> str:
    """An event, to be written before it is handled."""
    match event:
        case Received(message, retained):
            return _text({"at": at_s, **_message(message), "retained": retained})
        case Trained(token, vector, loss):
            told = {"trained": token, "loss": float(loss), "hash": vector_hash(vector)}
            return _text({"at": at_s, **told})
        case Woken(token):
            return _text({"at": at_s, "woken": token})
        case PeerLost(peer, life):
            return _text({"at": at_s, "lost": [peer, life.counter, life.nonce]})
        case Started(life, rejoining):
            told = {"started": [life.counter, life.nonce], "rejoining": rejoining}
            return _text({"at": at_s, **told})
        case Ended(reason):
            return _text({"at": at_s, "ended": reason})
        case _:
            assert_never(event)


def end_line(served: Vector, public: Vector, at_s: float) -> str:
    """The last line of a life that ended in order."""
    return _text({"at": at_s, "served": vector_hash(served), "public": vector_hash(public)})


def decision_line(effects: Sequence[Effect]) -> str:
    """What was decided, and a hash of each vector that was handed out; empty for nothing."""
    if not effects:
        return ""
    made = " ".join(map(vector_hash, handed_out(effects)))
    return _text({"did": [_decision(effect) for effect in effects], "made": made})


def handed_out(effects: Iterable[Effect]) -> list[Vector]:
    """The vectors that leave the node, each once, however many neighbours get it."""
    vectors: list[Vector] = []
    for effect in effects:
        if isinstance(effect, Publish | Send) and isinstance(effect.message, ModelMessage):
            vector = effect.message.vector
            if not vectors or vector is not vectors[-1]:
                vectors.append(vector)
    return vectors


def _message(message: Message) -> dict[str, object]:
    if isinstance(message, ModelMessage):
        return {"model": name_of(message), "version": message.header.version}
    if isinstance(message, VersionRequest):
        return {"request": [message.run, message.node, message.version]}
    life = message.incarnation
    return {
        "presence": [
            message.run,
            message.node,
            life.counter,
            life.nonce,
            message.state.value,
            message.version,
            message.period_s,
            message.sent_s,
            message.digest,
        ]
    }


def _decision(effect: Effect) -> list[object]:
    match effect:
        case Record(version, staleness, readings, left_out):
            return ["mix", version, staleness, readings, left_out]
        case Train():
            return ["train", effect.token, effect.first_step, effect.steps]
        case Wake(at_s, token):
            return ["wake", at_s, token]
        case Stop(reason):
            return ["stop", reason]
        case Publish(ModelMessage(header)):
            return ["publish", header.kind, header.version, header.sequence]
        case Publish(Presence() as said):
            return ["sign", said.state.value, said.version, said.period_s]
        case Send(peer, ModelMessage(header)):
            return ["send", peer, header.kind, header.version, header.sequence]
        case Send(peer, VersionRequest(version=version)):
            return ["ask", peer, version]
        case _:
            raise AssertionError(effect)
