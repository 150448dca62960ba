"""A TCP forwarder as slow, far, lossy or broken as a test wants its network: no kernel needed.

python forwarder.py HOST:PORT TARGET_HOST:PORT DELAY_S LOSS [BYTES_PER_S]: it listens, until killed.
"""

import asyncio
import contextlib
import random
import sys
from types import TracebackType
from typing import Final, Self
from urllib.parse import urlsplit

RETRANSMIT_S: Final = 0.2
"""What a lost segment costs a TCP connection (the least retransmission timeout of Linux)."""

_SEGMENT: Final = 1448
_PIECE_BYTES: Final = 16 * 1024
"""A little at a time, so that a small message never waits behind much of a large one."""
_PIECES: Final = 64
_MADE_UP_S: Final = 0.1
"""What a late sleep has cost of the rate is made up for, up to this."""

Pieces = asyncio.Queue[tuple[float, bytes]]
"""When to hand on, and what; nothing at the end."""


class Forwarder:
    """An async context manager between clients and a port; what it does to them may be changed.

    Each direction of each connection has the whole rate for itself. Each piece is handed on
    `delay_s` after it came, or later where a segment of it was `loss`-t. `target`: a port of this
    machine, HOST:PORT, or a broker's URL, whose user the forwarder's own `url` has too.
    """

    def __init__(
        self,
        target: int | str,
        *,
        listen: tuple[str, int] = ("127.0.0.1", 0),
        bytes_per_s: float | None = None,
        delay_s: float = 0.0,
        loss: float = 0.0,
    ) -> None:
        self.bytes_per_s = bytes_per_s
        self.delay_s = delay_s
        self.loss = loss
        self.accepting = True
        name = f"127.0.0.1:{target}" if isinstance(target, int) else target
        self._target = urlsplit(name if "//" in name else f"mqtt://{name}")
        self._listen = listen
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._pumps: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, *self._listen, limit=_PIECE_BYTES)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()
        for pump in self._pumps:
            pump.cancel()
        await self._server.wait_closed()
        await asyncio.sleep(0.05)

    @property
    def url(self) -> str:
        """Of the broker behind it."""
        assert self._server is not None
        user, at, _ = self._target.netloc.rpartition("@")
        return f"mqtt://{user}{at}127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    def cut(self) -> None:
        """Break every connection, as a dying network does."""
        for writer in self._writers:
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if not self.accepting:
                raise ConnectionRefusedError
            up_reader, up_writer = await asyncio.open_connection(
                self._target.hostname, self._target.port or 1883, limit=_PIECE_BYTES
            )
        except OSError:
            writer.transport.abort()
            return
        pumps = [
            asyncio.create_task(self._pump(reader, up_writer)),
            asyncio.create_task(self._pump(up_reader, writer)),
        ]
        self._writers |= {writer, up_writer}
        self._pumps |= {*pumps}
        await asyncio.gather(*pumps, return_exceptions=True)
        self._writers -= {writer, up_writer}
        self._pumps -= {*pumps}

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One direction, until its sender has closed or the other end is gone."""
        pieces: Pieces = asyncio.Queue(_PIECES)
        try:
            with contextlib.suppress(ExceptionGroup):
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._take(reader, pieces))
                    group.create_task(_hand_on(pieces, writer))
        finally:
            writer.close()

    async def _take(self, reader: asyncio.StreamReader, pieces: Pieces) -> None:
        loop, chance = asyncio.get_running_loop(), random.Random(0)
        free_s, data = loop.time(), b"."
        while data:
            data = await reader.read(_PIECE_BYTES)
            lost = self.loss and chance.random() > (1.0 - self.loss) ** -(-len(data) // _SEGMENT)
            await pieces.put((loop.time() + self.delay_s + bool(lost) * RETRANSMIT_S, data))
            if self.bytes_per_s is not None:
                free_s = max(free_s, loop.time() - _MADE_UP_S) + len(data) / self.bytes_per_s
                await asyncio.sleep(free_s - loop.time())


async def _hand_on(pieces: Pieces, writer: asyncio.StreamWriter) -> None:
    loop = asyncio.get_running_loop()
    while True:
        due_s, data = await pieces.get()
        if due_s > loop.time():
            await asyncio.sleep(due_s - loop.time())
        if not data:
            return
        writer.write(data)
        await writer.drain()


async def main(listen: str, target: str, delay_s: str, loss: str, bytes_per_s: str = "") -> None:
    """Serve until killed."""
    own_host, _, own_port = listen.rpartition(":")
    forwarder = Forwarder(
        target,
        listen=(own_host, int(own_port)),
        bytes_per_s=float(bytes_per_s) if bytes_per_s else None,
        delay_s=float(delay_s),
        loss=float(loss),
    )
    async with forwarder:
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
