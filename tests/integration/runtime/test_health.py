"""The health of real node processes, asked over HTTP as an orchestrator and Prometheus ask."""

import asyncio
import json
import socket
import sys
import urllib.error
import urllib.request
from asyncio.subprocess import PIPE, STDOUT, Process
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from p2pfl.config.load import config_from_mapping
from p2pfl.experiment import Experiment
from p2pfl.runtime.run import RealRun
from p2pfl.transport.broker import EmbeddedBroker

pytestmark = pytest.mark.broker

TEXT = """
name = "healthy"
data = { kind = "quadratic", dimension = 10 }
model = "quadratic"
topology = { kind = "ring", nodes = 3 }
training = { learning_rate = 0.02, local_steps = 2 }
compute = { step_s = 0.01 }
stop = { time_s = 600.0 }
evaluation = { every_s = 0.25 }
"""


def fetch(url: str) -> tuple[int, str]:
    """Status and body, over a connection of urllib's own."""
    try:
        with urllib.request.urlopen(url, timeout=5.0) as answer:  # noqa: S310 - our own server
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as problem:
        with problem:
            return problem.code, problem.read().decode()


async def until(
    place: str, wanted: dict[str, object], *, steps: int = 0
) -> tuple[int, dict[str, Any]]:
    """Status and state once these of its words are so, and so many steps are done."""
    async with asyncio.timeout(30.0):
        while True:
            status, body = await asyncio.to_thread(fetch, f"{place}/healthz")
            state: dict[str, Any] = json.loads(body)
            if all(state.get(key) == value for key, value in wanted.items()) and (
                state.get("steps", 0) >= steps
            ):
                return status, state
            await asyncio.sleep(0.1)


async def metrics(place: str) -> dict[tuple[str, ...], float]:
    _, page = await asyncio.to_thread(fetch, f"{place}/metrics")
    return {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
    }


def are_free(*ports: int) -> bool:
    try:
        for port in ports:
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", port))
    except OSError:
        return False
    return True


@pytest.fixture
async def processes() -> AsyncIterator[list[Process]]:
    running: list[Process] = []
    yield running
    for process in running:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def start(
    processes: list[Process], file: Path, node: str, broker: EmbeddedBroker
) -> tuple[Process, str]:
    """A node's process, and where it says that its health is."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "p2pfl", "node", str(file), "--id", node),
        *("--broker", broker.url, "--health-port", "0"),
        stdout=PIPE,
        stderr=STDOUT,
    )
    processes.append(process)
    assert process.stdout is not None
    line = (await process.stdout.readline()).decode()
    assert line.startswith("health at http://127.0.0.1:"), line
    return process, line.split()[2].removesuffix("/healthz,")


async def test_a_real_node_tells_whom_it_waits_for_when_its_broker_is_away_and_what_it_does(
    processes: list[Process], broker: EmbeddedBroker, tmp_path: Path
) -> None:
    file = tmp_path / "healthy.toml"
    file.write_text(TEXT)
    first, place = await start(processes, file, "n0", broker)
    status, state = await until(place, {"phase": "new", "ready": True})
    assert status == 200
    assert state["waiting_for"] == ["n1", "n2"]
    for node in ("n1", "n2"):
        await start(processes, file, node, broker)
    status, state = await until(place, {"phase": "training", "waiting_for": []})
    assert (status, state["node"], state["live"]) == (200, "n0", True)
    _, state = await until(place, {"ready": True}, steps=40)
    assert state["last_update_age_s"] < 5.0
    assert set(state["neighbours"]) == {"n1", "n2"}
    before = await metrics(place)
    assert before["p2pfl_gradient_steps_total",] >= 40
    assert before["p2pfl_neighbour_live", "n1"] == 1.0

    await broker.kill()
    status, state = await until(place, {"ready": False})
    assert (status, state["live"], state["broker"]["connected"]) == (503, True, False)
    assert (await asyncio.to_thread(fetch, f"{place}/healthz/live"))[0] == 200
    assert (await asyncio.to_thread(fetch, f"{place}/healthz/ready"))[0] == 503
    await broker.start()
    status, state = await until(place, {"ready": True})
    assert (status, state["broker"]["reconnects"]) == (200, 1)
    after = await metrics(place)
    assert after["p2pfl_broker_reconnects_total",] == 1.0
    assert after["p2pfl_gradient_steps_total",] > before["p2pfl_gradient_steps_total",]

    first.terminate()
    await first.wait()
    with pytest.raises(urllib.error.URLError):
        await asyncio.to_thread(fetch, f"{place}/healthz")


async def test_the_nodes_of_one_machine_answer_at_the_ports_that_their_file_gives_them() -> None:
    port = next(port for port in range(23_000, 24_000, 2) if are_free(port, port + 1))
    base: dict[str, Any] = {
        "name": "healthy",
        "data": {"kind": "quadratic", "dimension": 10},
        "model": "quadratic",
        "topology": {"kind": "path", "nodes": 2},
        "training": {"learning_rate": 0.02, "local_steps": 2},
        "compute": {"step_s": 0.01},
        "stop": {"time_s": 2.0},
        "health": {"port": port},
    }
    what = Experiment(config_from_mapping(base, source="test"))
    async with RealRun(what) as run:
        for number in range(2):
            place = f"http://127.0.0.1:{port + number}"
            status, state = await until(place, {"ready": True, "phase": "training"})
            assert (status, state["node"]) == (200, f"n{number}")
        await run.finish()
