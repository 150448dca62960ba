"""What a broker says when it is greeted: which MQTT it speaks, and what it can and cannot do.

A connection of our own, before the library's: some brokers (RabbitMQ 3.10, rumqttd) close it
without a word where they know no MQTT 5, and the library waits seconds for an answer.
"""

import asyncio
import contextlib
import secrets
import ssl
import struct
from dataclasses import dataclass
from typing import Final

from p2pfl.errors import TransportError

PACKET_BYTES_MIN: Final = 16 * 1024
"""Presence, heads and claims have some hundred bytes, a manifest as many as its experiment file."""

_CONNACK: Final = 0x20
_KEEPALIVE_S: Final = 10
_DISCONNECT: Final = b"\xe0\x00"
_MORE, _LOW = 0x80, 0x7F
"""Of a variable byte integer: another byte follows, and this one's value."""

_WRONG_PROTOCOL: Final = frozenset({0x01, 0x84})
"""Unacceptable protocol version, in 3.1.1 and in 5."""

_QOS_MAX, _RETAINS, _PACKET_BYTES_MAX = 0x24, 0x25, 0x27
_NUMBERS: Final = {
    **dict.fromkeys((_QOS_MAX, _RETAINS, 0x28, 0x29, 0x2A), ">B"),
    **dict.fromkeys((0x13, 0x21, 0x22), ">H"),
    **dict.fromkeys((0x11, _PACKET_BYTES_MAX), ">I"),
}
"""Properties of CONNACK that are numbers (MQTT 5.0, section 3.2.2.3); all others are texts."""

_USER_PROPERTY: Final = 0x26


@dataclass(frozen=True, slots=True, kw_only=True)
class Greeting:
    """What a broker has said of itself; one of MQTT 3.1.1 says nothing."""

    speaks_5: bool = False
    packet_bytes_max: int | None = None
    """Larger packets break the connection; None: it names no limit."""
    retains: bool = True
    qos_max: int = 2

    @property
    def lack(self) -> str:
        """What it cannot do that we need, as a part of a sentence; empty: nothing."""
        if not self.retains:
            return "it keeps no retained messages"
        if self.qos_max < 1:
            return "it acknowledges no messages (QoS 1)"
        if self.packet_bytes_max is not None and self.packet_bytes_max < PACKET_BYTES_MIN:
            return (
                f"it takes packets of {self.packet_bytes_max} bytes at most instead of"
                f" {PACKET_BYTES_MIN}"
            )
        return ""


async def greet(
    host: str,
    port: int,
    *,
    context: ssl.SSLContext | None,
    user: str | None = None,
    password: str | None = None,
) -> Greeting:
    """Connect by MQTT 5, or else by 3.1.1, read the answer, and disconnect.

    Whether we are let in is not asked.

    Raises:
        OSError: nobody listens or answers there, or its certificate is not trusted.
        TransportError: what answers is no MQTT broker.
    """
    for protocol in (5, 4):
        reader, writer = await asyncio.open_connection(host, port, ssl=context)
        try:
            writer.write(_connect(protocol, f"p2pfl-{secrets.token_hex(8)}", user, password))
            kind, answer = await _packet(reader)
            writer.write(_DISCONNECT)
        except (asyncio.IncompleteReadError, ConnectionError):
            continue
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
        try:
            if kind == _CONNACK:
                return _read(answer)
        except (IndexError, struct.error):
            pass
        raise TransportError(f"what answers at {host}:{port} is no MQTT broker: {answer[:32]!r}")
    raise ConnectionResetError("it closes the connection without an answer")


def _connect(protocol: int, client_id: str, user: str | None, password: str | None) -> bytes:
    flags, payload = 0x02, _text(client_id)
    if user is not None:
        flags, payload = flags | 0x80, payload + _text(user)
    if password is not None:
        flags, payload = flags | 0x40, payload + _text(password)
    properties = b"\x00" if protocol == 5 else b""  # noqa: PLR2004 - MQTT 5.
    head = _text("MQTT") + bytes([protocol, flags]) + struct.pack(">H", _KEEPALIVE_S)
    body = head + properties + payload
    return b"\x10" + _length(len(body)) + body


async def _packet(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """The first packet: its first byte, and its body."""
    kind = (await reader.readexactly(1))[0]
    length = (await reader.readexactly(1))[0]
    if length & _MORE:
        length = (length & _LOW) | (await reader.readexactly(1))[0] << 7
    return kind, await reader.readexactly(length)


def _read(body: bytes) -> Greeting:
    """A CONNACK: flags, reason, and in MQTT 5 the properties with their length before them."""
    if body[1] in _WRONG_PROTOCOL or not body[2:]:
        return Greeting()
    at = 4 if body[2] & _MORE else 3
    found: dict[int, int] = {}
    while at < len(body):
        name = body[at]
        at += 1
        if name in _NUMBERS:
            (found[name],) = struct.unpack_from(_NUMBERS[name], body, at)
            at += struct.calcsize(_NUMBERS[name])
            continue
        for _ in range(2 if name == _USER_PROPERTY else 1):
            (length,) = struct.unpack_from(">H", body, at)
            at += 2 + length
    return Greeting(
        speaks_5=True,
        packet_bytes_max=found.get(_PACKET_BYTES_MAX),
        retains=found.get(_RETAINS, 1) == 1,
        qos_max=found.get(_QOS_MAX, 2),
    )


def _text(text: str) -> bytes:
    data = text.encode()
    return struct.pack(">H", len(data)) + data


def _length(size: int) -> bytes:
    """MQTT's variable byte integer."""
    out = b""
    while True:
        size, low = divmod(size, _MORE)
        out += bytes([low | _MORE if size else low])
        if not size:
            return out
