"""The story of a run: a hash over every event and decision, and on demand one JSON line each.

The hash covers what happened and what was decided, in order, with exact times; not the weights,
whose last bits depend on the trainer.
"""

import hashlib
import json
import struct
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import IO, Any, Final, get_args

from p2pfl.messages import (
    AnyEvent,
    Effect,
    Event,
    ModelMessage,
    Presence,
    Publish,
    Received,
    Record,
    Rewired,
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

_FLUSH_BYTES: Final = 1 << 14
"""What waits to be hashed is to stay in the nearest cache, and to leave the rest of it alone."""


class Trace:
    """Takes each event with its effects; equal runs have equal `digest()`."""

    def __init__(self, lines: IO[str] | None = None) -> None:
        self._hash = hashlib.blake2b(digest_size=16)
        self._words = bytearray()
        self._numbers: dict[Hashable, int] = {}
        """Names, and groups of names, as numbers in the order of their first appearance."""
        self._lines = lines

    def add(self, at_s: float, node: NodeId, event: AnyEvent, effects: Sequence[Effect]) -> None:
        """One step of one node."""
        self._word(at_s, event, node)
        words, kinds, word = self._words, _KINDS, _WORD
        for effect in effects:
            code, facts = kinds[type(effect)]
            first, second, third = facts(effect)
            words += word(at_s, code, 0, first, second, third)
        if self._lines is not None:
            self._tell(at_s, node, event, effects)

    def heard(self, at_s: float, nodes: Sequence[NodeId], event: Received) -> None:
        """The same message came to all these nodes, and none of them decided anything."""
        if isinstance(nodes, tuple):
            # Those who hear one node are mostly the same again: one word for all of them.
            self._word(at_s, event, nodes)
        else:
            for node in nodes:
                self._word(at_s, event, node)
        if self._lines is not None:
            for node in nodes:
                self._tell(at_s, node, event, ())

    def digest(self) -> str:
        """Hash of everything so far, 32 hex digits."""
        self._flush()
        return self._hash.hexdigest()

    def _word(self, at_s: float, event: AnyEvent, who: Hashable) -> None:
        code, facts = _KINDS[type(event)]
        number = self._numbers.setdefault(who, len(self._numbers))
        first, second, third = facts(event)
        words = self._words
        words += _WORD(at_s, code, number, first, second, third)
        if len(words) > _FLUSH_BYTES:
            self._flush()

    def _flush(self) -> None:
        self._hash.update(self._words)
        self._words.clear()

    def _tell(self, at_s: float, node: NodeId, event: AnyEvent, effects: Sequence[Effect]) -> None:
        assert self._lines is not None
        decided = [_decided(e) for e in effects]
        line = {"at_s": at_s, "node": node, "event": _told(event), "effects": decided}
        self._lines.write(json.dumps(line) + "\n")


Facts = tuple[int, int, float]
"""Two whole numbers and a real one that tell an event or effect from others of its kind."""


def _message_facts(what: Received | Publish | Send) -> Facts:
    message = what.message
    if isinstance(message, ModelMessage):
        header = message.header
        return header.version, header.sequence, header.sent_s
    return message.version, 0, 0.0


def _record_facts(record: Record) -> Facts:
    version, staleness, readings, _ = record
    return version, len(readings), staleness


_FACTS: Final[Mapping[type, Callable[[Any], Facts]]] = {
    Received: _message_facts,
    Publish: _message_facts,
    Send: _message_facts,
    Record: _record_facts,
    Trained: lambda trained: (trained.token, 0, 0.0),
    Train: lambda train: (train.token, train.first_step, 0.0),
    Woken: lambda woken: (woken.token, 0, 0.0),
    Wake: lambda wake: (wake.token, 0, wake.at_s),
}

_KINDS: Final = {
    kind: (code, _FACTS.get(kind, lambda _: (0, 0, 0.0)))
    for code, kind in enumerate((*get_args(Event), *get_args(Effect), Rewired))
}
"""Each kind of event and effect: its number, and what tells it from others of its kind."""


def _told(event: AnyEvent) -> str:
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
