"""What a node needs of a network: hand things over at once, and be told what came in.

Both transports (memory, MQTT) hold the same contract, and one test body runs over both.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, Self

from p2pfl.messages import (
    Ended,
    Incarnation,
    ModelMessage,
    PeerLost,
    Presence,
    Received,
    VersionRequest,
)
from p2pfl.types import NodeId

Row = Mapping[str, str | int | float | None]
"""One line of a node's metrics: flat, so that it fits msgpack, JSON and a table."""


@dataclass(slots=True)
class Traffic:
    """Bytes and messages at this endpoint: frames and part headers, without MQTT and TCP.

    A publish counts once out, each receipt once in. `fan_out_bytes` is what the broker made of the
    publishes (bytes times receivers), which is also the cost had they been sent one by one.
    `control_*` are presence, heads without a model, and requests; they are part of the totals.
    """

    out_bytes: int = 0
    in_bytes: int = 0
    out_messages: int = 0
    in_messages: int = 0
    fan_out_bytes: int = 0
    control_out_bytes: int = 0
    control_in_bytes: int = 0
    large_out: int = 0
    """Models that went out in parts, and the seconds until the broker had them, together."""
    large_out_s: float = 0.0
    large_in: int = 0
    """Models that came in parts, and the seconds from their first part to the last, together."""
    large_in_s: float = 0.0
    superseded: int = 0
    """Versions that were never sent because a newer one was ready (newest wins)."""
    refused: Counter[tuple[NodeId, str]] = field(default_factory=Counter)
    """Dropped frames, by claimed peer and reason."""

    @property
    def way_s(self) -> float:
        """Mean seconds of a large model on its way out, or in, whichever is longer; 0: no such."""
        out_s = self.large_out_s / max(self.large_out, 1)
        return max(out_s, self.large_in_s / max(self.large_in, 1))


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkState:
    """How this endpoint's link to the others is, and what waits at both of its ends."""

    connected: bool
    """Whether it is in its run, and what it hands over leaves at once."""
    reconnects: int = 0
    unsent: int = 0
    """Messages that were handed over and are not acknowledged yet."""
    unread: int = 0
    """Messages that came in and were not received yet."""
    transfers: tuple["Transfer", ...] = ()
    """Models in parts that are under way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer:
    """A model in parts on its way, seen from this endpoint."""

    peer: NodeId | None
    """From whom it comes; None: it goes out."""
    number: int
    """Its sender counts its models: the same number is the same model."""
    done_bytes: int
    total_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Membership:
    """What a transport must know to join a run as one of its nodes."""

    neighbours: Sequence[NodeId]
    schema: str
    """Models with another schema are refused."""
    dimension: int
    beside: int = 0
    """Numbers that travel beside each model."""
    digest: str
    """Peers that run another experiment are refused."""


TransportEvent = Received | PeerLost | Ended


class Transport(Protocol):
    """One node's place in one run. An async context manager: entering connects."""

    @property
    def run(self) -> str:
        """The run's name with its random id, as it stands in topics and headers."""
        ...

    @property
    def traffic(self) -> Traffic:
        """What went through so far."""
        ...

    @property
    def link_state(self) -> LinkState:
        """How the link is now."""
        ...

    async def __aenter__(self) -> Self:
        """Connect. Raises TransportError, or RefusedError where trying again is useless."""
        ...

    async def __aexit__(self, *exc: object) -> None:
        """Disconnect cleanly; what was handed over and not yet sent is dropped."""
        ...

    async def join(self, membership: Membership) -> tuple[Incarnation, bool]:
        """Take this node's place: its new incarnation, and whether an earlier one was in this run.

        Raises:
            RefusedError: a living node has this id, or the run belongs to another experiment.
        """
        ...

    def publish(self, message: ModelMessage | Presence) -> None:
        """Hand over to every neighbour, at once: retained, newest wins, survives a reconnect."""
        ...

    def send(self, peer: NodeId, message: ModelMessage | VersionRequest) -> None:
        """Hand over to one neighbour, at once."""
        ...

    def report(self, row: Row) -> None:
        """Hand a line of metrics to whoever watches the run; may be lost."""
        ...

    async def receive(self) -> TransportEvent:
        """The next thing that came in. A peer's bad frame is counted and never shown here.

        Raises:
            TransportError: the connection is beyond repair.
            RefusedError: this node was thrown out (its id was taken).
        """
        ...

    async def flush(self, timeout_s: float) -> bool:
        """Wait until all that was handed over is acknowledged; False if time ran out first."""
        ...

    async def leave(self, *, clear: bool) -> None:
        """Say `left`; `clear` removes this node's retained topics (at the run's normal end)."""
        ...
