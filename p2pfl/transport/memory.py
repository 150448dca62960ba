"""A network within one event loop: the contract of `Transport`, through the real codec."""

import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Self

from p2pfl.codec.fields import NODE_ID
from p2pfl.codec.frame import decode, encode, wire_bytes
from p2pfl.codec.limits import CHUNK_BYTES, INLINE_BYTES_MAX
from p2pfl.codec.tensors import Dtype
from p2pfl.errors import ConfigError, PlaceTakenError, ProtocolError, RefusedError, TransportError
from p2pfl.messages import (
    Ended,
    Incarnation,
    ModelMessage,
    Presence,
    PresenceState,
    VersionRequest,
)
from p2pfl.transport.base import LinkState, Membership, Row, Traffic, TransportEvent
from p2pfl.transport.gate import Gate, event_of
from p2pfl.transport.mailbox import Mailbox
from p2pfl.types import NodeId

_MODEL: Final = "model"
_PRESENCE: Final = "presence"


@dataclass(slots=True)
class _Kept:
    """What the network retains of one node."""

    incarnation: Incarnation | None = None
    model: bytes | None = None
    presence: bytes | None = None


class MemoryNetwork:
    """The broker of one run: retains each node's newest model and presence, and fans them out."""

    def __init__(self, run: str = "memory") -> None:
        self.run = run
        self.rows: list[tuple[NodeId, Row]] = []
        """Metrics of all nodes, in order."""
        self._kept: dict[NodeId, _Kept] = {}
        self._joined: dict[NodeId, MemoryTransport] = {}
        self._digest: str | None = None

    def __repr__(self) -> str:
        return f"MemoryNetwork({self.run!r}, {', '.join(sorted(self._joined))})"

    def end(self, reason: str) -> None:
        """Tell every node that the run is over."""
        for transport in self._joined.values():
            transport.deliver_end(reason)

    def lose(self, node: NodeId) -> None:
        """Break a node's connection as a crash does: its neighbours hear its last will."""
        transport = self._joined[node]
        will = transport.last_will()
        self.part(node)
        transport.fail(TransportError(f"node {node!r} lost its connection"))
        self.fan_out(node, encode(will).join(), kind=_PRESENCE)

    def take_place(self, transport: "MemoryTransport", digest: str) -> tuple[Incarnation, bool]:
        """Join a transport. Raises RefusedError where its id or its experiment does not fit."""
        node = transport.node
        if node in self._joined:
            raise PlaceTakenError(f"node {node!r} is already alive in run {self.run}")
        if self._digest is not None and digest != self._digest:
            raise RefusedError(
                f"run {self.run} has experiment {self._digest}, this node {digest}: "
                "start the node with the run's own experiment file"
            )
        self._digest = digest
        kept = self._kept.setdefault(node, _Kept())
        rejoining = kept.incarnation is not None
        counter = kept.incarnation.counter + 1 if kept.incarnation is not None else 1
        kept.incarnation = Incarnation(counter, secrets.randbits(64))
        self._joined[node] = transport
        return kept.incarnation, rejoining

    def part(self, node: NodeId, *, clear: bool = False) -> None:
        """Take a node out; `clear` forgets what is retained of it."""
        self._joined.pop(node, None)
        if clear:
            self._kept.pop(node, None)

    def retained(self, peers: Iterable[NodeId]) -> list[tuple[NodeId, str, bytes]]:
        """What is kept of these nodes: presence first."""
        found: list[tuple[NodeId, str, bytes]] = []
        for peer in peers:
            kept = self._kept.get(peer, _Kept())
            found += [(peer, _PRESENCE, kept.presence)] if kept.presence is not None else []
            found += [(peer, _MODEL, kept.model)] if kept.model is not None else []
        return found

    def fan_out(self, node: NodeId, data: bytes, *, kind: str) -> None:
        """Retain a frame and hand it to everyone who listens to this node."""
        kept = self._kept.setdefault(node, _Kept())
        if kind == _MODEL:
            kept.model = data
        else:
            kept.presence = data
        for listener in self._joined.values():
            if node in listener.neighbours:
                listener.deliver(node, data, key=(kind, node))

    def hand_over(self, node: NodeId, peer: NodeId, data: bytes) -> None:
        """Hand a frame to one node, if it is there."""
        if peer in self._joined:
            self._joined[peer].deliver(node, data, key=None)


class MemoryTransport:
    """One node's place in a `MemoryNetwork`."""

    def __init__(
        self,
        network: MemoryNetwork,
        *,
        node: str,
        dtype: Dtype = "float32",
        chunk_bytes: int = CHUNK_BYTES,
        inline_bytes_max: int = INLINE_BYTES_MAX,
    ) -> None:
        if not NODE_ID.fullmatch(node):
            raise ConfigError(f"node id {node!r}: allowed are 1 to 64 of A-Z a-z 0-9 _ -")
        self.node = NodeId(node)
        self.neighbours: frozenset[NodeId] = frozenset()
        self._network = network
        self._dtype: Dtype = dtype
        self._chunk_bytes = chunk_bytes
        self._inline_bytes_max = inline_bytes_max
        self._traffic = Traffic()
        self._mailbox: Mailbox[TransportEvent] = Mailbox()
        self._membership: Membership | None = None
        self._gate: Gate | None = None
        self._incarnation: Incarnation | None = None

    def __repr__(self) -> str:
        return f"MemoryTransport({self.node!r}, {self._incarnation}, {self._mailbox})"

    @property
    def run(self) -> str:
        """The network's run."""
        return self._network.run

    @property
    def traffic(self) -> Traffic:
        """What went through so far."""
        return self._traffic

    @property
    def link_state(self) -> LinkState:
        """Up while this node has its place."""
        return LinkState(connected=self._incarnation is not None, unread=len(self._mailbox))

    async def __aenter__(self) -> Self:
        """Nothing to connect."""
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Leave, if that was not done yet."""
        await self.leave(clear=False)

    async def join(self, membership: Membership) -> tuple[Incarnation, bool]:
        """Take this node's place; what is retained of the neighbours comes in at once."""
        incarnation, rejoining = self._network.take_place(self, membership.digest)
        self._incarnation = incarnation
        self._membership = membership
        self._gate = Gate(run=self.run, membership=membership)
        self.neighbours = frozenset(membership.neighbours)
        for peer, kind, data in self._network.retained(membership.neighbours):
            self.deliver(peer, data, key=(kind, peer), retained=True)
        return incarnation, rejoining

    def publish(self, message: ModelMessage | Presence) -> None:
        """Hand over to every neighbour, at once."""
        data = encode(message, dtype=self._dtype).join()
        receivers = len(self.neighbours)
        is_model = isinstance(message, ModelMessage)
        self._count_out(data, receivers=receivers, control=not is_model)
        self._network.fan_out(self.node, data, kind=_MODEL if is_model else _PRESENCE)

    def send(self, peer: NodeId, message: ModelMessage | VersionRequest) -> None:
        """Hand over to one neighbour, at once."""
        data = encode(message, dtype=self._dtype).join()
        self._count_out(data, receivers=1, control=not isinstance(message, ModelMessage))
        self._network.hand_over(self.node, peer, data)

    def report(self, row: Row) -> None:
        """Keep a line of metrics in the network's `rows`."""
        self._network.rows.append((self.node, row))

    async def receive(self) -> TransportEvent:
        """The next thing that came in."""
        _, event = await self._mailbox.get()
        return event

    async def flush(self, timeout_s: float) -> bool:
        """True: nothing is ever under way."""
        return True

    async def leave(self, *, clear: bool) -> None:
        """Say `left`, and go."""
        if self._incarnation is None:
            return
        self.publish(self._own_presence(PresenceState.LEFT))
        self._network.part(self.node, clear=clear)
        self._incarnation = None

    def last_will(self) -> Presence:
        """What the network says for this node when its connection breaks."""
        return self._own_presence(PresenceState.LOST)

    def fail(self, fault: TransportError) -> None:
        """Make `receive` raise."""
        self._incarnation = None
        self._mailbox.fail(fault)

    def deliver_end(self, reason: str) -> None:
        """Take the word that the run is over."""
        self._mailbox.put("end", Ended(reason))

    def deliver(
        self, sender: NodeId, data: bytes, *, key: tuple[str, NodeId] | None, retained: bool = False
    ) -> None:
        """Take a frame from the network: decode, judge, count. A letter has no `key`."""
        assert self._membership is not None
        assert self._gate is not None
        size = wire_bytes(len(data), self._chunk_bytes, self._inline_bytes_max)
        self._traffic.in_bytes += size
        self._traffic.in_messages += 1
        try:
            membership = self._membership
            message = decode(data, schema=membership.schema, dimension=membership.dimension)
            if not isinstance(message, ModelMessage):
                self._traffic.control_in_bytes += size
            if not self._gate.admit(message, sender=sender, directed=key is None):
                return
        except ProtocolError as problem:
            self._traffic.refused[sender, problem.reason] += 1
            return
        event = event_of(message, retained=retained)
        if key is not None:
            self._mailbox.put(key, event)
        elif not self._mailbox.put_letter(sender, event):
            self._traffic.refused[sender, "letters"] += 1

    def _own_presence(self, state: PresenceState) -> Presence:
        assert self._incarnation is not None
        assert self._membership is not None
        digest = self._membership.digest
        return Presence(self.run, self.node, self._incarnation, state, digest=digest)

    def _count_out(self, data: bytes, *, receivers: int, control: bool) -> None:
        size = wire_bytes(len(data), self._chunk_bytes, self._inline_bytes_max)
        self._traffic.out_bytes += size
        self._traffic.out_messages += 1
        self._traffic.fan_out_bytes += size * receivers
        if control:
            self._traffic.control_out_bytes += size
