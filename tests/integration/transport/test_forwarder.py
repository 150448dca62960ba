"""The forwarder that tests put between nodes and brokers does what they ask of it."""

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from support import forwarder
from support.forwarder import RETRANSMIT_S, Forwarder

from p2pfl.transport.broker import free_port


@pytest.fixture
async def echo() -> AsyncIterator[int]:
    """The port of a server that sends back what it is sent."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]


@asynccontextmanager
async def client(port: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


async def echo_s(port: int, size: int) -> float:
    """How long so many bytes take there and back, whole."""
    async with client(port) as (reader, writer):
        data, begun_s = bytes(range(256)) * (size // 256), time.monotonic()
        writer.write(data)
        assert await reader.readexactly(size) == data
        return time.monotonic() - begun_s


def port_of(one: Forwarder) -> int:
    return int(one.url.rpartition(":")[2])


async def test_nothing_is_faster_than_rate_delay_and_losses_allow(echo: int) -> None:
    async with Forwarder(echo, delay_s=0.1) as far:
        assert await echo_s(port_of(far), 256) >= 0.2
    async with Forwarder(echo, bytes_per_s=2e6) as slow:
        # What a late sleep cost is made up for: a tenth of a second of the rate.
        assert await echo_s(port_of(slow), 2**20) >= 2**20 / 2e6 - 0.1
    async with Forwarder(echo, loss=1.0) as lossy:
        assert await echo_s(port_of(lossy), 256) >= 2 * RETRANSMIT_S


async def test_a_cut_breaks_what_is_there_and_a_closed_door_lets_nobody_in(echo: int) -> None:
    async with Forwarder(echo) as one, client(port_of(one)) as (reader, writer):
        writer.write(b"whole")
        assert await reader.readexactly(5) == b"whole"
        one.accepting = False
        one.cut()
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await reader.readexactly(1)
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await echo_s(port_of(one), 256)
        one.accepting = True
        assert await echo_s(port_of(one), 256) > 0.0


async def test_as_a_script_it_serves_until_killed(echo: int) -> None:
    port = free_port("127.0.0.1")
    words = [str(forwarder.__file__), f"127.0.0.1:{port}", f"127.0.0.1:{echo}", "0.05", "0.0"]
    process = await asyncio.create_subprocess_exec(sys.executable, *words)
    try:
        async with asyncio.timeout(20.0):
            while True:
                try:
                    took_s = await echo_s(port, 256)
                    break
                except OSError:
                    await asyncio.sleep(0.05)
    finally:
        process.kill()
        await process.wait()
    assert took_s >= 0.1
