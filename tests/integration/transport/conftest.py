"""One network per test: in memory, or a broker of each kind."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Self

import pytest

from p2pfl.codec.tensors import Dtype
from p2pfl.transport.base import Transport
from p2pfl.transport.broker import EmbeddedBroker
from p2pfl.transport.memory import MemoryNetwork, MemoryTransport
from p2pfl.transport.mqtt import MqttTransport

RUN = "demo-1a2b"

Enter = Callable[..., object]


class Proxy:
    """Forwards to a broker's port; `bytes_per_s` bounds what flows towards the clients."""

    def __init__(self, port: int) -> None:
        self.bytes_per_s: float | None = None
        self.accepting = True
        self._target = port
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=65536)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.cut()
        assert self._server is not None
        self._server.close()
        await self._server.wait_closed()
        await asyncio.sleep(0.05)

    @property
    def url(self) -> str:
        assert self._server is not None
        return f"mqtt://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    def cut(self) -> None:
        """Break every connection, as a dying network does."""
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self.accepting:
            writer.transport.abort()
            return
        try:
            up_reader, up_writer = await asyncio.open_connection(
                "127.0.0.1", self._target, limit=65536
            )
        except OSError:
            writer.transport.abort()
            return
        self._writers |= {writer, up_writer}
        await asyncio.gather(
            self._pump(reader, up_writer, slow=False), self._pump(up_reader, writer, slow=True)
        )

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, slow: bool
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
                if slow and self.bytes_per_s is not None:
                    await asyncio.sleep(len(data) / self.bytes_per_s)
        writer.transport.abort()


class Networks:
    """Enters transports into one run, over whatever network the test was given."""

    def __init__(self, stack: AsyncExitStack, broker: EmbeddedBroker | None) -> None:
        self.broker = broker
        self.memory = MemoryNetwork(RUN)
        self._stack = stack

    async def enter(
        self, node: str, *, dtype: Dtype = "float32", chunk_bytes: int = 64 * 1024
    ) -> Transport:
        """A connected transport that has not joined yet."""
        if self.broker is None:
            memory = MemoryTransport(self.memory, node=node, dtype=dtype, chunk_bytes=chunk_bytes)
            return await self._stack.enter_async_context(memory)
        mqtt = MqttTransport(
            self.broker.url, run=RUN, node=node, dtype=dtype, chunk_bytes=chunk_bytes
        )
        return await self._stack.enter_async_context(mqtt)


@pytest.fixture(
    params=[
        "memory",
        pytest.param("nats", marks=pytest.mark.broker),
        pytest.param("amqtt", marks=pytest.mark.broker),
        pytest.param("mosquitto", marks=pytest.mark.mosquitto),
    ]
)
async def network(
    request: pytest.FixtureRequest, start_broker: Callable[..., object]
) -> AsyncIterator[Networks]:
    """A run's network, of each kind."""
    broker = None if request.param == "memory" else await start_broker(request.param)  # type: ignore[misc]  # awaitable.
    async with AsyncExitStack() as stack:
        yield Networks(stack, broker)


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """On one machine, what is retained comes at once, and so does an answer to CONNECT."""
    monkeypatch.setattr("p2pfl.transport.probe._SETTLE_S", 0.1)
    monkeypatch.setattr("p2pfl.transport.mqtt._CONNECT_TIMEOUT_S", 2.0)


@pytest.fixture
async def proxy(broker: EmbeddedBroker) -> AsyncIterator[Proxy]:
    """A proxy in front of the embedded NATS."""
    async with Proxy(broker.port) as entered:
        yield entered
