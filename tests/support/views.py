"""Neighbours and messages as one algorithm sees them, for tests of what it does by itself."""

import numpy as np

from p2pfl.algorithms.base import Local
from p2pfl.messages import Header, Incarnation, ModelMessage, Neighbour
from p2pfl.types import Extra, NodeId, Vector


def vector(*values: float) -> Vector:
    return np.array(values, dtype=np.float32)


def sums(*values: int) -> Extra:
    return np.array(values, dtype=np.int64).astype(np.uint32)


def here(
    *,
    node: str = "n0",
    version: int = 0,
    local_steps: int = 1,
    rate: float = 0.5,
    now_s: float = 0.0,
) -> Local:
    """A node with this learning rate."""
    return Local(
        NodeId(node),
        version,
        samples=1,
        steps=0,
        local_steps=local_steps,
        now_s=now_s,
        step_sizes=lambda _, count: rate * count,
    )


def header(
    peer: str, *, version: int = 0, epoch: int = 0, words: tuple[int, ...] = (), life: int = 1
) -> Header:
    return Header(
        run="run",
        schema="schema",
        node=NodeId(peer),
        incarnation=Incarnation(life, 7),
        sequence=version + 1,
        version=version,
        oldest_version=version,
        sent_s=0.0,
        epoch=epoch,
        words=words,
    )


def seen(
    peer: str,
    model: Vector | None,
    *,
    weight: float = 0.25,
    extra: Extra | None = None,
    live: bool = True,
    version: int = 0,
    epoch: int = 0,
    words: tuple[int, ...] = (),
    life: int = 1,
) -> Neighbour:
    """A neighbour whose newest model this is; None: it is too old, or there is none."""
    told = header(peer, version=version, epoch=epoch, words=words, life=life)
    trust = 0.0 if model is None else 1.0
    return Neighbour(NodeId(peer), weight, trust, live, False, version, told, model, extra)


def said(
    peer: str,
    model: Vector,
    *,
    extra: Extra | None = None,
    version: int = 0,
    epoch: int = 0,
    words: tuple[int, ...] = (),
    life: int = 1,
) -> ModelMessage:
    """A message that comes in."""
    told = header(peer, version=version, epoch=epoch, words=words, life=life)
    return ModelMessage(told, model, extra)
