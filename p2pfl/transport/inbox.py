"""What a node is subscribed to, and what becomes of everything that comes in."""

import asyncio
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Final

from p2pfl.codec.frame import decode
from p2pfl.codec.limits import LIMITS, Limits
from p2pfl.codec.parts import Assembly, is_part, read_part
from p2pfl.errors import ConfigError, P2pflError, ProtocolError
from p2pfl.messages import (
    Ended,
    Incarnation,
    ModelMessage,
    Presence,
    Received,
)
from p2pfl.transport import topics
from p2pfl.transport.base import Membership, Traffic, Transfer, TransportEvent
from p2pfl.transport.gate import Gate, event_of
from p2pfl.transport.link import Incoming
from p2pfl.transport.mailbox import Mailbox
from p2pfl.transport.reader import Reader
from p2pfl.transport.topics import Address
from p2pfl.transport.words import Claim, kind_of, read_claim, read_control, read_head
from p2pfl.types import NodeId

HEAD_BYTES_MAX: Final = 512
"""A head of the longest names has some 330 bytes; what is longer is a model."""

THREAD_BYTES: Final = 4 * 1024 * 1024
"""Frames above this are decoded in a thread: their checksum would stop the loop."""

_FRAME_MARGIN: Final = LIMITS.header_bytes_max + 64
_PART_BYTES_MIN: Final = 1024


@dataclass(frozen=True, slots=True, eq=False)
class _Unread:
    """A whole frame of a large model, not decoded yet."""

    sender: NodeId
    data: memoryview
    retained: bool
    directed: bool


class Inbox:
    """One assembly and one unread model per neighbour; every fault of a peer is counted."""

    def __init__(
        self,
        *,
        run: str,
        node: NodeId,
        incarnation: Incarnation,
        membership: Membership,
        traffic: Traffic,
        on_subscriptions: Callable[[], None],
        on_own_presence: Callable[[Presence], None],
        on_claim: Callable[[Claim], None],
    ) -> None:
        self._run = run
        self._node = node
        self._incarnation = incarnation
        self._schema = membership.schema
        self._dimension = membership.dimension
        self._traffic = traffic
        self._on_subscriptions = on_subscriptions
        self._on_own_presence = on_own_presence
        self._on_claim = on_claim
        frame_bytes_max = 4 * (membership.dimension + membership.beside) + _FRAME_MARGIN
        self._limits = Limits(
            frame_bytes_max=frame_bytes_max,
            parts_max=min(LIMITS.parts_max, frame_bytes_max // _PART_BYTES_MIN + 1),
        )
        if len(membership.neighbours) > self._limits.peers_max:
            raise ConfigError(
                f"node {node!r} has {len(membership.neighbours)} neighbours, more than "
                f"{self._limits.peers_max}: choose a sparser topology"
            )
        self._gate = Gate(run=run, membership=membership)
        self._readers = {peer: Reader() for peer in membership.neighbours}
        self._letters = {peer: Assembly() for peer in membership.neighbours}
        self._mailbox: Mailbox[TransportEvent | _Unread] = Mailbox()
        self._pulling = True
        self._silent: set[str] = set()
        """Topics of neighbours under which nothing came since connecting but what was retained."""
        self.go = asyncio.Event()
        self.manifest_seen = False

    def __repr__(self) -> str:
        return f"Inbox({self._run}/{self._node}, {len(self._readers)} peers, {self._mailbox})"

    @property
    def unread(self) -> int:
        """What came in and was not received yet."""
        return len(self._mailbox)

    @property
    def coming(self) -> tuple[Transfer, ...]:
        """The models that have come in part."""
        return tuple(
            Transfer(peer=peer, number=number, done_bytes=done, total_bytes=total)
            for peer, reader in self._readers.items()
            for number, done, total in [reader.assembly.progress]
            if 0 < done < total
        )

    @property
    def readers(self) -> Mapping[NodeId, Reader]:
        """How each neighbour's large models are read."""
        return self._readers

    def wanted(self) -> Mapping[str, tuple[int, int]]:
        """What to be subscribed to: topic -> (QoS, generation).

        Parts at QoS 0: TCP loses none, a broker that drops some is asked again, and brokers bound
        the number or the queues of QoS 1 subscriptions (NATS: 63 a session unless told).
        """
        run = self._run
        own = (
            topics.manifest(run),
            topics.control(run),
            topics.presence(run, self._node),
            topics.letter(run, self._node, self._node),
        )
        wanted = dict.fromkeys(own, (1, 0))
        for peer, reader in self._readers.items():
            wanted[topics.presence(run, peer)] = (1, 0)
            wanted[topics.head(run, peer)] = (1, 0)
            wanted[topics.letter(run, peer, self._node)] = (1, 0)
            for slot, index in reader.wanted if self._pulling else ():
                wanted[topics.part(run, peer, slot, index)] = (0, reader.pulls)
        return wanted

    def unsure(self) -> Collection[str]:
        """Of `wanted`, where something retained may have been missed when it was subscribed to.

        Our own name's presence is there: another life of ours writes it once, as it begins.
        """
        own = (topics.control(self._run), topics.presence(self._run, self._node))
        return [*own, *self._silent]

    def pull_no_more(self) -> None:
        """Want no part of a large model any more."""
        self._pulling = False
        self._on_subscriptions()

    def on_connected(self) -> None:
        """All subscriptions begin anew."""
        self.manifest_seen = False
        self._silent = {
            topic(self._run, peer)
            for peer in self._readers
            for topic in (topics.presence, topics.head)
        }
        for reader in self._readers.values():
            reader.on_reconnected()

    def on_tick(self) -> None:
        """Ask again for what has stopped coming."""
        now_s = time.monotonic()
        for reader in self._readers.values():
            reader.on_tick(now_s=now_s)
        self._on_subscriptions()

    def fail(self, fault: P2pflError) -> None:
        """Make `receive` raise, once what waits is read."""
        self._mailbox.fail(fault)
        self.go.set()

    async def receive(self) -> TransportEvent:
        """The next thing that came in."""
        while True:
            key, item = await self._mailbox.get()
            if not isinstance(item, _Unread):
                return item
            try:
                message = await self._decoded(item)
                if not self._gate.admit(message, sender=item.sender, directed=item.directed):
                    continue
            except asyncio.CancelledError:
                self._mailbox.put_back(key, item)
                raise
            except ProtocolError as problem:
                self._refuse(item.sender, problem)
                continue
            finally:
                if not item.directed:
                    self._readers[item.sender].on_read(now_s=time.monotonic())
                    self._on_subscriptions()
            return Received(message, retained=item.retained)

    def on_message(self, incoming: Incoming) -> None:
        """Take what the broker delivers; never raises for a peer's fault."""
        address = topics.parse(incoming.topic)
        if address is None or address.run != self._run or not incoming.payload:
            return
        try:
            self._dispatch(address, incoming)
        except ProtocolError as problem:
            self._refuse(address.node, problem)

    def _dispatch(self, address: Address, incoming: Incoming) -> None:
        kind, data = address.kind, incoming.payload
        if kind == "manifest":
            self.manifest_seen = True
        elif kind == "control":
            self._on_control(data)
        elif address.node == self._node:
            self._on_own(address, data)
        elif address.node in self._readers:
            self._traffic.in_bytes += len(data)
            if not incoming.retained:
                self._silent.discard(incoming.topic)
            if kind == "part":
                self._on_part(address, incoming)
            elif kind == "letter" and is_part(data):
                self._on_letter_part(address.node, data)
            elif kind == "head" and len(data) <= HEAD_BYTES_MAX and kind_of(data) == "h":
                self._on_head(address.node, incoming)
            else:
                self._on_frame(address, incoming)

    def _on_control(self, data: bytes) -> None:
        control = read_control(data)
        self.go.set()
        if control.word == "end":
            self._mailbox.put("end", Ended(control.reason))

    def _on_own(self, address: Address, data: bytes) -> None:
        if address.kind == "letter":
            self._on_claim(read_claim(data))
        elif address.kind == "presence":
            presence = decode(data)
            if isinstance(presence, Presence):
                self._on_own_presence(presence)

    def _on_frame(self, address: Address, incoming: Incoming) -> None:
        """A whole frame: a small model, a presence, or a letter."""
        sender, size = address.node, len(incoming.payload)
        self._traffic.in_messages += 1
        message = decode(
            incoming.payload,
            limits=self._limits,
            schema=self._schema,
            dimension=self._dimension,
        )
        is_model = isinstance(message, ModelMessage)
        if not is_model:
            self._traffic.control_in_bytes += size
        directed = address.kind == "letter"
        fits = {"head": is_model, "presence": isinstance(message, Presence)}
        if not fits.get(address.kind, not isinstance(message, Presence)):
            raise ProtocolError("kind", f"{type(message).__name__} as {address.kind}")
        if not self._gate.admit(message, sender=sender, directed=directed):
            return
        event = event_of(message, retained=incoming.retained)
        if directed:
            self._put_letter(sender, event)
        else:
            self._mailbox.put((address.kind, sender), event)

    def _on_head(self, sender: NodeId, incoming: Incoming) -> None:
        self._traffic.in_messages += 1
        self._traffic.control_in_bytes += len(incoming.payload)
        head = read_head(incoming.payload)
        if head.run != self._run or head.node != sender:
            raise ProtocolError("sender", f"{head.run}/{head.node} wrote below {sender}")
        if head.frame_bytes > self._limits.frame_bytes_max:
            raise ProtocolError("frame_bytes", f"{head.frame_bytes}")
        if not 0 < head.count <= self._limits.parts_max:
            raise ProtocolError("parts", f"{head.count}")
        self._readers[sender].on_head(head, retained=incoming.retained, now_s=time.monotonic())
        self._on_subscriptions()

    def _on_part(self, address: Address, incoming: Incoming) -> None:
        sender, reader = address.node, self._readers[address.node]
        part = read_part(incoming.payload, limits=self._limits)
        if (part.slot, part.index) != (address.slot, address.index):
            raise ProtocolError("parts", f"part {part.slot}/{part.index} in another's topic")
        before = reader.wanted_state
        done = reader.on_part(part, retained=incoming.retained, now_s=time.monotonic())
        if done is not None:
            data, retained = done
            self._traffic.in_messages += 1
            self._traffic.large_in += 1
            self._traffic.large_in_s += reader.took_s
            unread = _Unread(sender, data, retained, directed=False)
            if self._mailbox.put(("head", sender), unread):
                reader.on_unread()
        if reader.wanted_state != before:
            self._on_subscriptions()

    def _on_letter_part(self, sender: NodeId, data: bytes) -> None:
        frame = self._letters[sender].add(read_part(data, limits=self._limits))
        if frame is not None:
            self._traffic.in_messages += 1
            self._put_letter(sender, _Unread(sender, frame, retained=False, directed=True))

    def _put_letter(self, sender: NodeId, item: TransportEvent | _Unread) -> None:
        if not self._mailbox.put_letter(sender, item):
            raise ProtocolError("letters", "too many unread")

    async def _decoded(self, item: _Unread) -> ModelMessage:
        def decoded() -> ModelMessage:
            message = decode(
                item.data,
                limits=self._limits,
                schema=self._schema,
                dimension=self._dimension,
            )
            if not isinstance(message, ModelMessage):
                raise ProtocolError("kind", f"{type(message).__name__} in parts")
            return message

        if item.data.nbytes > THREAD_BYTES:
            return await asyncio.to_thread(decoded)
        return decoded()

    def _refuse(self, sender: NodeId, problem: ProtocolError) -> None:
        self._traffic.refused[sender, problem.reason] += 1
