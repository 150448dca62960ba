"""The story of a run: a hash over every event and decision, and on demand one JSON line each.

The hash covers what happened and what was decided, in order, with exact times; not the weights,
whose last bits depend on the trainer.
"""

import hashlib
import json
from typing import IO

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
)
from p2pfl.types import NodeId


class Trace:
    """Takes each event with its effects; equal runs have equal `digest()`."""

    def __init__(self, lines: IO[str] | None = None) -> None:
        self._hash = hashlib.blake2b(digest_size=16)
        self._lines = lines

    def add(self, at_s: float, node: NodeId, event: Event, effects: list[Effect]) -> None:
        """One step of one node."""
        what = _told(event)
        decided = [_decided(e) for e in effects]
        self._hash.update(f"{at_s!r}|{node}|{what}|{decided}\n".encode())
        if self._lines is not None:
            line = {"at_s": at_s, "node": node, "event": what, "effects": decided}
            self._lines.write(json.dumps(line) + "\n")

    def digest(self) -> str:
        """Hash of everything so far, 32 hex digits."""
        return self._hash.hexdigest()


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
