"""Manifests, words of control, and watching."""

import asyncio
import time

import numpy as np
import pytest

from p2pfl.errors import PlaceTakenError, RefusedError
from p2pfl.messages import Ended, Header, ModelMessage, Presence, PresenceState
from p2pfl.transport import topics
from p2pfl.transport.base import Membership
from p2pfl.transport.broker import EmbeddedBroker
from p2pfl.transport.manifest import Manifest
from p2pfl.transport.mqtt import MqttTransport, Observer
from p2pfl.transport.observer import Heard
from p2pfl.transport.place import new_run_id
from p2pfl.transport.words import Head
from p2pfl.types import NodeId

A, B = NodeId("a"), NodeId("b")

pytestmark = pytest.mark.broker


def draft(digest: str = "beef") -> Manifest:
    return Manifest(
        run=new_run_id("demo"), name="demo", digest=digest, nodes=("a", "b"), experiment="x = 1"
    )


def membership(neighbour: NodeId, dimension: int = 50_000) -> Membership:
    return Membership(neighbours=[neighbour], schema="abc", dimension=dimension, digest="beef")


def model(run: str, transport_life: tuple[object, bool], version: int) -> ModelMessage:
    life = transport_life[0]
    header = Header(run, "abc", A, life, version, version, version, time.monotonic())  # type: ignore[arg-type]  # narrowed by the caller.
    return ModelMessage(header, np.ones(50_000, np.float32))


async def test_a_run_is_found_by_its_experiments_name(broker: EmbeddedBroker) -> None:
    async with Observer(broker.url) as observer:
        assert await observer.find_run("demo") is None
        manifest = draft()
        await observer.publish_manifest(manifest)
        assert await observer.find_run("demo") == manifest
        assert await observer.read_manifest(manifest.run) == manifest
        assert await observer.find_or_create_run(draft()) == manifest
        with pytest.raises(RefusedError, match="has experiment beef, this file gives cafe"):
            await observer.find_or_create_run(draft("cafe"))
        await observer.publish_manifest(manifest.with_state("ended"))
        assert await observer.find_run("demo") is None


@pytest.mark.parametrize("spread_s", [0.0, 0.3])
async def test_several_that_start_at_once_end_in_one_run(
    broker: EmbeddedBroker, spread_s: float
) -> None:
    async def find(number: int) -> str:
        await asyncio.sleep(number * spread_s / 8)
        async with Observer(broker.url) as observer:
            return (await observer.find_or_create_run(draft())).run

    runs = await asyncio.gather(*(find(number) for number in range(8)))
    assert len(set(runs)) == 1
    async with Observer(broker.url) as observer:
        manifest = await observer.find_run("demo")
        assert manifest is not None
        assert manifest.run == runs[0]


async def test_a_pointer_whose_run_is_gone_is_replaced(broker: EmbeddedBroker) -> None:
    async with Observer(broker.url) as observer:
        gone, manifest = draft(), draft()
        await observer.publish_manifest(gone)
        await observer._open.publish(topics.manifest(gone.run), b"", retain=True)
        assert await observer.find_or_create_run(manifest) == manifest
        assert await observer.find_run("demo") == manifest


async def test_a_node_of_another_experiment_is_refused_with_both_digests(
    broker: EmbeddedBroker,
) -> None:
    manifest = draft("cafe")
    async with (
        Observer(broker.url) as observer,
        MqttTransport(broker.url, run=manifest.run, node="a") as a,
    ):
        await observer.publish_manifest(manifest)
        with pytest.raises(RefusedError, match="has experiment cafe, this node has beef"):
            await a.join(membership(B))


async def test_an_ended_run_takes_nobody(broker: EmbeddedBroker) -> None:
    manifest = draft().with_state("ended")
    async with (
        Observer(broker.url) as observer,
        MqttTransport(broker.url, run=manifest.run, node="a") as a,
    ):
        await observer.publish_manifest(manifest)
        with pytest.raises(RefusedError, match="has ended"):
            await a.join(membership(B))


async def test_words_of_control_reach_those_who_are_there_and_those_who_come_later(
    broker: EmbeddedBroker,
) -> None:
    async with (
        Observer(broker.url) as observer,
        MqttTransport(broker.url, run="r-1", node="a") as a,
        MqttTransport(broker.url, run="r-1", node="b") as b,
    ):
        await a.join(membership(B))
        assert not await a.wait_for_go(0.05)
        await observer.control("r-1", "go")
        assert await a.wait_for_go(5.0)
        await b.join(membership(A))
        assert await b.wait_for_go(5.0)
        await observer.control("r-1", "end", "time is up")
        async with asyncio.timeout(5.0):
            while (event := await a.receive()) != Ended("time is up"):
                assert not isinstance(event, Ended)


async def test_an_observer_hears_presence_metrics_and_heads(broker: EmbeddedBroker) -> None:
    async with (
        Observer(broker.url) as observer,
        MqttTransport(broker.url, run="r-1", node="a") as a,
    ):
        life = await a.join(membership(B))
        heard: dict[type, Heard] = {}

        async def listen() -> None:
            async for each in observer.watch("r-1", ["a", "b"]):
                heard[type(each.what)] = each
                if len(heard) == 3:
                    return

        listening = asyncio.create_task(listen())
        await asyncio.sleep(0.2)
        a.report({"step": 5, "loss": 0.25})
        a.publish(model("r-1", life, 7))
        await asyncio.wait_for(listening, 10.0)
        presence, row, head = heard[Presence].what, heard[dict].what, heard[Head].what
        assert isinstance(presence, Presence)
        assert presence.state is PresenceState.JOINING
        assert row == {"step": 5, "loss": 0.25}
        assert isinstance(head, Head)
        assert (head.version, head.node) == (7, A)


async def test_a_cleared_run_leaves_nothing_behind(broker: EmbeddedBroker) -> None:
    manifest = draft()
    run = manifest.run
    async with Observer(broker.url) as observer:
        await observer.publish_manifest(manifest)
        await observer.control(run, "go")
        async with MqttTransport(broker.url, run=run, node="a") as a:
            life = await a.join(membership(B))
            for version in (1, 2, 3):
                a.publish(model(run, life, version))
                assert await a.flush(5.0)
        names = [
            topics.manifest(run),
            topics.manifest("demo"),
            topics.control(run),
            topics.head(run, "a"),
            topics.presence(run, "a"),
            topics.part(run, "a", 0, 0),
            topics.part(run, "a", 1, 0),
        ]
        assert set(await observer._open.read(names)) == set(names)
        await observer.clear_run(manifest)
        assert await observer._open.read(names) == {}


async def test_a_node_that_leaves_at_the_end_clears_its_own_topics(broker: EmbeddedBroker) -> None:
    async with Observer(broker.url) as observer:
        async with MqttTransport(broker.url, run="r-1", node="a") as a:
            life = await a.join(membership(B))
            for version in (1, 2):
                a.publish(model("r-1", life, version))
                assert await a.flush(5.0)
            await a.leave(clear=True)
        names = [
            topics.head("r-1", "a"),
            topics.presence("r-1", "a"),
            topics.part("r-1", "a", 0, 0),
            topics.part("r-1", "a", 1, 0),
        ]
        assert await observer._open.read(names) == {}


async def test_of_several_that_take_one_place_at_once_one_keeps_it_and_the_others_are_told(
    broker: EmbeddedBroker,
) -> None:
    """None of them hangs, wherever on its way into the run it learns of the others."""

    async def keeps_it() -> bool:
        async with MqttTransport(broker.url, run="demo-0a0b", node="a") as transport:
            try:
                async with asyncio.timeout(20.0):
                    await transport.join(membership(B))
            except PlaceTakenError:
                return False
            try:
                async with asyncio.timeout(7.0):  # It asks again after one second and after five.
                    while True:
                        await transport.receive()
            except PlaceTakenError:
                return False
            except TimeoutError:
                return True

    kept = await asyncio.gather(*(keeps_it() for _ in range(6)))
    assert sorted(kept) == [False] * 5 + [True]
