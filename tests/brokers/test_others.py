"""The whole transport, a run, a large model and a killed broker, over brokers from elsewhere."""

import asyncio
import json
import os
import re
import sys
from asyncio.subprocess import PIPE, STDOUT
from pathlib import Path

import bench_large_model
import numpy as np
import pytest
from support.brokers import KINDS, OtherBroker

from p2pfl.messages import Header, ModelMessage, Received
from p2pfl.transport.base import Membership
from p2pfl.transport.manifest import Manifest
from p2pfl.transport.mqtt import MqttTransport, Observer
from p2pfl.types import NodeId

ROOT = Path(__file__).parents[2]
RUN = "demo-1a2b"
A, B = NodeId("a"), NodeId("b")

pytestmark = pytest.mark.parametrize("kind", KINDS)


async def command(*words: str, folder: Path) -> tuple[int | None, str]:
    """A Python program of this checkout: its exit code, and all that it said."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *words,
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=PIPE,
        stderr=STDOUT,
    )
    try:
        said, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return process.returncode, said.decode()


async def test_the_transports_own_tests_pass(kind: str, tmp_path: Path) -> None:
    async with OtherBroker(kind, folder=tmp_path / "broker") as broker:
        words = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "--broker-url", broker.url]
        code, said = await command(*words, "tests/integration/transport", folder=ROOT)
    assert code == 0, said[-4000:]
    (passed,) = re.findall(r"(\d+) passed", said)
    assert int(passed) > 25


async def test_a_run_learns_the_digits(kind: str, tmp_path: Path) -> None:
    async with OtherBroker(kind, folder=tmp_path / "broker") as broker:
        words = ["run", str(ROOT / "examples" / "three-parties.toml"), "--broker", broker.url]
        words += ["--set", "stop.time_s=15", "--log-format", "json", "--out", str(tmp_path)]
        code, said = await command("-m", "p2pfl", *words, folder=tmp_path)
    assert code == 0, said[-4000:]
    scores = [json.loads(line).get("accuracy") for line in said.splitlines() if line[:1] == "{"]
    # With the embedded broker 0.94 to 0.96.
    assert [score for score in scores if score is not None][-1] > 0.9


async def test_a_model_in_parts_comes_over_a_slow_link(kind: str, tmp_path: Path) -> None:
    async with OtherBroker(kind, folder=tmp_path / "broker") as broker:
        found = await bench_large_model.measured(
            width=1000, time_s=20.0, bytes_per_s=1e6, progress_s=1.0, broker_url=broker.url
        )
    assert found["model_mb"] == pytest.approx(4.3, abs=0.1)
    assert found["came"] >= 2


async def test_all_comes_back_when_it_is_killed_and_started_again(
    kind: str, tmp_path: Path
) -> None:
    def model(number: int) -> ModelMessage:
        header = Header(RUN, "abc", A, life, number, number, number, float(number), 0.5)
        return ModelMessage(header, np.full(100_000, number, np.float32))

    async def version(reader: MqttTransport, wanted: int) -> None:
        async with asyncio.timeout(60.0):
            while True:
                event = await reader.receive()
                message = event.message if isinstance(event, Received) else None
                if isinstance(message, ModelMessage) and message.header.version == wanted:
                    return

    def membership(*peers: NodeId) -> Membership:
        return Membership(neighbours=peers, schema="abc", dimension=100_000, digest="beef")

    manifest = Manifest(run=RUN, name="demo", digest="beef", nodes=("a", "b", "c"))
    async with OtherBroker(kind, folder=tmp_path / "broker") as broker:
        async with Observer(broker.url) as observer:
            await observer.publish_manifest(manifest)
        async with (
            MqttTransport(broker.url, run=RUN, node="a", chunk_bytes=65536) as a,
            MqttTransport(broker.url, run=RUN, node="b", chunk_bytes=65536) as b,
        ):
            (life, _), _ = await asyncio.gather(a.join(membership(B)), b.join(membership(A)))
            a.publish(model(1))
            await version(b, 1)
            await broker.kill()
            a.publish(model(2))
            await broker.start()
            await version(b, 2)
            assert await a.flush(30.0)
            # Even a broker that forgets has everything again: it was put back.
            await asyncio.sleep(2.0)
            async with MqttTransport(broker.url, run=RUN, node="c", chunk_bytes=65536) as c:
                await c.join(membership(A))
                await version(c, 2)
                assert c.manifest == manifest
