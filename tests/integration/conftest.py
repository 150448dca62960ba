"""Real brokers for the integration tests. A missing program fails the test, with one line."""

import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from p2pfl.errors import ConfigError
from p2pfl.transport.broker import EmbeddedBroker, Engine

StartBroker = Callable[..., Awaitable[EmbeddedBroker]]


@pytest.fixture
async def start_broker(tmp_path: Path) -> AsyncIterator[StartBroker]:
    """Starts brokers of any engine in folders of their own; all stop after the test."""
    async with AsyncExitStack() as stack:

        async def start(engine: Engine = "nats", **settings: object) -> EmbeddedBroker:
            folder = tmp_path / f"broker-{uuid.uuid4().hex[:8]}"
            broker = EmbeddedBroker(engine, folder=folder, **settings)  # type: ignore[arg-type]  # passed on.
            try:
                return await stack.enter_async_context(broker)
            except ConfigError as problem:
                pytest.fail(str(problem), pytrace=False)

        yield start


@pytest.fixture
async def broker(start_broker: StartBroker) -> EmbeddedBroker:
    """The embedded NATS."""
    return await start_broker("nats")
