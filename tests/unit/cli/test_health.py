"""`p2pfl health`: what it says of whoever answers, and its exit codes."""

import asyncio

import pytest

from p2pfl.cli.main import main
from p2pfl.runtime.health_server import served_health
from p2pfl.transport.broker import free_port


async def health(*words: str) -> int:
    """The command, beside this event loop."""
    return await asyncio.to_thread(main, ("health", *words))


async def test_a_node_that_still_starts_is_live_and_not_well(
    capsys: pytest.CaptureFixture[str],
) -> None:
    places: list[str] = []
    async with served_health(0, told=places.append):
        port = places[0].rsplit(":", 1)[1]
        assert await health("--port", port, "--live") == 0
        assert await health("--port", port) == 6
    assert capsys.readouterr().out == "a node: starting, live, not ready\n" * 2


async def test_where_nobody_answers_is_the_networks_fault(
    capsys: pytest.CaptureFixture[str],
) -> None:
    port = str(free_port("127.0.0.1"))
    assert await health("--port", port) == 3
    assert f"no node answers at 127.0.0.1:{port}" in capsys.readouterr().err


async def test_it_waits_for_a_node_that_is_late() -> None:
    port = free_port("127.0.0.1")
    asking = asyncio.create_task(health("--port", str(port), "--live", "--wait", "30"))
    await asyncio.sleep(0.3)
    assert not asking.done()
    async with served_health(port):
        assert await asking == 0


async def test_who_is_no_node_is_told_apart(capsys: pytest.CaptureFixture[str]) -> None:
    async def other(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]")
        writer.close()

    server = await asyncio.start_server(other, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        assert await health("--port", str(port)) == 2
    assert "is no node of p2pfl" in capsys.readouterr().err
