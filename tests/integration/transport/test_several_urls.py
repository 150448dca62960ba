"""Several addresses with commas between: tried in turn when connecting, and when reconnecting."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

import numpy as np
import pytest

from p2pfl.errors import ConfigError, RefusedError, TransportError
from p2pfl.messages import Header, ModelMessage, Received
from p2pfl.transport.base import Membership
from p2pfl.transport.broker import EmbeddedBroker, free_port
from p2pfl.transport.mqtt import MqttTransport, Observer
from p2pfl.types import NodeId

StartBroker = Callable[..., Awaitable[EmbeddedBroker]]

A, B = NodeId("a"), NodeId("b")
RUN = "demo-1a2b"
RIGHT, WRONG = "right", "wrong"

pytestmark = pytest.mark.broker


async def test_the_first_address_that_answers_is_taken(broker: EmbeddedBroker) -> None:
    nobody = f"mqtt://127.0.0.1:{free_port('127.0.0.1')}"
    async with Observer(f"{nobody}, {broker.url}") as observer:
        assert await observer.find_run("demo") is None


async def test_where_no_address_answers_all_are_named_in_one_line() -> None:
    ports = [free_port("127.0.0.1") for _ in range(2)]
    urls = ",".join(f"mqtt://127.0.0.1:{port}" for port in ports)
    with pytest.raises(TransportError) as caught:
        async with Observer(urls):
            pass
    assert all(f"broker 127.0.0.1:{port} cannot be reached" in str(caught.value) for port in ports)
    assert not isinstance(caught.value, RefusedError)
    assert "\n" not in str(caught.value)


async def test_a_refusal_counts_where_all_refuse(start_broker: StartBroker) -> None:
    first, second = await start_broker("nats", users={"ann": RIGHT}), await start_broker("nats")
    urls = [broker.url.replace("//", "//ann@") for broker in (first, second)]
    async with Observer(",".join(urls), password=WRONG):
        pass
    with pytest.raises(RefusedError, match=r"refuses user 'ann'.*; .*refuses user 'ann'"):
        async with Observer(f"{urls[0]},{urls[0]}", password=WRONG):
            pass


@pytest.mark.parametrize("urls", ["", ",", "mqtt://a,http://b", "mqtt://a,b"])
def test_an_address_that_is_none_is_told(urls: str) -> None:
    with pytest.raises(ConfigError, match="expected mqtt"):
        MqttTransport(urls, run=RUN, node="a")


async def test_nodes_go_on_at_the_next_address_when_their_broker_dies(
    start_broker: StartBroker, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = await start_broker("nats"), await start_broker("nats")
    urls = f"{first.url},{second.url}"
    membership = {
        node: Membership(neighbours=[peer], schema="abc", dimension=1000, digest="beef")
        for node, peer in ((A, B), (B, A))
    }
    async with (
        MqttTransport(urls, run=RUN, node="a") as a,
        MqttTransport(urls, run=RUN, node="b") as b,
    ):
        (life, _), _ = await asyncio.gather(a.join(membership[A]), b.join(membership[B]))
        for version, died in ((1, False), (2, True)):
            if died:
                with caplog.at_level(logging.WARNING):
                    await first.kill()
            header = Header(RUN, "abc", A, life, version, version, version, float(version), 0.5)
            a.publish(ModelMessage(header, np.full(1000, version, np.float32)))
            async with asyncio.timeout(30.0):
                while True:
                    event = await b.receive()
                    message = event.message if isinstance(event, Received) else None
                    if isinstance(message, ModelMessage) and message.header.version == version:
                        break
        assert min(a.link_state.reconnects, b.link_state.reconnects) >= 1
    said = {record.getMessage() for record in caplog.records}
    place = f"127.0.0.1:{second.port}"
    assert {f"{RUN}/{node}: broker {place} goes on in its place" for node in "ab"} <= said
