"""The three things that travel between nodes."""

from dataclasses import dataclass
from enum import StrEnum

from p2pfl.messages.header import Header, Incarnation
from p2pfl.types import Extra, NodeId, Vector


@dataclass(frozen=True, slots=True, eq=False)
class ModelMessage:
    """A model `[d]` and its header. The arrays are read-only and shared, never copied."""

    header: Header
    vector: Vector
    extra: Extra | None = None
    """What an algorithm sends beside the model, always exact: a tracker, running sums."""


@dataclass(frozen=True, slots=True)
class VersionRequest:
    """`node` asks a neighbour for exactly this version of its model (synchronous algorithms)."""

    run: str
    node: NodeId
    version: int


class PresenceState(StrEnum):
    """What a node says of itself; `LOST` is said by the broker for it (the last will)."""

    JOINING = "joining"
    TRAINING = "training"
    FINISHED = "finished"
    LEFT = "left"
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class Presence:
    """A sign of life: small, retained; also the beat of a node that publishes rarely."""

    run: str
    node: NodeId
    incarnation: Incarnation
    state: PresenceState
    version: int = 0
    period_s: float = 0.0
    """The larger of the publish period and the time since the last model, in seconds."""
    sent_s: float = 0.0
    digest: str = ""
    """Digest of the experiment that the node runs; another digest is refused."""


Message = ModelMessage | VersionRequest | Presence
