"""What can happen to a node. Time is not in the events: the driver hands it to `handle`."""

from dataclasses import dataclass
from typing import Any, NamedTuple

from p2pfl.messages.header import Incarnation
from p2pfl.messages.model import Message
from p2pfl.types import NodeId, Vector


@dataclass(frozen=True, slots=True, eq=False)
class Saved:
    """What a node remembers of an earlier life: its algorithm's state, and how far it was."""

    state: Any
    """As `Algorithm.resumed` gave it."""
    version: int
    steps: int


class Started(NamedTuple):
    """The node begins to live. `rejoining`: an earlier incarnation was part of this run."""

    incarnation: Incarnation
    rejoining: bool = False
    saved: Saved | None = None
    """A checkpoint to go on from; without one a rejoining node takes its neighbours' mean."""


class Trained(NamedTuple):
    """The training with this token is done; `vector` is where it ended, `loss` its mean loss."""

    token: int
    vector: Vector
    loss: float


class Received(NamedTuple):
    """A message has come in. `retained`: the broker kept it; it says nothing of life now."""

    message: Message
    retained: bool = False


class PeerLost(NamedTuple):
    """The broker tells that this incarnation's connection broke: suspect, not yet dead."""

    peer: NodeId
    incarnation: Incarnation


class Woken(NamedTuple):
    """The time that a `Wake` effect asked for has come."""

    token: int


class Rewired(NamedTuple):
    """The graph has changed: from now on the node hears these, with these weights."""

    neighbours: tuple[tuple[NodeId, float], ...]


class Ended(NamedTuple):
    """The run is over, by its time limit or by the word of the process that started it."""

    reason: str


Event = Started | Trained | Received | PeerLost | Woken | Ended
"""What happens under both drivers."""

AnyEvent = Event | Rewired
"""Only the simulator mends graphs: no record of a real run has a `Rewired`."""
