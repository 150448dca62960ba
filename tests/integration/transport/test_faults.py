"""What goes wrong between real nodes and brokers, and how it ends."""

import asyncio
import gc
import json
import logging
import time
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import numpy as np
import pytest
import trustme
from support.forwarder import Forwarder

from p2pfl.errors import ConfigError, RefusedError, TransportError
from p2pfl.messages import (
    Header,
    Incarnation,
    ModelMessage,
    PeerLost,
    Presence,
    PresenceState,
    Received,
)
from p2pfl.transport import broker_settings, topics
from p2pfl.transport.base import Membership
from p2pfl.transport.broker import EmbeddedBroker
from p2pfl.transport.manifest import Manifest
from p2pfl.transport.mqtt import MqttTransport, Observer
from p2pfl.transport.reader import Mode
from p2pfl.types import NodeId

StartBroker = Callable[..., Awaitable[EmbeddedBroker]]

RUN = "demo-1a2b"
A, B = NodeId("a"), NodeId("b")
DIMENSION = 100_000
CHUNK = 64 * 1024
RIGHT, WRONG = "right", "wrong"

pytestmark = pytest.mark.broker


def membership(*neighbours: NodeId, dimension: int = DIMENSION) -> Membership:
    return Membership(neighbours=neighbours, schema="abc", dimension=dimension, digest="beef")


def model(life: Incarnation, version: int, dimension: int = DIMENSION) -> ModelMessage:
    header = Header(RUN, "abc", A, life, version, version, version, time.monotonic(), 0.5)
    return ModelMessage(header, np.full(dimension, version, np.float32))


@asynccontextmanager
async def two(
    url_a: str, url_b: str, dimension: int = DIMENSION
) -> AsyncIterator[tuple[MqttTransport, MqttTransport, Incarnation]]:
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        a = await enter(MqttTransport(url_a, run=RUN, node="a", chunk_bytes=CHUNK))
        b = await enter(MqttTransport(url_b, run=RUN, node="b", chunk_bytes=CHUNK))
        (life, _), _ = await asyncio.gather(
            a.join(membership(B, dimension=dimension)), b.join(membership(A, dimension=dimension))
        )
        yield a, b, life


async def model_of_version(transport: MqttTransport, version: int) -> ModelMessage:
    """Wait for this version or a newer one; every model on the way must be whole."""
    async with asyncio.timeout(20.0):
        while True:
            event = await transport.receive()
            if isinstance(event, Received) and isinstance(event.message, ModelMessage):
                message = event.message
                assert (message.vector == message.header.version).all()
                if message.header.version >= version:
                    return message


async def receive_forever(transport: MqttTransport) -> None:
    async with asyncio.timeout(15.0):
        while True:
            await transport.receive()


@pytest.mark.parametrize(
    "engine", ["nats", pytest.param("mosquitto", marks=pytest.mark.mosquitto), "amqtt"]
)
async def test_all_comes_back_when_the_broker_is_killed_and_started_again(
    start_broker: StartBroker, engine: str, caplog: pytest.LogCaptureFixture
) -> None:
    broker = await start_broker(engine)
    manifest = Manifest(run=RUN, name="demo", digest="beef", nodes=("a", "b"))
    async with Observer(broker.url) as observer:
        await observer.publish_manifest(manifest)
    async with two(broker.url, broker.url) as (a, b, life):
        a.publish(model(life, 1))
        await model_of_version(b, 1)
        await broker.kill()
        a.publish(model(life, 2))
        a.publish(model(life, 3))
        await broker.start()
        assert (await model_of_version(b, 3)).header.version == 3
        assert await a.flush(10.0)
        # A newcomer finds everything, even on a broker that forgets: the manifest was put back.
        await asyncio.sleep(1.5)
        async with (
            Observer(broker.url) as observer,
            MqttTransport(broker.url, run=RUN, node="c", chunk_bytes=CHUNK) as c,
        ):
            assert await observer.read_manifest(RUN) == manifest
            await c.join(membership(A))
            assert (await model_of_version(c, 3)).header.version == 3
    lost = [record for record in caplog.records if "lost broker" in record.message]
    back = [record for record in caplog.records if "is back" in record.message]
    assert (len(lost), len(back)) == (2, 2)
    assert {record.message.rpartition(": ")[2] for record in lost} == {"the connection broke"}


async def test_a_broken_connection_is_told_to_the_peers(
    broker: EmbeddedBroker, proxy: Forwarder
) -> None:
    async with two(proxy.url, broker.url) as (_, b, life):
        proxy.accepting = False
        proxy.cut()
        async with asyncio.timeout(10.0):
            while (event := await b.receive()) != PeerLost(A, life):
                assert isinstance(event, Received)
        proxy.accepting = True
        async with asyncio.timeout(10.0):
            while True:
                event = await b.receive()
                if isinstance(event, Received) and isinstance(event.message, Presence):
                    break
        assert (event.message.incarnation, event.message.state) == (life, PresenceState.JOINING)


async def test_a_connection_that_breaks_while_nobody_waits_for_it_leaves_no_word_behind(
    proxy: Forwarder, unheard: list[str]
) -> None:
    async with Observer(proxy.url) as observer:
        await observer.read_manifest(RUN)
        proxy.cut()
        await asyncio.sleep(0.2)
    del observer
    gc.collect()
    assert unheard == []


async def test_one_that_breaks_at_work_leaves_none_either(
    proxy: Forwarder, broker: EmbeddedBroker, unheard: list[str]
) -> None:
    async with two(proxy.url, broker.url) as (a, b, life):
        for version in (1, 2):
            a.publish(model(life, version))
            await asyncio.sleep(0.1)
            proxy.cut()
    del a, b
    gc.collect()
    assert unheard == []


async def test_the_newest_model_wins_at_the_sender(broker: EmbeddedBroker) -> None:
    async with two(broker.url, broker.url) as (a, b, life):
        for version in range(1, 51):
            a.publish(model(life, version))
        await model_of_version(b, 50)
        assert await a.flush(5.0)
        assert a.traffic.superseded >= 48


async def test_a_slow_reader_pulls_the_newest_and_is_never_torn(
    broker: EmbeddedBroker, proxy: Forwarder
) -> None:
    """400 KB models 50 times a second, through a link of 8 MB/s.

    Some brokers (aedes) hold the sender back instead: then nobody is behind, and nothing to pull.
    """
    ours = isinstance(broker, EmbeddedBroker)
    async with two(broker.url, proxy.url) as (a, b, life):
        proxy.bytes_per_s = 8e6
        stop = asyncio.Event()

        async def publish() -> int:
            version = 0
            while not stop.is_set():
                version += 1
                a.publish(model(life, version))
                await asyncio.sleep(0.02)
            return version

        publishing = asyncio.create_task(publish())
        assert b._inbox is not None
        reader = b._inbox.readers[A]
        while reader.pulls < 3 and (ours or a.traffic.superseded < 100):
            await model_of_version(b, 1)
        stop.set()
        last = await publishing
        await model_of_version(b, last)
        assert a.traffic.refused == b.traffic.refused == {}


async def test_a_node_that_does_not_read_stops_the_stream_and_catches_up(
    broker: EmbeddedBroker,
) -> None:
    async with two(broker.url, broker.url) as (a, b, life):
        a.publish(model(life, 1))
        await model_of_version(b, 1)
        tracemalloc.start()
        assert b._inbox is not None
        reader = b._inbox.readers[A]
        version = 1
        async with asyncio.timeout(20.0):
            while reader.mode is not Mode.WAITING:
                version += 1
                a.publish(model(life, version))
                assert await a.flush(5.0)
                await asyncio.sleep(0.02)
        await asyncio.sleep(0.2)
        received = b.traffic.in_bytes
        before, _ = tracemalloc.get_traced_memory()
        for _ in range(20):
            version += 1
            a.publish(model(life, version))
            assert await a.flush(5.0)
        after, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        # Only the heads of 20 models came in, and nothing piled up: each model is 400 KB.
        assert b.traffic.in_bytes - received < 20_000
        assert after - before < 2_000_000
        await model_of_version(b, version)


async def test_garbage_is_counted_and_the_node_goes_on(broker: EmbeddedBroker) -> None:
    async with two(broker.url, broker.url) as (a, b, life):
        a.publish(model(life, 1))
        await model_of_version(b, 1)
        async with Observer(broker.url) as stranger:
            for payload in (b"x", b"p2pf" + bytes(100), b"pP" + bytes(40), bytes(70_000)):
                for topic in (
                    topics.head(RUN, "a"),
                    topics.presence(RUN, "a"),
                    topics.part(RUN, "a", 1, 0),
                    topics.letter(RUN, "a", "b"),
                    topics.manifest(RUN),
                    topics.control(RUN),
                    topics.presence(RUN, "b"),
                    topics.letter(RUN, "b", "b"),
                ):
                    await stranger._open.publish(topic, payload, retain=False)
        a.publish(model(life, 2))
        await model_of_version(b, 2)
        assert b.traffic.refused[A, "magic"] >= 4
        assert b.traffic.refused[A, "torn"] >= 4


def limited(monkeypatch: pytest.MonkeyPatch, packet_bytes: int) -> None:
    """Let the brokers that are started take no larger packets."""

    def write(engine: str, settings: broker_settings.Settings) -> list[str]:
        words = as_usual(engine, settings)
        file = Path(words[-1])
        if engine == "nats":
            content = json.loads(file.read_text()) | {"max_payload": packet_bytes}
            file.write_text(json.dumps(content))
        else:
            file.write_text(file.read_text() + f"max_packet_size {packet_bytes}\n")
        return words

    as_usual = broker_settings.write
    monkeypatch.setattr(broker_settings, "write", write)


@pytest.mark.mosquitto
async def test_parts_fit_into_the_packets_that_a_broker_takes(
    start_broker: StartBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    limited(monkeypatch, 20_000)
    broker = await start_broker("mosquitto")
    async with two(broker.url, broker.url) as (a, b, life):
        a.publish(model(life, 1))
        await model_of_version(b, 1)
        a.send(B, model(life, 2))
        await model_of_version(b, 2)
        assert a.link_state.reconnects == b.link_state.reconnects == 0


async def test_a_broker_that_silently_takes_smaller_messages_only_is_suspected_in_one_line(
    start_broker: StartBroker, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    limited(monkeypatch, 20_000)
    broker = await start_broker("nats")
    async with two(broker.url, broker.url) as (a, _, life):
        a.publish(model(life, 1))
        async with asyncio.timeout(20.0):
            while not any("chunk_bytes" in each for each in caplog.messages):  # noqa: ASYNC110 - a log.
                await asyncio.sleep(0.05)
    (said,) = [each for each in caplog.messages if "chunk_bytes" in each]
    assert f"if the broker takes no messages of {CHUNK} bytes, raise its limit" in said


async def test_a_wrong_password_is_refused_at_once(start_broker: StartBroker) -> None:
    broker = await start_broker("nats", users={"ann": RIGHT})
    url = broker.url.replace("//", "//ann@")
    async with MqttTransport(url, run=RUN, node="a", password=RIGHT) as a:
        await a.join(membership(B))
    with pytest.raises(RefusedError, match=f"127.0.0.1:{broker.port} refuses user 'ann'"):
        async with MqttTransport(url, run=RUN, node="a", password=WRONG):
            pass
    with pytest.raises(RefusedError, match="no user name"):
        async with MqttTransport(broker.url, run=RUN, node="a"):
            pass


async def test_a_broker_that_is_not_there_is_named() -> None:
    with pytest.raises(TransportError, match=r"broker 127\.0\.0\.1:9 cannot be reached"):
        async with MqttTransport("mqtt://127.0.0.1:9", run=RUN, node="a"):
            pass


async def test_models_travel_over_tls_and_strangers_are_refused(
    start_broker: StartBroker, tmp_path: Path
) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    issued = authority.issue_cert("127.0.0.1")
    issued.cert_chain_pems[0].write_to_path(str(tmp_path / "cert.pem"))
    issued.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    broker = await start_broker(
        "nats", tls_cert=tmp_path / "cert.pem", tls_key=tmp_path / "key.pem"
    )
    ca_file = tmp_path / "ca.pem"
    async with (
        MqttTransport(broker.url, run=RUN, node="a", ca_file=ca_file) as a,
        MqttTransport(broker.url, run=RUN, node="b", ca_file=ca_file) as b,
    ):
        (life, _), _ = await asyncio.gather(a.join(membership(B)), b.join(membership(A)))
        a.publish(model(life, 1))
        await model_of_version(b, 1)
    with pytest.raises(RefusedError, match="certificate is not trusted"):
        async with MqttTransport(broker.url, run=RUN, node="a"):
            pass
    with pytest.raises(ConfigError, match="certificates"):
        MqttTransport(broker.url, run=RUN, node="a", ca_file=tmp_path / "nowhere.pem")


async def test_a_node_that_died_is_replaced_and_a_living_one_is_not(
    broker: EmbeddedBroker, proxy: Forwarder
) -> None:
    """The dead one's presence still says `joining`: nobody answers for it."""
    async with AsyncExitStack() as stack:
        dead = await stack.enter_async_context(MqttTransport(proxy.url, run=RUN, node="a"))
        life, _ = await dead.join(membership(B))
        assert await dead.flush(5.0)
        proxy.accepting = False
        proxy.cut()
        async with Observer(broker.url) as observer:
            presence = Presence(RUN, A, life, PresenceState.TRAINING, digest="beef")
            await asyncio.sleep(0.3)
            from p2pfl.codec.frame import encode

            await observer._open.publish(
                topics.presence(RUN, "a"), encode(presence).join(), retain=True
            )
        async with MqttTransport(broker.url, run=RUN, node="a") as heir:
            new_life, rejoining = await heir.join(membership(B))
            assert (new_life.counter, rejoining) == (life.counter + 1, True)
            assert await heir.flush(5.0)
            proxy.accepting = True
            with pytest.raises(RefusedError, match="another process took its place"):
                await receive_forever(dead)


async def test_a_fault_of_ours_stops_the_node_loudly(
    broker: EmbeddedBroker, caplog: pytest.LogCaptureFixture
) -> None:
    async with two(broker.url, broker.url) as (a, b, life):
        assert b._inbox is not None
        b._inbox._readers[A].on_head = None  # type: ignore[method-assign, assignment]  # a bug.
        with caplog.at_level(logging.CRITICAL):
            a.publish(model(life, 1))
            with pytest.raises(TransportError, match="stopped: TypeError"):
                await receive_forever(b)
