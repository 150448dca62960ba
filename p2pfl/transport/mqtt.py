"""MQTT: a node's place in a run, and a watcher's, over any broker of MQTT 3.1.1 or 5."""

import asyncio
import contextlib
import logging
import math
import socket
import ssl
import sys
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast
from urllib.parse import unquote, urlsplit

import aiomqtt

from p2pfl.codec.limits import CHUNK_BYTES, INLINE_BYTES_MAX
from p2pfl.codec.tensors import Dtype
from p2pfl.errors import ConfigError, RefusedError, TransportError
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

_PORTS: Final = {"mqtt": 1883, "mqtts": 8883}

_WRONG_PROTOCOL: Final = frozenset({1, 0x84})
"""CONNACK: unacceptable protocol version, in 3.1.1 and in 5."""

_NO_ENTRY: Final = frozenset({4, 5, 0x86, 0x87, 0x8A, 0x8C})
"""CONNACK: bad user name or password, not authorised, banned, bad authentication method."""

_SUBSCRIBE_FAILED: Final = 0x80

_log: Final = logging.getLogger("p2pfl.transport")


@dataclass(frozen=True, slots=True, kw_only=True)
class Broker:
    """Where a broker is and how to be let in: `mqtt://[user@]host[:port]` or `mqtts://...`."""

    scheme: str
    host: str
    port: int
    user: str | None = None
    password: str | None = None
    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None

    @classmethod
    def parse(
        cls,
        url: str,
        *,
        password: str | None = None,
        ca_file: str | Path | None = None,
        cert_file: str | Path | None = None,
        key_file: str | Path | None = None,
    ) -> "Broker":
        """Raises ConfigError where the URL is none of a broker."""
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as problem:
            raise ConfigError(f"broker {url!r}: {problem}") from None
        if parts.scheme not in _PORTS or not parts.hostname:
            raise ConfigError(f"broker {url!r}: expected mqtt://[user@]host[:port] or mqtts://...")
        word = password if password is not None else unquote(parts.password or "") or None
        return cls(
            scheme=parts.scheme,
            host=parts.hostname,
            port=port or _PORTS[parts.scheme],
            user=unquote(parts.username) if parts.username else None,
            password=word,
            ca_file=str(ca_file) if ca_file else None,
            cert_file=str(cert_file) if cert_file else None,
            key_file=str(key_file) if key_file else None,
        )

    def context(self) -> ssl.SSLContext | None:
        """How to check the broker's certificate, and show one's own; None without TLS."""
        if self.scheme != "mqtts":
            return None
        try:
            context = ssl.create_default_context(cafile=self.ca_file)
            if self.cert_file is not None:
                context.load_cert_chain(self.cert_file, self.key_file)
        except (OSError, ssl.SSLError) as problem:
            raise ConfigError(f"broker {self.host}: certificates: {problem}") from None
        return context


class MqttConnector:
    """Connects by MQTT 5, or by 3.1.1 where the broker knows no 5; remembers which."""

    def __init__(self, broker: Broker, *, keepalive_s: int = KEEPALIVE_S) -> None:
        self._broker = broker
        self._context = broker.context()
        self._keepalive_s = keepalive_s
        self._protocol = aiomqtt.ProtocolVersion.V5
        self._certified = False

    @property
    def place(self) -> str:
        """Host and port, for messages."""
        return f"{self._broker.host}:{self._broker.port}"

    async def connect(self, *, client_id: str, handler: Handler, will: Will | None) -> Connection:
        """Connect. Raises RefusedError or TransportError, with a sentence for the user."""
        try:
            await self._check_certificate()
            return await self._try(client_id, handler, will)
        except ssl.SSLCertVerificationError as problem:
            raise RefusedError(
                f"broker {self.place}: its certificate is not trusted, name its authority with "
                f"ca_file ({problem.verify_message})"
            ) from None
        except OSError as problem:
            raise TransportError(f"broker {self.place} cannot be reached: {problem}") from None
        except aiomqtt.MqttError as problem:
            if self._protocol is aiomqtt.ProtocolVersion.V5 and _speaks_3(problem):
                self._protocol = aiomqtt.ProtocolVersion.V311
                return await self.connect(client_id=client_id, handler=handler, will=will)
            code = _code(problem)
            if code in _NO_ENTRY:
                who = f"user {self._broker.user!r}" if self._broker.user else "no user name"
                raise RefusedError(
                    f"broker {self.place} refuses {who}: wrong or missing password ({problem})"
                ) from None
            raise TransportError(f"broker {self.place} cannot be reached: {problem}") from None

    async def _check_certificate(self) -> None:
        """Once, by a connection of our own: the library leaks its socket when the check fails."""
        if self._context is None or self._certified:
            return
        async with asyncio.timeout(_CONNECT_TIMEOUT_S):
            _, writer = await asyncio.open_connection(
                self._broker.host, self._broker.port, ssl=self._context
            )
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        self._certified = True

    async def _try(self, client_id: str, handler: Handler, will: Will | None) -> Connection:
        patience = Patience()
        client = aiomqtt.Client(
            self._broker.host,
            self._broker.port,
            username=self._broker.user,
            password=self._broker.password,
            identifier=client_id,
            queue_type=_sink(handler, patience),
            protocol=self._protocol,
            will=aiomqtt.Will(will.topic, will.payload, qos=1, retain=True) if will else None,
            clean_session=True if self._protocol is aiomqtt.ProtocolVersion.V311 else None,
            timeout=_CONNECT_TIMEOUT_S,
            keepalive=self._keepalive_s,
            tls_context=self._context,
            socket_options=_SOCKET_OPTIONS,
        )
        # Its warning is for callers without a bound of their own; ours is 8 parts and a few more.
        client.pending_calls_threshold = 1024
        await client.__aenter__()
        return _MqttConnection(client, patience)


class _MqttConnection:
    """One connection of the library's client."""

    def __init__(self, client: aiomqtt.Client, patience: Patience) -> None:
        self._client = client
        self._patience = patience

    async def publish(self, topic: str, payload: bytes, *, qos: int, retain: bool) -> None:
        async with self._answered():
            await self._client.publish(topic, payload, qos=qos, retain=retain, timeout=math.inf)

    async def subscribe(self, topics: Mapping[str, int]) -> None:
        async with self._answered():
            codes = await self._client.subscribe(list(topics.items()), timeout=math.inf)
            refused = [
                topic
                for (topic, qos), code in zip(topics.items(), codes, strict=False)
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
            raise Disconnected(str(problem.__cause__ or problem)) from None
        raise Disconnected("the broker closed the connection")

    @contextlib.asynccontextmanager
    async def _answered(self) -> AsyncIterator[None]:
        try:
            async with self._patience.wait():
                yield
        except aiomqtt.MqttError as problem:
            raise Disconnected(str(problem)) from None

    async def close(self) -> None:
        try:
            async with asyncio.timeout(_CONNECT_TIMEOUT_S):
                await self._client.__aexit__(None, None, None)
        except (aiomqtt.MqttError, TimeoutError) as problem:
            _log.debug("disconnect: %s", problem)


class MqttTransport(NodeTransport):
    """One node's place in a run, over MQTT; see `Transport` for the contract.

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
        dtype: Dtype = "float32",
        chunk_bytes: int = CHUNK_BYTES,
        inline_bytes_max: int = INLINE_BYTES_MAX,
        keepalive_s: int = KEEPALIVE_S,
        manifest: Manifest | None = None,
    ) -> None:
        broker = Broker.parse(
            url, password=password, ca_file=ca_file, cert_file=cert_file, key_file=key_file
        )
        super().__init__(
            MqttConnector(broker, keepalive_s=keepalive_s),
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
        keepalive_s: int = KEEPALIVE_S,
    ) -> None:
        broker = Broker.parse(
            url, password=password, ca_file=ca_file, cert_file=cert_file, key_file=key_file
        )
        super().__init__(MqttConnector(broker, keepalive_s=keepalive_s))


def _sink(handler: Handler, patience: Patience) -> type[asyncio.Queue[aiomqtt.Message]]:
    """A queue that keeps nothing: every message goes to the handler as it is read.

    The library's own queue is unbounded, or discards the newest.
    """

    class Sink(asyncio.Queue[aiomqtt.Message]):
        def put_nowait(self, item: aiomqtt.Message) -> None:
            payload = item.payload if isinstance(item.payload, bytes) else b""
            patience.heard()
            handler(Incoming(item.topic.value, payload, bool(item.retain)))

    return Sink


def _code(problem: aiomqtt.MqttError) -> int:
    return _number(problem.rc) if isinstance(problem, aiomqtt.MqttCodeError) else -1


def _number(code: Any) -> int:  # noqa: ANN401 - an int in MQTT 3.1.1, a ReasonCode in 5.
    return cast("int", getattr(code, "value", code))


def _speaks_3(problem: aiomqtt.MqttError) -> bool:
    return _code(problem) in _WRONG_PROTOCOL
