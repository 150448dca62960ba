"""What brokers answer to the first packet, and what that tells of them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from p2pfl.errors import RefusedError, TransportError
from p2pfl.transport.greeting import Greeting, greet
from p2pfl.transport.mqtt import MqttTransport


@asynccontextmanager
async def answering(answer: bytes, to_3: bytes = b"") -> AsyncIterator[tuple[int, list[bytes]]]:
    """A server that reads one packet, says this (to MQTT 3.1.1 the second), and hangs up."""
    heard: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.read(1000))
        writer.write(answer if b"MQTT\x05" in heard[-1] else to_3)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1], heard
    await asyncio.sleep(0)


def connack(properties: bytes, code: int = 0) -> bytes:
    length = bytes([len(properties)])
    if len(properties) > 127:
        length = bytes([len(properties) & 0x7F | 0x80, len(properties) >> 7])
    body = bytes([0, code]) + length + properties
    size = bytes([len(body)])
    if len(body) > 127:
        size = bytes([len(body) & 0x7F | 0x80, len(body) >> 7])
    return b"\x20" + size + body


LIMITED = b"\x21\x00\x0a\x27\x00\x02\x00\x00\x12\x00\x02id\x26\x00\x01k\x00\x01v\x24\x01\x25\x01"


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (b"\x20\x02\x00\x01", Greeting()),
        (b"\x20\x03\x00\x84\x00", Greeting()),
        (connack(b""), Greeting(speaks_5=True)),
        (connack(b"", code=0x87), Greeting(speaks_5=True)),
        (connack(LIMITED), Greeting(speaks_5=True, packet_bytes_max=131_072, qos_max=1)),
        (
            connack(b"\x1f\x00\xc8" + b"x" * 200 + b"\x25\x00"),
            Greeting(speaks_5=True, retains=False),
        ),
    ],
)
async def test_an_answer_tells_what_a_broker_speaks_and_can(
    answer: bytes, expected: Greeting
) -> None:
    async with answering(answer) as (port, heard):
        told = await greet("127.0.0.1", port, context=None, user="ann", password="word")  # noqa: S106 - no secret.
    assert told == expected
    assert heard[0][0] == 0x10
    assert b"\x00\x04MQTT\x05\xc2" in heard[0]
    assert heard[0].endswith(b"\x00\x03ann\x00\x04word")


async def test_a_broker_that_hangs_up_on_mqtt_5_is_asked_again_in_3_1_1() -> None:
    async with answering(b"", to_3=b"\x20\x02\x00\x00") as (port, heard):
        assert await greet("127.0.0.1", port, context=None) == Greeting()
    assert [packet[8] for packet in heard] == [5, 4]


async def test_one_that_never_answers_cannot_be_reached() -> None:
    async with answering(b"") as (port, _):
        with pytest.raises(TransportError, match=f"{port} cannot be reached: it closes the conn"):
            async with MqttTransport(f"mqtt://127.0.0.1:{port}", run="r-1", node="a"):
                pass


@pytest.mark.parametrize("answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n" * 9, connack(b"\x27\x00")])
async def test_what_is_no_broker_is_told(answer: bytes) -> None:
    async with answering(answer) as (port, _):
        with pytest.raises(TransportError, match=f"127.0.0.1:{port} is no MQTT broker"):
            await greet("127.0.0.1", port, context=None)


@pytest.mark.parametrize(
    ("properties", "reason"),
    [
        (b"\x25\x00", "it keeps no retained messages, which p2pfl needs"),
        (b"\x24\x00", r"it acknowledges no messages \(QoS 1\)"),
        (b"\x27\x00\x00\x10\x00", "it takes packets of 4096 bytes at most instead of 16384"),
    ],
)
async def test_a_broker_that_cannot_do_is_refused_in_one_line(
    properties: bytes, reason: str
) -> None:
    async with answering(connack(properties)) as (port, _):
        with pytest.raises(RefusedError, match=f"broker 127.0.0.1:{port}: {reason}"):
            async with MqttTransport(f"mqtt://127.0.0.1:{port}", run="r-1", node="a"):
                pass
