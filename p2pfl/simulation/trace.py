"""The story of a run: a hash over every event and decision, and on demand one JSON line each.

The hash covers what happened and what was decided, in order, with exact times; not the weights,
whose last bits depend on the trainer.
"""

import hashlib
import json
import struct
from typing import IO, Final, get_args

from p2pfl.messages import (
    Effect,
    Event,
    ModelMessage,
    Presence,
    Publish,
    Received,
    Record,
    Send,
    Stop,
    Train,
    Trained,
    Wake,
    Woken,
)
from p2pfl.types import NodeId

_WORD: Final = struct.Struct("<dHiqqd").pack
"""Time, kind, node, two whole numbers and a real one: enough to tell any two steps apart."""

_FLUSH_BYTES: Final = 1 << 20


class Trace:
    """Takes each event with its effects; equal runs have equal `digest()`."""

    def __init__(self, lines: IO[str] | None = None) -> None:
        self._hash = hashlib.blake2b(digest_size=16)
        self._words = bytearray()
        self._numbers: dict[str, int] = {}
        """Names as numbers, in the order of their first appearance."""
        self._lines = lines

    def add(self, at_s: float, node: NodeId, event: Event, effects: list[Effect]) -> None:
        """One step of one node."""
        self._words += _WORD(at_s, _code(event), self._number(node), *_facts(event))
        for effect in effects:
            self._words += _WORD(at_s, _code(effect), 0, *_facts(effect))
        if len(self._words) > _FLUSH_BYTES:
            self._flush()
        if self._lines is not None:
            decided = [_decided(e) for e in effects]
            line = {"at_s": at_s, "node": node, "event": _told(event), "effects": decided}
            self._lines.write(json.dumps(line) + "\n")

    def digest(self) -> str:
        """Hash of everything so far, 32 hex digits."""
        self._flush()
        return self._hash.hexdigest()

    def _flush(self) -> None:
        self._hash.update(self._words)
        self._words.clear()

    def _number(self, node: NodeId) -> int:
        return self._numbers.setdefault(node, len(self._numbers))


_CODES: Final[dict[type, int]] = {
    kind: code for code, kind in enumerate((*get_args(Event), *get_args(Effect)))
}


def _code(what: Event | Effect) -> int:
    return _CODES[type(what)]


def _facts(what: Event | Effect) -> tuple[int, int, float]:
    """Two whole numbers and a real one that tell this event or effect from others of its kind."""
    match what:
        case Received(message=message) | Publish(message=message) | Send(message=message):
            if isinstance(message, ModelMessage):
                header = message.header
                return header.version, header.sequence, header.sent_s
            return message.version, 0, 0.0
        case Record(version=version, staleness=staleness, readings=readings):
            return version, len(readings), staleness
        case Trained(token=token) | Woken(token=token):
            return token, 0, 0.0
        case Train(token=token, first_step=step):
            return token, step, 0.0
        case Wake(at_s=at_s, token=token):
            return token, 0, at_s
        case _:
            return 0, 0, 0.0


def _told(event: Event) -> str:
    match event:
        case Received(ModelMessage(header=header), retained):
            kept = " retained" if retained else ""
            return (
                f"received {header.kind} {header.node} v{header.version} #{header.sequence}{kept}"
            )
        case Received(Presence() as presence, _):
            return f"heard {presence.node} {presence.state} v{presence.version}"
        case Received(request, _):
            return f"asked {request}"
        case Trained(token=token):
            return f"trained {token}"
        case _:
            return repr(event)


def _decided(effect: Effect) -> str:
    match effect:
        case Train():
            return f"train {effect.token} steps {effect.first_step}+{effect.steps}"
        case Publish(ModelMessage(header=header)):
            return f"publish v{header.version} #{header.sequence}"
        case Publish(Presence() as presence):
            return f"sign {presence.state} v{presence.version}"
        case Send(peer, ModelMessage(header=header)):
            return f"send {peer} {header.kind} v{header.version} #{header.sequence}"
        case Send(peer, request):
            return f"ask {peer} {request}"
        case Wake(at_s, token):
            return f"wake {at_s!r} {token}"
        case Record(version, staleness, readings, left_out):
            mixed = " ".join(f"{r.peer}:v{r.version}" for r in readings)
            return f"mix v{version} {mixed} out {' '.join(left_out)} staleness {staleness!r}"
        case Stop(reason):
            return f"stop {reason}"
        case _:
            return repr(effect)
