"""A short connection that reads what is retained, before a node takes its place."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Final, Self

from p2pfl.transport.link import Connection, Connector, Incoming

_SETTLE_S: Final = 0.25
"""No broker says that nothing is retained; after the acknowledgement it may need this long."""

_SETTLE_ROUND_TRIPS: Final = 3.0

_ASKED: Final = 2
"""How often: what NATS is about to store when it is asked, it sends neither then nor later."""


class Probe:
    """Entering connects; every payload that comes in is kept by its topic, the newest alone."""

    def __init__(self, connector: Connector, *, name: str) -> None:
        self._connector = connector
        self._client_id = f"p2pfl-{name}-{secrets.token_hex(8)}"
        self._connection: Connection | None = None
        self._payloads: dict[str, bytes] = {}
        self._histories: dict[str, list[bytes]] = {}
        self._news = asyncio.Event()
        self._round_trip_s = 0.0

    async def __aenter__(self) -> Self:
        """Connect. Raises TransportError or RefusedError."""
        self._connection = await self._connector.connect(
            client_id=self._client_id, handler=self._take, will=None
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Disconnect."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

    async def read(self, topics: Iterable[str]) -> dict[str, bytes]:
        """What is retained under these topics; waits a little for what does not come."""
        missing = dict.fromkeys(topics, 1)
        loop = asyncio.get_running_loop()
        for topic in missing:
            self._payloads.pop(topic, None)

        def complete() -> bool:
            return self._payloads.keys() >= missing.keys()

        for _ in range(_ASKED):
            started_s = loop.time()
            await self._open.subscribe(missing)
            self._round_trip_s = loop.time() - started_s
            patience_s = max(_SETTLE_S, _SETTLE_ROUND_TRIPS * self._round_trip_s)
            if await self.wait_for(complete, timeout_s=patience_s / _ASKED):
                break
        await self._open.unsubscribe(missing)
        return {topic: self._payloads[topic] for topic in missing if self._payloads.get(topic)}

    async def listen(self, topic: str) -> None:
        """Subscribe, and stay so."""
        await self._open.subscribe({topic: 1})

    @asynccontextmanager
    async def following(self, topic: str) -> AsyncIterator[list[bytes]]:
        """All payloads under a topic in the order of their coming: a list that goes on inside.

        Unsubscribes at the end: some brokers (rumqttd) send what is retained to new subscribers
        alone, and not again to one who subscribes anew.
        """
        history = self._histories.setdefault(topic, [])
        await self._open.subscribe({topic: 1})
        await self.wait_for(lambda: bool(history), timeout_s=_SETTLE_S)
        try:
            yield history
        finally:
            del self._histories[topic]
            await self._open.unsubscribe([topic])

    async def settle(self) -> None:
        """Give what others sent a moment ago the time to come."""
        await asyncio.sleep(max(_SETTLE_S, _SETTLE_ROUND_TRIPS * self._round_trip_s))

    def payload(self, topic: str) -> bytes:
        """The newest payload under a topic; empty if there was none."""
        return self._payloads.get(topic, b"")

    async def publish(self, topic: str, payload: bytes, *, retain: bool) -> None:
        """Publish, and wait for the acknowledgement."""
        await self._open.publish(topic, payload, qos=1, retain=retain)

    async def wait_for(self, condition: Callable[[], bool], *, timeout_s: float) -> bool:
        """Wait until the condition holds, asked anew with every payload; False after the time."""
        try:
            async with asyncio.timeout(timeout_s):
                while not condition():
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            return condition()
        return True

    @property
    def _open(self) -> Connection:
        assert self._connection is not None, "the probe is not connected"
        return self._connection

    def _take(self, incoming: Incoming) -> None:
        self._payloads[incoming.topic] = incoming.payload
        if incoming.topic in self._histories and incoming.payload:
            self._histories[incoming.topic].append(incoming.payload)
        self._news.set()
