"""Answers over HTTP how a node is, on the node's own event loop: no thread, nothing to outlive it.

GET /healthz         200 if live and ready, else 503; JSON that says what the node is at
GET /healthz/live    200 while it can go on
GET /healthz/ready   200 while it is in its run and connected to the broker
GET /metrics         for Prometheus
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from http import HTTPStatus
from typing import Final

from p2pfl.errors import ConfigError
from p2pfl.runtime.health import Health
from p2pfl.runtime.metrics import Metrics

_REQUEST_BYTES_MAX: Final = 8192
_REQUEST_S: Final = 5.0
"""Whoever takes longer to ask, or to take the answer, is hung up on."""
_CONNECTIONS_MAX: Final = 32
_GAP_EVERY_S: Final = 0.25
_GAPS_KEPT: Final = 4096
"""Where nobody scrapes for a quarter of an hour, older gaps are forgotten."""
_JSON: Final = "application/json"


@asynccontextmanager
async def served_health(
    port: int | None, host: str = "127.0.0.1", *, told: Callable[[str], None] | None = None
) -> AsyncIterator[Health | None]:
    """The health of a node to come, answered for at this address; None without a port.

    Port 0 is any free one. `told` hears the address.

    Raises:
        ConfigError: nobody can listen there.
    """
    if port is None:
        yield None
        return
    health = Health()
    server = HealthServer(health)
    place = await server.start(host, port)
    if told is not None:
        told(place)
    measuring = asyncio.create_task(_measure_gaps(health), name="p2pfl event loop gap")
    try:
        yield health
    finally:
        measuring.cancel()
        await server.close()


class HealthServer:
    """A few small answers at a time, one per connection."""

    def __init__(self, health: Health) -> None:
        self._health = health
        self._metrics = Metrics(health)
        self._server: asyncio.Server | None = None
        self._answering: set[asyncio.Task[None]] = set()

    def __repr__(self) -> str:
        return f"<HealthServer with {len(self._answering)} connections>"

    async def start(self, host: str, port: int) -> str:
        """Listen; the address as a URL. Raises ConfigError."""
        try:
            self._server = await asyncio.start_server(
                self._serve, host, port, limit=_REQUEST_BYTES_MAX
            )
        except OSError as problem:
            why = problem.strerror or problem
            raise ConfigError(
                f"health: cannot listen on {host}:{port}: {why}; choose another --health-port"
            ) from None
        bound = self._server.sockets[0].getsockname()[1]
        shown = f"[{host}]" if ":" in host else host
        return f"http://{shown}:{bound}"

    async def close(self) -> None:
        """Hang up on everybody and listen no more."""
        assert self._server is not None
        self._server.close()
        for task in self._answering:
            task.cancel()
        await asyncio.gather(*self._answering, return_exceptions=True)
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._answering.add(task)
        try:
            if len(self._answering) <= _CONNECTIONS_MAX:
                async with asyncio.timeout(_REQUEST_S):
                    await self._answer(reader, writer)
        except (OSError, TimeoutError, asyncio.CancelledError):
            pass  # The asker went away, or the node ends: nobody is left to be told.
        finally:
            self._answering.discard(task)
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            asked = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:
            return
        except asyncio.LimitOverrunError:
            status, kind, body = _refusal(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
            method = ""
        else:
            first, _, rest = asked.decode("latin-1").partition("\r\n")
            method, _, target = first.partition(" ")
            status, kind, body = self._page(method, target.partition(" ")[0], _accept(rest))
        head = (
            f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Type: {kind}\r\n"
            f"Content-Length: {len(body)}\r\nCache-Control: no-store\r\nConnection: close\r\n"
        )
        if status is HTTPStatus.METHOD_NOT_ALLOWED:
            head += "Allow: GET, HEAD\r\n"
        writer.write(f"{head}\r\n".encode("latin-1"))
        if method != "HEAD":
            writer.write(body)
        await writer.drain()

    def _page(self, method: str, target: str, accept: str) -> tuple[HTTPStatus, str, bytes]:
        if method not in {"GET", "HEAD"}:
            return _refusal(HTTPStatus.METHOD_NOT_ALLOWED)
        health = self._health
        match target.partition("?")[0]:
            case "/healthz":
                return _state(health, well=health.live and health.ready)
            case "/healthz/live":
                return _state(health, well=health.live)
            case "/healthz/ready":
                return _state(health, well=health.ready)
            case "/metrics":
                page, kind = self._metrics.page(accept)
                return HTTPStatus.OK, kind, page
        return _refusal(HTTPStatus.NOT_FOUND)


def _state(health: Health, *, well: bool) -> tuple[HTTPStatus, str, bytes]:
    status = HTTPStatus.OK if well else HTTPStatus.SERVICE_UNAVAILABLE
    return status, _JSON, json.dumps(health.as_mapping(), indent=1).encode() + b"\n"


def _refusal(status: HTTPStatus) -> tuple[HTTPStatus, str, bytes]:
    return status, "text/plain; charset=utf-8", f"{status.phrase}\n".encode()


def _accept(headers: str) -> str:
    """The Accept header among these lines; empty: none."""
    for line in headers.split("\r\n"):
        name, _, value = line.partition(":")
        if name.strip().lower() == "accept":
            return value.strip()
    return ""


async def _measure_gaps(health: Health) -> None:
    """By how much timers come late says how long the event loop was held up."""
    loop = asyncio.get_running_loop()
    while True:
        due_s = loop.time() + _GAP_EVERY_S
        await asyncio.sleep(_GAP_EVERY_S)
        gap_s = max(0.0, loop.time() - due_s)
        health.gap_max_s = max(health.gap_max_s, gap_s)
        health.gaps_s.append(gap_s)
        del health.gaps_s[:-_GAPS_KEPT]
