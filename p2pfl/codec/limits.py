"""How much a peer may make us hold: every number with its reason."""

from dataclasses import dataclass
from typing import Final

CHUNK_BYTES: Final = 512 * 1024
"""Frames above this travel in parts. Measured with aiomqtt through mosquitto: 512 KiB parts move a
50 MB model 2.3 times faster than one packet and cut event loop gaps from 163 to 6 ms."""

INLINE_BYTES_MAX: Final = 64 * 1024
"""Frames up to this travel whole, a published one inside the retained head."""

PACKET_BYTES_MAX: Final = 1_000_000
"""The largest MQTT packet that common brokers take unasked (NATS 1 MiB, EMQX 1 MB)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What breaks one of these raises ProtocolError, is counted and dropped."""

    frame_bytes_max: int = 2**32 - 1
    """The part header counts frame bytes in 32 bits; a transport lowers it to its own model."""
    header_bytes_max: int = 16_384
    """A model's header needs some 300 bytes; the rest is room for what some algorithms say of each
    neighbour, and a signature."""
    parts_max: int = 2**16 - 1
    """The part header counts parts in 16 bits: 4 GiB in the smallest useful parts (64 KiB)."""
    peers_max: int = 1024
    """One assembly and one model per neighbour: bounds memory before the graph's degree does."""


LIMITS: Final = Limits()
"""The defaults."""
