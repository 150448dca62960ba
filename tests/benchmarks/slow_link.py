"""A link of so many bytes per second in each direction, in front of a broker's port."""

import asyncio
import contextlib
from types import TracebackType
from typing import Self

PIECE_BYTES = 16 * 1024


class SlowLink:
    """Forwards to a port of this machine; each connection has the whole rate for itself."""

    def __init__(self, port: int, *, bytes_per_s: float) -> None:
        self._target = port
        self._bytes_per_s = bytes_per_s
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=PIECE_BYTES)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for writer in self._writers:
            writer.transport.abort()
        assert self._server is not None
        self._server.close()
        await self._server.wait_closed()
        await asyncio.sleep(0.05)

    @property
    def url(self) -> str:
        assert self._server is not None
        return f"mqtt://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        up_reader, up_writer = await asyncio.open_connection(
            "127.0.0.1", self._target, limit=PIECE_BYTES
        )
        self._writers |= {writer, up_writer}
        await asyncio.gather(self._pump(reader, up_writer), self._pump(up_reader, writer))

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """A little at a time, so that a small message never waits behind much of a large one."""
        loop = asyncio.get_running_loop()
        free_s = loop.time()
        with contextlib.suppress(OSError):
            while data := await reader.read(PIECE_BYTES):
                writer.write(data)
                await writer.drain()
                # What a late sleep lost is made up for, up to a tenth of a second.
                free_s = max(free_s, loop.time() - 0.1) + len(data) / self._bytes_per_s
                await asyncio.sleep(free_s - loop.time())
        writer.transport.abort()
