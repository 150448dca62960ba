"""The virtual network: a broker star with queues, latency, faults, retained messages, exact bytes.

    sender's uplink --> broker --> latency --> each receiver's downlink --> receiver

Loss and partitions strike at the broker, single deliveries; what the broker retains survives them.
"""

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

from p2pfl.codec.frame import encoded_bytes
from p2pfl.codec.tensors import ITEM_BYTES, payload_of, vector_of
from p2pfl.config.schema import NetworkConfig
from p2pfl.messages import Message, ModelMessage, Presence
from p2pfl.simulation.links import LinkLaw, Partitions
from p2pfl.simulation.queues import Clock, LinkQueue
from p2pfl.types import NodeId, Vector


@dataclass(slots=True)
class Endpoint:
    """Bytes and messages in and out of one node; a publish counts once out."""

    out_bytes: int = 0
    in_bytes: int = 0
    fan_out_bytes: int = 0
    control_bytes: int = 0
    out_messages: int = 0
    in_messages: int = 0
    superseded: int = 0
    """Models that never left, because a newer one was there before the uplink was free."""
    skipped: int = 0
    """Models that never came, because a newer one was there before the downlink was free."""

    @property
    def total_bytes(self) -> int:
        """In and out."""
        return self.out_bytes + self.in_bytes

    def count_in(self, size_bytes: int, *, control: bool) -> None:
        """This living receiver has got a message; `control`: it is no model."""
        self.in_bytes += size_bytes
        self.in_messages += 1
        if control:
            self.control_bytes += size_bytes


@dataclass(slots=True)
class Retained:
    """What the broker keeps of one node."""

    model: ModelMessage | None = None
    presence: Presence | None = None


class Parcel(NamedTuple):
    """One message on its way to the nodes that will get it at the same moment."""

    message: Message
    receivers: tuple[NodeId, ...]
    size_bytes: int
    retained: bool = False


class Posting(NamedTuple):
    """One message on its way to the broker."""

    sender: NodeId
    message: Message
    receivers: tuple[NodeId, ...]
    size_bytes: int
    retain: bool


@dataclass(slots=True)
class StarNetwork:
    """Every message goes up to the broker once and down once per receiver.

    Bytes count out when the broker has them and in when the receiver has: what a newer message
    has replaced in a queue never counts, a duplicate counts once more.
    """

    config: NetworkConfig
    seed: int
    endpoints: dict[NodeId, Endpoint] = field(default_factory=dict)
    retained: dict[NodeId, Retained] = field(default_factory=dict)
    partitions: Partitions = field(default_factory=Partitions)
    law: LinkLaw = field(init=False)
    _clock: Clock | None = None
    _deliver: Callable[[Parcel], None] | None = None
    _uplinks: dict[NodeId, LinkQueue[Posting]] = field(default_factory=dict)
    _downlinks: dict[NodeId, LinkQueue[Parcel]] = field(default_factory=dict)
    _posted: int = 0
    _fetched: int = 0
    _sent: int = 0

    def __post_init__(self) -> None:
        self.law = LinkLaw(self.config, seed=self.seed)

    def connect(self, clock: Clock, deliver: Callable[[Parcel], None]) -> None:
        """Say who tells the time and who hands parcels to their receivers; once, at the start."""
        self._clock, self._deliver = clock, deliver
        config = self.config
        for node in self.endpoints:
            up = config.node_uplink_bytes_per_s.get(node, config.uplink_bytes_per_s)
            down = config.node_downlink_bytes_per_s.get(node, config.downlink_bytes_per_s)
            if up is not None:
                self._uplinks[node] = LinkQueue(
                    clock, up, done=self._arrive, superseded=partial(self._supersede, node)
                )
            if down is not None:
                self._downlinks[node] = LinkQueue(
                    clock, down, done=deliver, superseded=partial(self._skip, node)
                )

    # ------------------------------------------------------------ messages on their way

    def carry(
        self, sender: NodeId, message: Message, receivers: tuple[NodeId, ...], *, retain: bool
    ) -> None:
        """Take a message from its sender."""
        size = self.size_bytes(message)
        uplink = self._uplinks.get(sender) if self._uplinks else None
        if uplink is None:
            self._pass_on(sender, message, receivers, size, retain=retain)
            return
        posting = Posting(sender, message, receivers, size, retain)
        key = (*_kind(message), retain, receivers)
        self._posted += 1
        uplink.put(posting, size, key=key, number=self._posted)

    def fetch(self, receiver: NodeId, senders: Iterable[NodeId]) -> None:
        """Send what the broker keeps of these nodes, presences first: `receiver` has subscribed."""
        kept = [
            (sender, self.retained[sender])
            for sender in senders
            if sender in self.retained and not self.apart(sender, receiver)
        ]
        messages: list[tuple[NodeId, Message]] = [
            (sender, each.presence) for sender, each in kept if each.presence is not None
        ]
        messages += [(sender, each.model) for sender, each in kept if each.model is not None]
        for sender, message in messages:
            size = self.size_bytes(message)
            parcel = Parcel(message, (receiver,), size, retained=True)
            self._fetched += 1
            self._send_down(self.law.mean_latency_s(sender, receiver), parcel, self._fetched)

    def size_bytes(self, message: Message) -> int:
        """Bytes on the wire, exactly as the codec makes them."""
        return encoded_bytes(message, self.config.codec)

    def way_s(self, node: NodeId, numbers: int, *, heard: int) -> float:
        """Seconds of a model of so many numbers on its way up, or down, whichever is longer.

        A downlink that was too slow is shared by the `heard` neighbours. 0 without limits.
        """
        up, down = self._uplinks.get(node), self._downlinks.get(node)
        if not heard:
            return 0.0
        size = numbers * ITEM_BYTES[self.config.codec]
        coming = heard if self.endpoints[node].skipped else 1
        out_s = 0.0 if up is None else size / up.bytes_per_s
        return max(out_s, 0.0 if down is None else coming * size / down.bytes_per_s)

    # ------------------------------------------------------------ who is there

    def hang_up(self, node: NodeId) -> None:
        """The node is dead: what it had not sent and what was on its way to it is lost."""
        for queue in self._queues(node):
            queue.clear()

    def pause(self, node: NodeId) -> None:
        """The node sleeps: what it had not sent waits, what was on its way to it is lost."""
        if node in self._uplinks:
            self._uplinks[node].halt()
        if node in self._downlinks:
            self._downlinks[node].clear()

    def resume(self, node: NodeId) -> None:
        """The node sends again."""
        if node in self._uplinks:
            self._uplinks[node].resume()

    def apart(self, a: NodeId, b: NodeId) -> bool:
        """True while a partition keeps these two from each other."""
        return bool(self.partitions) and self.partitions.apart(a, b)

    def _queues(self, node: NodeId) -> list[LinkQueue[Posting] | LinkQueue[Parcel]]:
        found = (self._uplinks.get(node), self._downlinks.get(node))
        return [queue for queue in found if queue is not None]

    # ------------------------------------------------------------ at the broker

    def _arrive(self, posting: Posting) -> None:
        sender, message, receivers, size, retain = posting
        self._pass_on(sender, message, receivers, size, retain=retain)

    def _pass_on(
        self,
        sender: NodeId,
        message: Message,
        receivers: tuple[NodeId, ...],
        size: int,
        *,
        retain: bool,
    ) -> None:
        """The broker has got the message whole."""
        if self.config.codec != "float32":
            message = self._as_received(message)
        self._count(sender, message, size, len(receivers))
        if retain:
            self._retain(sender, message)
        self._sent += 1
        number = self._sent
        if self.partitions:
            receivers = tuple(r for r in receivers if not self.partitions.apart(sender, r))
        for delay_s, some in self.law.arrivals(sender, receivers, number):
            for group in self._together(some) if self._downlinks else (some,):
                self._send_down(delay_s, Parcel(message, group, size), number)

    def _together(self, receivers: tuple[NodeId, ...]) -> Iterable[tuple[NodeId, ...]]:
        """Whoever has a downlink of his own gets it at a time of his own."""
        yield from ((r,) for r in receivers if r in self._downlinks)
        free = tuple(r for r in receivers if r not in self._downlinks)
        if free:
            yield free

    def _send_down(self, delay_s: float, parcel: Parcel, number: int) -> None:
        """Let a parcel arrive, or join its only receiver's downlink, after the latency."""
        assert self._clock is not None
        assert self._deliver is not None
        downlink = self._downlinks.get(parcel.receivers[0]) if self._downlinks else None
        if downlink is None:
            action = partial(self._deliver, parcel)
        else:
            key = _stream(parcel, number)
            size = parcel.size_bytes
            action = partial(downlink.put, parcel, size, key=key, number=number)
        self._clock.at(self._clock.now_s + delay_s, action, delivery=True)

    def _as_received(self, message: Message) -> Message:
        """The message with its numbers rounded as the wire rounds them."""
        if not isinstance(message, ModelMessage):
            return message
        return ModelMessage(message.header, self._rounded(message.vector), message.extra)

    def _rounded(self, vector: Vector) -> Vector:
        return vector_of(payload_of(vector, self.config.codec), self.config.codec)

    # ------------------------------------------------------------ accounts

    def _count(self, sender: NodeId, message: Message, size: int, receivers: int) -> None:
        endpoint = self.endpoints[sender]
        endpoint.out_bytes += size
        endpoint.out_messages += 1
        endpoint.fan_out_bytes += size * receivers
        if not isinstance(message, ModelMessage):
            endpoint.control_bytes += size

    def _supersede(self, sender: NodeId, posting: Posting) -> None:
        if isinstance(posting.message, ModelMessage):
            self.endpoints[sender].superseded += 1

    def _skip(self, receiver: NodeId, parcel: Parcel) -> None:
        if isinstance(parcel.message, ModelMessage):
            self.endpoints[receiver].skipped += 1

    def _retain(self, sender: NodeId, message: Message) -> None:
        kept = self.retained.get(sender)
        if kept is None:
            kept = self.retained[sender] = Retained()
        if isinstance(message, ModelMessage):
            kept.model = message
        elif isinstance(message, Presence):
            kept.presence = message


def _kind(message: Message) -> tuple[str, ...]:
    """What a newer message must share with an older one to replace it."""
    if isinstance(message, ModelMessage):
        return ("model", message.header.kind)
    return (type(message).__name__,)


def _stream(parcel: Parcel, number: int) -> Hashable:
    """Live models and beats of one sender replace each other; what was retained stays as it is."""
    message = parcel.message
    if parcel.retained:
        return ("retained", number)
    sender = message.header.node if isinstance(message, ModelMessage) else message.node
    return (sender, *_kind(message))
