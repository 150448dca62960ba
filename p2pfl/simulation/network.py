"""The virtual network: a broker star with latency, loss, retained messages and counted bytes."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from p2pfl.codec.frame import encoded_bytes
from p2pfl.codec.tensors import payload_of, vector_of
from p2pfl.config.schema import NetworkConfig
from p2pfl.draws import draw
from p2pfl.messages import Message, ModelMessage, Presence
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

    @property
    def total_bytes(self) -> int:
        """In and out."""
        return self.out_bytes + self.in_bytes


@dataclass(slots=True)
class Retained:
    """What the broker keeps of one node."""

    model: ModelMessage | None = None
    presence: Presence | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Parcel:
    """One message on its way to the nodes that will get it at the same moment."""

    message: Message
    receivers: tuple[NodeId, ...]
    size_bytes: int


@dataclass(slots=True)
class StarNetwork:
    """Every message goes up to the broker once and down once per receiver.

    Latency is end to end. Loss strikes single deliveries; a broker's retained copy survives.
    """

    config: NetworkConfig
    seed: int
    endpoints: dict[NodeId, Endpoint] = field(default_factory=dict)
    retained: dict[NodeId, Retained] = field(default_factory=dict)
    _sent: int = 0

    def carry(
        self, sender: NodeId, message: Message, receivers: Iterable[NodeId], *, retain: bool
    ) -> Iterator[tuple[float, Parcel]]:
        """Take a message from its sender; yields (latency in seconds, what arrives then)."""
        message = self._as_received(message)
        size = encoded_bytes(message, self.config.codec)
        everyone = tuple(receivers)
        self._count(sender, message, size, len(everyone))
        if retain:
            self._retain(sender, message)
        self._sent += 1
        kept = (
            tuple(r for r in everyone if not self._loses(sender, r))
            if self.config.loss
            else (everyone)
        )
        if self.config.latency == "constant":
            if kept:
                yield self.config.latency_s, Parcel(message, kept, size)
            return
        for receiver in kept:
            uniform = draw(self.seed, f"{sender}>{receiver}", "latency", self._sent)
            latency_s = -self.config.latency_s * math.log(1.0 - uniform)
            yield latency_s, Parcel(message, (receiver,), size)

    def count_in(self, receiver: NodeId, parcel: Parcel) -> None:
        """A living receiver has got the parcel."""
        endpoint = self.endpoints[receiver]
        endpoint.in_bytes += parcel.size_bytes
        endpoint.in_messages += 1
        if not isinstance(parcel.message, ModelMessage):
            endpoint.control_bytes += parcel.size_bytes

    def stored(self, nodes: Iterable[NodeId]) -> list[Message]:
        """What the broker keeps of these nodes, presences first, for one who subscribes now."""
        kept = [self.retained[n] for n in nodes if n in self.retained]
        presences: list[Message] = [k.presence for k in kept if k.presence is not None]
        models: list[Message] = [k.model for k in kept if k.model is not None]
        return presences + models

    def size_bytes(self, message: Message) -> int:
        """Bytes on the wire, exactly as the codec makes them."""
        return encoded_bytes(message, self.config.codec)

    def _as_received(self, message: Message) -> Message:
        """The message with its numbers rounded as the wire rounds them."""
        if self.config.codec == "float32" or not isinstance(message, ModelMessage):
            return message
        return ModelMessage(message.header, self._rounded(message.vector))

    def _rounded(self, vector: Vector) -> Vector:
        return vector_of(payload_of(vector, self.config.codec), self.config.codec)

    def _count(self, sender: NodeId, message: Message, size: int, receivers: int) -> None:
        endpoint = self.endpoints[sender]
        endpoint.out_bytes += size
        endpoint.out_messages += 1
        endpoint.fan_out_bytes += size * receivers
        if not isinstance(message, ModelMessage):
            endpoint.control_bytes += size

    def _retain(self, sender: NodeId, message: Message) -> None:
        kept = self.retained.setdefault(sender, Retained())
        if isinstance(message, ModelMessage):
            kept.model = message
        elif isinstance(message, Presence):
            kept.presence = message

    def _loses(self, sender: NodeId, receiver: NodeId) -> bool:
        uniform = draw(self.seed, f"{sender}>{receiver}", "loss", self._sent)
        return uniform < self.config.loss
