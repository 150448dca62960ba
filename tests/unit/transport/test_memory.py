import asyncio

import numpy as np
import pytest

from p2pfl.errors import ConfigError, RefusedError, TransportError
from p2pfl.messages import Ended, Header, ModelMessage, PeerLost, VersionRequest
from p2pfl.transport.base import Membership
from p2pfl.transport.mailbox import LETTERS_MAX
from p2pfl.transport.memory import MemoryNetwork, MemoryTransport
from p2pfl.types import NodeId

A, B = NodeId("a"), NodeId("b")


def membership(*neighbours: NodeId, digest: str = "beef") -> Membership:
    return Membership(neighbours=neighbours, schema="s", dimension=2, digest=digest)


async def test_a_lost_node_is_told_to_its_neighbours() -> None:
    network = MemoryNetwork()
    async with MemoryTransport(network, node="a") as a, MemoryTransport(network, node="b") as b:
        life, _ = await a.join(membership(B))
        await b.join(membership(A))
        network.lose(A)
        assert await b.receive() == PeerLost(A, life)
        with pytest.raises(TransportError, match="'a' lost its connection"):
            await a.receive()


async def test_the_end_is_told_to_all() -> None:
    network = MemoryNetwork()
    async with MemoryTransport(network, node="a") as a:
        await a.join(membership(B))
        network.end("time")
        assert await a.receive() == Ended("time")
        a.report({"step": 1})
        assert network.rows == [(A, {"step": 1})]


async def test_another_experiment_is_refused() -> None:
    network = MemoryNetwork()
    async with MemoryTransport(network, node="a") as a, MemoryTransport(network, node="b") as b:
        await a.join(membership(B))
        with pytest.raises(RefusedError, match="has experiment beef, this node cafe"):
            await b.join(membership(A, digest="cafe"))


async def test_unread_letters_are_bounded() -> None:
    network = MemoryNetwork()
    async with MemoryTransport(network, node="a") as a, MemoryTransport(network, node="b") as b:
        await a.join(membership(B))
        await b.join(membership(A))
        for version in range(LETTERS_MAX + 3):
            a.send(B, VersionRequest("memory", A, version))
        a.send(NodeId("nobody"), VersionRequest("memory", A, 1))
        assert b.traffic.refused == {(A, "letters"): 3}


async def test_a_model_of_another_schema_is_counted_and_never_shown() -> None:
    network = MemoryNetwork()
    async with MemoryTransport(network, node="a") as a, MemoryTransport(network, node="b") as b:
        life, _ = await a.join(membership(B))
        await b.join(membership(A))
        a.publish(
            ModelMessage(Header("memory", "x", A, life, 1, 1, 1, 0.0), np.ones(2, np.float32))
        )
        assert b.traffic.refused == {(A, "schema"): 1}
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(b.receive(), 0.01)


def test_a_node_id_that_no_topic_can_hold_is_refused() -> None:
    with pytest.raises(ConfigError, match="node id 'a/b'"):
        MemoryTransport(MemoryNetwork(), node="a/b")


async def test_the_state_can_be_read() -> None:
    network = MemoryNetwork("demo")
    async with MemoryTransport(network, node="a") as a:
        assert repr(a) == "MemoryTransport('a', None, Mailbox(0 waiting))"
        await a.join(membership(B))
        assert repr(network) == "MemoryNetwork('demo', a)"
