"""MQTT: a node's place in a run, and a watcher's, over any broker of MQTT 3.1.1 or 5."""

import asyncio
import contextlib
import logging
import math
import socket
import ssl
import sys
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, cast

import aiomqtt

from p2pfl.codec.limits import CHUNK_BYTES, INLINE_BYTES_MAX
from p2pfl.codec.tensors import Dtype
from p2pfl.errors import RefusedError, TransportError
from p2pfl.transport.address import Broker, read_brokers
from p2pfl.transport.greeting import Greeting, greet
from p2pfl.transport.link import Connection, Disconnected, Handler, Incoming, Will
from p2pfl.transport.manifest import Manifest
from p2pfl.transport.node import NodeTransport
from p2pfl.transport.observer import RunObserver
from p2pfl.transport.patience import Patience

KEEPALIVE_S: Final = 10
"""A dead link is noticed by both ends after 1.5 times this."""

_SOCKET_OPTIONS: Final = [
    # Without it, small messages wait 40 ms for the acknowledgement of those before.
    (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
    # TCP doubles its pauses while a link is away, at both ends, and is silent for as long again
    # once the link is back; a new connection speaks at once.
    *(
        [(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 500 * KEEPALIVE_S)]
        if sys.platform == "linux"
        else []
    ),
]

_CONNECT_TIMEOUT_S: Final = 5.0
"""The library waits as long even where the connection breaks before its CONNACK."""

_ENVELOPE_BYTES_MAX: Final = 512
"""A PUBLISH packet beside its payload: our longest topic has some 220 bytes."""

_NO_ENTRY: Final = frozenset({4, 5, 0x86, 0x87, 0x8A, 0x8C})
"""CONNACK: bad user name or password, not authorised, banned, bad authentication method."""

_SUBSCRIBE_FAILED: Final = 0x80

_BROKE: Final = frozenset({7, 0x80})
"""How the library numbers the end of a connection of which the broker said nothing."""

_log: Final = logging.getLogger("p2pfl.transport")


_Sink = type[asyncio.Queue[aiomqtt.Message]]


class MqttConnector:
    """Connects to the first of some addresses that lets us in; all lead to one broker or cluster.

    Where a connection breaks, the next one is made to the next address: its server may be gone.
    In a cluster subscriptions are QoS 0; what a server drops then, the protocol repeats or renews.
    """

    def __init__(self, brokers: Sequence[Broker], *, keepalive_s: int = KEEPALIVE_S) -> None:
        self._doors = [_Door(broker, keepalive_s) for broker in brokers]
        self._at = 0

    @property
    def place(self) -> str:
        """Host and port of the address in use, for messages."""
        return self._doors[self._at].place

    async def connect(self, *, client_id: str, handler: Handler, will: Will | None) -> Connection:
        """Connect. Raises RefusedError where all refuse, else TransportError; one line for all."""
        problems = []
        for _ in self._doors:
            at, patience = self._at, Patience()
            try:
                sink = _sink(handler, patience)
                client = await self._doors[at].connect(client_id, sink, will)
            except TransportError as problem:
                problems.append(problem)
                self._leave(at)
            else:
                return _MqttConnection(
                    client,
                    patience,
                    room_bytes=self._doors[at].room_bytes,
                    qos_max=1 if len(self._doors) == 1 else 0,
                    broken=partial(self._leave, at),
                )
        if len(problems) == 1:
            raise problems[0]
        refused = all(isinstance(problem, RefusedError) for problem in problems)
        kind = RefusedError if refused else TransportError
        raise kind("; ".join(str(problem) for problem in problems))

    def _leave(self, at: int) -> None:
        """Try the next address first, unless that was decided already."""
        if self._at == at:
            self._at = (at + 1) % len(self._doors)


class _Door:
    """One address; connects by MQTT 5, or by 3.1.1 where the broker knows no 5, and remembers."""

    def __init__(self, broker: Broker, keepalive_s: int) -> None:
        self._broker = broker
        self._context = broker.context()
        self._keepalive_s = keepalive_s
        self._greeting: Greeting | None = None

    @property
    def place(self) -> str:
        return self._broker.place

    @property
    def room_bytes(self) -> int | None:
        """How long a payload may be, as the broker said; None: it did not."""
        limit = self._greeting.packet_bytes_max if self._greeting is not None else None
        return None if limit is None else limit - _ENVELOPE_BYTES_MAX

    async def connect(self, client_id: str, sink: _Sink, will: Will | None) -> aiomqtt.Client:
        """Connect. Raises RefusedError or TransportError, with a sentence for the user."""
        try:
            greeting = await self._greeted()
            return await self._try(client_id, sink, will, speaks_5=greeting.speaks_5)
        except ssl.SSLCertVerificationError as problem:
            raise RefusedError(
                f"broker {self.place}: its certificate is not trusted, name its authority with "
                f"ca_file ({problem.verify_message})"
            ) from None
        except OSError as problem:
            why = str(problem) or "no answer"
            raise TransportError(f"broker {self.place} cannot be reached: {why}") from None
        except aiomqtt.MqttError as problem:
            self._greeting = None  # What answered may have been something else, or dying.
            code = _code(problem)
            if code in _NO_ENTRY:
                who = f"user {self._broker.user!r}" if self._broker.user else "no user name"
                raise RefusedError(
                    f"broker {self.place} refuses {who}: wrong or missing password ({problem})"
                ) from None
            raise TransportError(f"broker {self.place} cannot be reached: {problem}") from None

    async def _greeted(self) -> Greeting:
        """What the broker says of itself, asked once. Raises RefusedError where it cannot do.

        This checks its certificate too: the library leaks its socket where that fails.
        """
        if self._greeting is None:
            broker = self._broker
            async with asyncio.timeout(_CONNECT_TIMEOUT_S):
                self._greeting = await greet(
                    broker.host,
                    broker.port,
                    context=self._context,
                    user=broker.user,
                    password=broker.password,
                )
        lack = self._greeting.lack
        if lack:
            raise RefusedError(f"broker {self.place}: {lack}, which p2pfl needs; change that there")
        return self._greeting

    async def _try(
        self, client_id: str, sink: _Sink, will: Will | None, *, speaks_5: bool
    ) -> aiomqtt.Client:
        versions = aiomqtt.ProtocolVersion
        client = aiomqtt.Client(
            self._broker.host,
            self._broker.port,
            username=self._broker.user,
            password=self._broker.password,
            identifier=client_id,
            queue_type=sink,
            protocol=versions.V5 if speaks_5 else versions.V311,
            will=aiomqtt.Will(will.topic, will.payload, qos=1, retain=True) if will else None,
            clean_session=None if speaks_5 else True,
            timeout=_CONNECT_TIMEOUT_S,
            keepalive=self._keepalive_s,
            tls_context=self._context,
            socket_options=_SOCKET_OPTIONS,
        )
        # Its warning is for callers without a bound of their own; ours is 8 parts and a few more.
        client.pending_calls_threshold = 1024
        return await client.__aenter__()


class _MqttConnection:
    """One connection of the library's client."""

    def __init__(
        self,
        client: aiomqtt.Client,
        patience: Patience,
        *,
        room_bytes: int | None,
        qos_max: int,
        broken: Callable[[], None],
    ) -> None:
        self._client = client
        self._qos_max = qos_max
        self._patience = patience
        self._broken = broken
        self.room_bytes = room_bytes

    async def publish(self, topic: str, payload: bytes, *, qos: int, retain: bool) -> None:
        if self.room_bytes is not None and len(payload) > self.room_bytes:
            raise RefusedError(
                f"the broker takes messages of {self.room_bytes} bytes at most, and {topic} has "
                f"{len(payload)}: raise its largest packet size"
            )
        async with self._answered():
            await self._client.publish(topic, payload, qos=qos, retain=retain, timeout=math.inf)

    async def subscribe(self, topics: Mapping[str, int]) -> None:
        async with self._answered():
            # A NATS cluster keeps a replicated consumer for each QoS 1 subscription: one of its
            # servers dead, each takes up to 5 s, and a node that comes back half a minute.
            asked = [(topic, min(qos, self._qos_max)) for topic, qos in topics.items()]
            codes = await self._client.subscribe(asked, timeout=math.inf)
            refused = [
                topic
                for (topic, qos), code in zip(asked, codes, strict=False)
                if _number(code) >= _SUBSCRIBE_FAILED and qos
            ]
            if refused:
                # NATS allows 63 QoS 1 subscriptions a session unless told; QoS 0 is not bounded.
                zeros = [(topic, 0) for topic in refused]
                await self._client.subscribe(zeros, timeout=math.inf)

    async def unsubscribe(self, topics: Iterable[str]) -> None:
        async with self._answered():
            await self._client.unsubscribe(list(topics), timeout=math.inf)

    async def ended(self) -> None:
        try:
            async for _ in self._client.messages:  # The sink keeps everything: none ever comes.
                pass
        except aiomqtt.MqttError as problem:
            self._broken()
            raise Disconnected(_why(problem)) from None
        self._broken()
        raise Disconnected("the broker closed the connection")

    async def close(self) -> None:
        try:
            async with asyncio.timeout(_CONNECT_TIMEOUT_S):
                await self._client.__aexit__(None, None, None)
                # Why it broke, if it broke while nobody waited for that: fetched, or asyncio tells
                # on some later day of a future whose exception was never retrieved.
                await anext(self._client.messages)
        except (aiomqtt.MqttError, TimeoutError) as problem:
            _log.debug("disconnect: %s", problem)

    @contextlib.asynccontextmanager
    async def _answered(self) -> AsyncIterator[None]:
        """Translates errors, and bounds the wait."""
        try:
            async with self._patience.wait():
                yield
        except aiomqtt.MqttError as problem:
            raise Disconnected(_why(problem)) from None
        except Disconnected:
            self._broken()
            raise


class MqttTransport(NodeTransport):
    """One node's place in a run, over MQTT; see `Transport` for the contract.

    `url` is one address, or several of one broker or cluster with commas between, tried in turn.
    Entering connects. `run` is a run id, or an experiment's name after `find_or_create_run`.
    """

    def __init__(
        self,
        url: str,
        *,
        run: str,
        node: str,
        password: str | None = None,
        ca_file: str | Path | None = None,
        cert_file: str | Path | None = None,
        key_file: str | Path | None = None,
        pinned: bool = False,
        dtype: Dtype = "float32",
        chunk_bytes: int = CHUNK_BYTES,
        inline_bytes_max: int = INLINE_BYTES_MAX,
        keepalive_s: int = KEEPALIVE_S,
        manifest: Manifest | None = None,
    ) -> None:
        brokers = read_brokers(
            url,
            password=password,
            ca_file=ca_file,
            cert_file=cert_file,
            key_file=key_file,
            pinned=pinned,
        )
        super().__init__(
            MqttConnector(brokers, keepalive_s=keepalive_s),
            run=run,
            node=node,
            dtype=dtype,
            chunk_bytes=chunk_bytes,
            inline_bytes_max=inline_bytes_max,
            manifest=manifest,
        )


class Observer(RunObserver):
    """One that watches and steers runs over MQTT, without being a node."""

    def __init__(
        self,
        url: str,
        *,
        password: str | None = None,
        ca_file: str | Path | None = None,
        cert_file: str | Path | None = None,
        key_file: str | Path | None = None,
        pinned: bool = False,
        keepalive_s: int = KEEPALIVE_S,
    ) -> None:
        brokers = read_brokers(
            url,
            password=password,
            ca_file=ca_file,
            cert_file=cert_file,
            key_file=key_file,
            pinned=pinned,
        )
        super().__init__(MqttConnector(brokers, keepalive_s=keepalive_s))


def _sink(handler: Handler, patience: Patience) -> _Sink:
    """A queue that keeps nothing: every message goes to the handler as it is read.

    The library's own queue is unbounded, or discards the newest.
    """

    class Sink(asyncio.Queue[aiomqtt.Message]):
        def put_nowait(self, item: aiomqtt.Message) -> None:
            patience.heard()
            payload = item.payload if isinstance(item.payload, bytes) else b""
            handler(Incoming(item.topic.value, payload, bool(item.retain)))

    return Sink


def _why(problem: aiomqtt.MqttError) -> str:
    """Why a connection ended, in words; the library's for a broken one are `Unspecified error`."""
    cause = problem.__cause__ or problem
    if isinstance(cause, aiomqtt.MqttError) and _code(cause) in _BROKE:
        return "the connection broke"
    return str(cause)


def _code(problem: aiomqtt.MqttError) -> int:
    return _number(problem.rc) if isinstance(problem, aiomqtt.MqttCodeError) else -1


def _number(code: Any) -> int:  # noqa: ANN401 - an int in MQTT 3.1.1, a ReasonCode in 5.
    return cast("int", getattr(code, "value", code))
