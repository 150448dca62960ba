"""One network per test: in memory, or a broker of each kind, or the one of --broker-url."""

import asyncio
import gc
import inspect
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from urllib.parse import urlsplit

import pytest
from support.forwarder import Forwarder

from p2pfl.codec.tensors import Dtype
from p2pfl.transport import topics
from p2pfl.transport.address import read_brokers
from p2pfl.transport.base import Transport
from p2pfl.transport.broker import EmbeddedBroker
from p2pfl.transport.memory import MemoryNetwork, MemoryTransport
from p2pfl.transport.mqtt import MqttConnector, MqttTransport

RUN = "demo-1a2b"

Enter = Callable[..., object]


class Networks:
    """Enters transports into one run, over whatever network the test was given."""

    def __init__(self, stack: AsyncExitStack, broker: "Broker | None") -> None:
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


@dataclass(frozen=True)
class Given:
    """A broker that was there before the tests, and stays."""

    url: str

    @property
    def port(self) -> int:
        return urlsplit(self.url).port or 1883


Broker = EmbeddedBroker | Given


def given_url(config: pytest.Config) -> str | None:
    """What `--broker-url` says."""
    url: str | None = config.getoption("--broker-url")
    return url


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Every test of `network` runs in memory and over each broker, or over the given one."""
    if "network" not in metafunc.fixturenames:
        return
    kinds = [
        "memory",
        pytest.param("nats", marks=pytest.mark.broker),
        pytest.param("amqtt", marks=pytest.mark.broker),
        pytest.param("mosquitto", marks=pytest.mark.mosquitto),
    ]
    given = given_url(metafunc.config)
    metafunc.parametrize("network", kinds if given is None else ["given"], indirect=True)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With a given broker, leave out what starts, kills or configures one of its own."""
    if given_url(config) is None:
        return
    used = [item for item in items if _uses_given(item)]
    config.hook.pytest_deselected(items=[item for item in items if item not in used])
    items[:] = used


def _uses_given(item: pytest.Item) -> bool:
    if not isinstance(item, pytest.Function):
        return False
    return "network" in item.fixturenames or (
        "broker" in item.fixturenames
        and "start_broker" not in inspect.signature(item.obj).parameters
    )


@pytest.fixture
async def network(
    request: pytest.FixtureRequest, start_broker: Callable[..., object]
) -> AsyncIterator[Networks]:
    """A run's network, of each kind."""
    broker: Broker | None
    if request.param == "memory":
        broker = None
    elif request.param == "given":
        broker = Given(given_url(request.config) or "")
    else:
        broker = await start_broker(request.param)  # type: ignore[misc]  # awaitable.
    async with AsyncExitStack() as stack:
        yield Networks(stack, broker)


@pytest.fixture
async def broker(request: pytest.FixtureRequest, start_broker: Callable[..., object]) -> Broker:
    """The embedded NATS, or the given broker."""
    given = given_url(request.config)
    if given is not None:
        return Given(given)
    return await start_broker("nats")  # type: ignore[misc, no-any-return]  # awaitable.


@pytest.fixture(autouse=True)
async def own_topics(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[None]:
    """At a given broker each test has topics of its own, and leaves none behind."""
    given = given_url(request.config)
    if given is None:
        yield
        return
    root = f"{topics.ROOT}/test-{secrets.token_hex(4)}"
    monkeypatch.setattr(topics, "ROOT", root)
    yield
    retained: set[str] = set()
    connector = MqttConnector(read_brokers(given))
    connection = await connector.connect(
        client_id=f"p2pfl-{secrets.token_hex(8)}",
        handler=lambda incoming: retained.add(incoming.topic),
        will=None,
    )
    await connection.subscribe({f"{root}/#": 1})
    await asyncio.sleep(0.3)
    for topic in sorted(retained):
        await connection.publish(topic, b"", qos=1, retain=True)
    await connection.close()


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """On one machine, what is retained comes at once, and so does an answer to CONNECT."""
    monkeypatch.setattr("p2pfl.transport.probe._SETTLE_S", 0.1)
    monkeypatch.setattr("p2pfl.transport.mqtt._CONNECT_TIMEOUT_S", 2.0)


@pytest.fixture(autouse=True)
async def unheard() -> AsyncIterator[list[str]]:
    """What asyncio tells of exceptions that nobody has fetched; nothing, after each test."""
    told: list[str] = []

    def hear(loop: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
        if "never retrieved" in str(context["message"]):
            told.append(f"{context['message']}: {context.get('exception')!r}")
        loop.default_exception_handler(context)

    asyncio.get_running_loop().set_exception_handler(hear)
    yield told
    gc.collect()
    assert not told


@pytest.fixture
async def proxy(broker: Broker) -> AsyncIterator[Forwarder]:
    """In front of the broker."""
    async with Forwarder(broker.url) as entered:
        yield entered
