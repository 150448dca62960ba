"""The contract of `Transport`, one body over every network."""

import asyncio
import time
from typing import Protocol

import numpy as np
import pytest

from p2pfl.codec.frame import encoded_bytes
from p2pfl.errors import RefusedError
from p2pfl.messages import (
    Header,
    Incarnation,
    ModelMessage,
    Presence,
    PresenceState,
    Received,
    VersionRequest,
)
from p2pfl.transport.base import Membership, Transport, TransportEvent
from p2pfl.types import NodeId

TINY, SMALL, LARGE = 3, 1000, 100_000
A, B, C = NodeId("a"), NodeId("b"), NodeId("c")


class Network(Protocol):
    async def enter(self, node: str) -> Transport: ...


def membership(*neighbours: NodeId, dimension: int = SMALL, digest: str = "beef") -> Membership:
    return Membership(neighbours=neighbours, schema="abc", dimension=dimension, digest=digest)


def model(
    transport: Transport, node: NodeId, life: Incarnation, version: int, dimension: int = SMALL
) -> ModelMessage:
    header = Header(
        transport.run, "abc", node, life, version, version, version, time.monotonic(), 0.5
    )
    return ModelMessage(header, np.full(dimension, version, np.float32))


async def next_event(transport: Transport, kind: type, timeout_s: float = 10.0) -> TransportEvent:
    """The next event that is a message of this kind, or itself of this kind."""
    async with asyncio.timeout(timeout_s):
        while True:
            event = await transport.receive()
            if isinstance(event, kind):
                return event
            if isinstance(event, Received) and isinstance(event.message, kind):
                return event


async def next_model(transport: Transport) -> tuple[ModelMessage, bool]:
    event = await next_event(transport, ModelMessage)
    assert isinstance(event, Received)
    assert isinstance(event.message, ModelMessage)
    return event.message, event.retained


async def pair(network: Network, dimension: int) -> tuple[Transport, Transport, Incarnation]:
    a, b = await network.enter("a"), await network.enter("b")
    (life, _), _ = await asyncio.gather(
        a.join(membership(B, dimension=dimension)), b.join(membership(A, dimension=dimension))
    )
    return a, b, life


@pytest.mark.parametrize("dimension", [TINY, SMALL, LARGE])
async def test_a_model_reaches_the_neighbour_as_it_was(network: Network, dimension: int) -> None:
    a, b, life = await pair(network, dimension)
    for version in (1, 2, 3):
        sent = model(a, A, life, version, dimension)
        a.publish(sent)
        received, _ = await next_model(b)
        assert received.header == sent.header
        np.testing.assert_array_equal(received.vector, sent.vector)


@pytest.mark.parametrize("dimension", [SMALL, LARGE])
async def test_a_late_reader_gets_the_newest_model_marked_retained(
    network: Network, dimension: int
) -> None:
    a, late = await network.enter("a"), await network.enter("b")
    life, _ = await a.join(membership(B, dimension=dimension))
    for version in (1, 2, 3):
        a.publish(model(a, A, life, version, dimension))
        assert await a.flush(10.0)
    await late.join(membership(A, dimension=dimension))
    received, retained = await next_model(late)
    assert (received.header.version, retained) == (3, True)


async def test_a_letter_reaches_one_neighbour_alone(network: Network) -> None:
    a, b, c = await network.enter("a"), await network.enter("b"), await network.enter("c")
    (life, _), _, _ = await asyncio.gather(
        a.join(membership(B, C)), b.join(membership(A)), c.join(membership(A))
    )
    a.send(B, VersionRequest(a.run, A, 5))
    a.publish(model(a, A, life, 1))
    event = await next_event(b, VersionRequest)
    assert event == Received(VersionRequest(a.run, A, 5))
    await next_model(c)
    assert c.traffic.refused == {}


async def test_large_letters_travel_too(network: Network) -> None:
    a, b, life = await pair(network, LARGE)
    for version in (1, 2):
        a.send(B, model(a, A, life, version, LARGE))
    for version in (1, 2):
        received, _ = await next_model(b)
        assert received.header.version == version
        assert received.vector[-1] == version


async def test_presence_reaches_the_neighbours(network: Network) -> None:
    a, b, life = await pair(network, SMALL)
    for state in (PresenceState.TRAINING, PresenceState.FINISHED):
        a.publish(Presence(a.run, A, life, state, 3, 0.5, 1.0, "beef"))
        while True:
            event = await next_event(b, Presence)
            assert isinstance(event, Received)
            assert isinstance(event.message, Presence)
            if event.message.state is state:
                break
        assert event.message.version == 3


async def test_leaving_is_told(network: Network) -> None:
    a, b, _ = await pair(network, SMALL)
    await a.leave(clear=True)
    while True:
        event = await next_event(b, Presence)
        assert isinstance(event, Received)
        assert isinstance(event.message, Presence)
        if event.message.state is PresenceState.LEFT:
            return


async def test_a_node_that_comes_back_has_the_next_incarnation(network: Network) -> None:
    first = await network.enter("a")
    life, rejoining = await first.join(membership(B))
    assert (life.counter, rejoining) == (1, False)
    await first.leave(clear=False)
    second = await network.enter("a")
    life, rejoining = await second.join(membership(B))
    assert (life.counter, rejoining) == (2, True)


async def test_a_second_node_of_one_name_is_refused_while_the_first_lives(network: Network) -> None:
    first, second = await network.enter("a"), await network.enter("a")
    life, _ = await first.join(membership(B))
    first.publish(Presence(first.run, A, life, PresenceState.TRAINING, digest="beef"))
    await first.flush(5.0)
    with pytest.raises(RefusedError, match="'a' is already alive in run demo-1a2b"):
        await second.join(membership(B))


async def test_traffic_is_what_the_codec_counts(network: Network) -> None:
    a, b, life = await pair(network, LARGE)
    message = model(a, A, life, 1, LARGE)
    a.publish(message)
    await next_model(b)
    assert await a.flush(5.0)
    expected = encoded_bytes(message, "float32", 64 * 1024)
    assert a.traffic.out_bytes - a.traffic.control_out_bytes == expected
    assert b.traffic.in_bytes - b.traffic.control_in_bytes == expected
    assert a.traffic.fan_out_bytes == a.traffic.out_bytes


async def test_a_neighbour_of_another_experiment_is_refused_and_counted(network: Network) -> None:
    a, b, life = await pair(network, SMALL)
    a.publish(Presence(a.run, A, life, PresenceState.TRAINING, digest="another"))
    assert await a.flush(5.0)
    async with asyncio.timeout(5.0):
        while not b.traffic.refused[A, "digest"]:
            a.publish(model(a, A, life, 1))
            await asyncio.sleep(0.02)


async def test_metrics_may_be_reported_at_any_time(network: Network) -> None:
    a, b, life = await pair(network, SMALL)
    for step in range(1000):
        a.report({"step": step, "loss": 0.5, "phase": "train", "accuracy": None})
    a.publish(model(a, A, life, 1))
    await next_model(b)
