"""One broker connection kept alive: reconnect, resubscribe, run the owner's sending tasks.

Knows no MQTT library: `mqtt.py` gives it connections.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from p2pfl.errors import RefusedError, TransportError

_log: Final = logging.getLogger("p2pfl.transport")

_BACKOFF_FIRST_S: Final = 0.1
_BACKOFF_LAST_S: Final = 5.0
_OPENINGS: Final = 3
"""A busy broker may drop a connection before it has answered the first subscription: try again."""
_TOPICS_PER_SUBSCRIBE: Final = 128
"""One SUBSCRIBE packet of so many topics stays below 20 KiB."""
ASK_AGAIN_S: Final = (1.0, 4.0)
"""Pauses after the first subscription; then what it may have missed is asked for again. NATS stores
what is retained a moment after it has handed it on: a subscription that comes in between gets the
message before it, or none."""


class Disconnected(TransportError):  # noqa: N818 - a state, told to the link alone.
    """The connection is gone; another may be had."""


@dataclass(frozen=True, slots=True)
class Incoming:
    """What the broker delivers."""

    topic: str
    payload: bytes
    retained: bool


@dataclass(frozen=True, slots=True)
class Will:
    """What the broker publishes, retained, when the connection breaks."""

    topic: str
    payload: bytes


Handler = Callable[[Incoming], None]


class Connection(Protocol):
    """One established connection. Every method raises Disconnected when it is gone."""

    room_bytes: int | None = None
    """The longest payload that the broker takes; None: it names no limit."""

    async def publish(self, topic: str, payload: bytes, *, qos: int, retain: bool) -> None:
        """Hand over, and wait for the broker's acknowledgement (QoS 1)."""
        ...

    async def subscribe(self, topics: Mapping[str, int]) -> None:
        """Subscribe to exact topics, each with its QoS."""
        ...

    async def unsubscribe(self, topics: Iterable[str]) -> None:
        """Unsubscribe."""
        ...

    async def ended(self) -> None:
        """Wait until the connection is gone, and raise Disconnected."""
        ...

    async def close(self) -> None:
        """Disconnect cleanly: no last will."""
        ...


class Connector(Protocol):
    """Makes connections to one broker."""

    @property
    def place(self) -> str:
        """Host and port, for messages."""
        ...

    async def connect(self, *, client_id: str, handler: Handler, will: Will | None) -> Connection:
        """Connect. Raises RefusedError where trying again is useless, else TransportError."""
        ...


class Link:
    """Connects, and connects again, until closed or refused.

    `subscriptions` and `generation` say what to be subscribed to: topic -> (QoS, generation); a
    topic of a new generation is subscribed anew, so that what is retained comes again.
    `unsure` says which of them may have missed what was retained while they were made; those are
    subscribed on top of what is there, which loses nothing that comes meanwhile.
    """

    def __init__(
        self,
        connector: Connector,
        *,
        client_id: str,
        handler: Handler,
        will: Will | None,
        subscriptions: Callable[[], Mapping[str, tuple[int, int]]],
        unsure: Callable[[], Collection[str]],
        on_connected: Callable[[], None],
        jobs: Mapping[str, Callable[[Connection], Awaitable[None]]],
        name: str,
    ) -> None:
        self._connector = connector
        self._client_id = client_id
        self._handler = handler
        self._will = will
        self._subscriptions = subscriptions
        self._unsure = unsure
        self._on_connected = on_connected
        self._jobs = jobs
        self._name = name
        self._changed = asyncio.Event()
        self._ready: asyncio.Future[None] | None = None
        self._task: asyncio.Task[None] | None = None
        self._closing = False
        """A cancellation may be lost where a connection breaks at the same moment (Python 3.11)."""
        self._failed_openings = 0
        self._place = ""
        self._told_lost = ""
        """The place of the broker that was told to be lost, until another has told otherwise."""
        self.connected = False
        self.reconnects = 0

    async def open(self, on_fault: Callable[[BaseException], None]) -> None:
        """Connect and subscribe; from then on `on_fault` hears of what cannot be mended.

        Raises:
            RefusedError, TransportError: the first connection failed.
        """
        connection = await self._connector.connect(
            client_id=self._client_id, handler=self._handler, will=self._will
        )
        self._place = self._connector.place
        self._ready = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(
            self._keep(connection, on_fault), name=f"p2pfl link {self._name}"
        )
        await self._ready

    async def close(self) -> None:
        """Disconnect cleanly, and end every task."""
        task, self._task = self._task, None
        if task is not None:
            self._closing = True
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def abort(self) -> None:
        """Disconnect soon; nothing more is sent. `close` waits for it."""
        if self._task is not None:
            self._closing = True
            self._task.cancel()

    def subscriptions_changed(self) -> None:
        """Look at the wanted subscriptions again, soon."""
        self._changed.set()

    async def _keep(self, first: Connection, on_fault: Callable[[BaseException], None]) -> None:
        connection = first
        try:
            while not self._closing:
                try:
                    await self._serve(connection)
                except* (Disconnected, TransportError) as group:
                    refusal = group.subgroup(RefusedError)
                    if refusal is not None:
                        raise _first(refusal) from None
                    self._lost(_first(group))
                if not self._closing:
                    connection = await self._connect_again()
            await connection.close()
        except asyncio.CancelledError:
            if self._ready is not None and not self._ready.done():
                self._ready.set_exception(Disconnected("closed before it was open"))
            raise
        except BaseException as fault:  # noqa: BLE001 - a dead task must stop the node loudly.
            if self._closing:
                return
            problem = _first(fault)
            _log.error("%s: stopped: %r", self._name, problem)
            if self._ready is not None and not self._ready.done():
                self._ready.set_exception(problem)
            on_fault(problem)

    def _lost(self, problem: BaseException) -> None:
        if self._ready is not None and not self._ready.done():
            self._failed_openings += 1
            if self._failed_openings >= _OPENINGS:
                raise TransportError(f"broker {self._place}: {problem}")
        if self.connected:
            _log.warning("%s: lost broker %s: %s", self._name, self._place, problem)
            self._told_lost = self._place
        self.connected = False

    def _tell_back(self) -> None:
        if self._told_lost:
            said = "is back" if self._place == self._told_lost else "goes on in its place"
            _log.warning("%s: broker %s %s", self._name, self._place, said)
            self._told_lost = ""

    async def _serve(self, connection: Connection) -> None:
        """Run all tasks of one connection, until it ends."""
        try:
            self._on_connected()
            async with asyncio.TaskGroup() as group:
                group.create_task(connection.ended(), name=f"p2pfl connection {self._name}")
                group.create_task(self._subscribe(connection), name=f"p2pfl topics {self._name}")
                for job_name, job in self._jobs.items():
                    group.create_task(_run(job, connection), name=f"p2pfl {job_name} {self._name}")
        finally:
            await connection.close()

    async def _connect_again(self) -> Connection:
        backoff_s = _BACKOFF_FIRST_S
        while True:
            if self._closing:
                raise Disconnected("closed")
            await asyncio.sleep(backoff_s * random.uniform(0.5, 1.0))
            backoff_s = min(2.0 * backoff_s, _BACKOFF_LAST_S)
            try:
                connection = await self._connector.connect(
                    client_id=self._client_id, handler=self._handler, will=self._will
                )
            except RefusedError:
                raise
            except TransportError as problem:
                _log.debug("%s: %s", self._name, problem)
            else:
                self.reconnects += 1
                self._place = self._connector.place
                return connection

    async def _subscribe(self, connection: Connection) -> None:
        """Keep what is subscribed equal to what is wanted.

        Nothing waits for the answers but the first: they queue behind all that is on its way.
        """
        actual: dict[str, tuple[int, int]] = {}
        async with asyncio.TaskGroup() as changes:
            while True:
                self._changed.clear()
                wanted = dict(self._subscriptions())
                gone = [topic for topic, have in actual.items() if wanted.get(topic) != have]
                for topic in gone:
                    del actual[topic]
                new = {topic: have for topic, have in wanted.items() if topic not in actual}
                actual |= new
                change = changes.create_task(_resubscribe(connection, gone, new))
                if not self.connected:
                    await change
                    changes.create_task(self._ask_again(connection))
                    self._tell_back()
                    self.connected = True
                if self._ready is not None and not self._ready.done():
                    self._ready.set_result(None)
                await self._changed.wait()

    async def _ask_again(self, connection: Connection) -> None:
        """Have sent again, now and then, what is retained under topics that may have missed it."""
        for pause_s in ASK_AGAIN_S:
            await asyncio.sleep(pause_s)
            wanted = self._subscriptions()
            again = {topic: wanted[topic] for topic in self._unsure()}
            await _resubscribe(connection, [], again)


async def _resubscribe(
    connection: Connection, gone: Iterable[str], new: Mapping[str, tuple[int, int]]
) -> None:
    """Unsubscribe, then subscribe, one sent right behind the other; wait for all answers."""
    async with asyncio.TaskGroup() as group:  # Its tasks begin, and so send, in this order.
        for topics in _batches(list(gone)):
            group.create_task(connection.unsubscribe(topics))
        for topics in _batches(list(new)):
            qos = {topic: new[topic][0] for topic in topics}
            group.create_task(connection.subscribe(qos))


async def _run(job: Callable[[Connection], Awaitable[None]], connection: Connection) -> None:
    await job(connection)


def _batches(topics: list[str]) -> Iterable[list[str]]:
    for start in range(0, len(topics), _TOPICS_PER_SUBSCRIBE):
        yield topics[start : start + _TOPICS_PER_SUBSCRIBE]


def _first(problem: BaseException) -> BaseException:
    while isinstance(problem, BaseExceptionGroup):
        problem = problem.exceptions[0]
    return problem
