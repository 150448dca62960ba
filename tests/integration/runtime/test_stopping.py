"""Commands that are told to stop, and nodes that crash: what is left, what is said, which code."""

import asyncio
import json
import os
import signal
import sys
import urllib.request
from asyncio.subprocess import PIPE, STDOUT, Process
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from p2pfl.algorithms.pull_mix import PullMix
from p2pfl.config.load import config_from_mapping
from p2pfl.config.write import config_to_toml
from p2pfl.errors import CrashError
from p2pfl.experiment import Experiment
from p2pfl.results.checkpoint import load_checkpoint
from p2pfl.results.folder import read_run
from p2pfl.runtime.run import RealRun
from p2pfl.transport.broker import EmbeddedBroker

pytestmark = pytest.mark.broker

OWN_RULES = """
from p2pfl.algorithms.pull_mix import PullMix

class Fragile(PullMix):
    def finish(self, state, local, neighbours, trained):
        if local.version > 20:
            raise ArithmeticError("the third law is broken")
        return super().finish(state, local, neighbours, trained)

class Stillborn(PullMix):
    def initial(self, x0):
        raise LookupError("no such layer")
"""


def experiment(**tables: Any) -> Experiment:  # noqa: ANN401 - as a file has them
    base: dict[str, Any] = {
        "name": "small",
        "topology": {"kind": "ring", "nodes": 3},
        "data": {"kind": "quadratic", "dimension": 10},
        "model": "quadratic",
        "training": {"learning_rate": 0.02, "local_steps": 2},
        "compute": {"step_s": 0.01},
        "staleness": {"liveness_floor_s": 1.0, "suspect_grace_s": 0.5},
        "stop": {"time_s": 60.0},
        "evaluation": {"every_s": 0.25},
    }
    return Experiment(config_from_mapping(base | tables, source="test"))


def written(folder: Path, **tables: Any) -> str:  # noqa: ANN401 - the same
    file = folder / "small.toml"
    file.write_text(config_to_toml(experiment(**tables).config))
    return str(file)


def exists(path: Path) -> bool:
    return path.exists()


class Started:
    """Commands of one test; whichever lives at its end is killed."""

    def __init__(self) -> None:
        self.processes: list[Process] = []

    async def __call__(self, *words: str, stderr: int = PIPE) -> Process:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "p2pfl", *words),
            stdout=PIPE,
            stderr=stderr,
            # As a terminal has it: Ctrl-C reaches all, and here no other test.
            start_new_session=True,
        )
        self.processes.append(process)
        return process


@pytest.fixture
async def start() -> AsyncIterator[Started]:
    started = Started()
    yield started
    for process in started.processes:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def said(process: Process, word: str) -> str:
    """The next line with this word in it."""
    assert process.stdout is not None
    async for raw in process.stdout:
        if word in raw.decode():
            return raw.decode().strip()
    raise AssertionError(f"it ended before {word!r}")


@pytest.mark.parametrize(
    ("number", "code", "sentence"),
    [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "told to stop by SIGTERM")],
)
async def test_a_run_that_is_broken_off_ends_within_seconds_and_writes_what_it_came_to(
    number: signal.Signals, code: int, sentence: str, start: Started, tmp_path: Path
) -> None:
    process = await start("run", written(tmp_path), "--out", str(tmp_path / "runs"))
    await said(process, "training")
    os.killpg(process.pid, number)
    async with asyncio.timeout(20.0):
        out, errors = await process.communicate()
    assert process.returncode == code
    assert errors.decode().strip() == f"p2pfl: {sentence}"
    (folder,) = (tmp_path / "runs").iterdir()
    result = read_run(folder)
    assert any(note.startswith("broken off at ") for note in result.notes)
    assert 0.0 < result.duration_s < 60.0
    assert all(node.steps > 0 and node.outcome == "finished" for node in result.nodes)
    assert len(result.served) == 3
    assert str(folder) in out.decode()


async def test_a_comparison_that_is_broken_off_writes_what_was_finished_and_names_the_rest(
    start: Started, tmp_path: Path
) -> None:
    file, out = written(tmp_path, stop={"time_s": 1.5}), tmp_path / "runs"
    words = ("compare", file, "--real", "--algorithms", "dpsgd,fedavg", "--out", str(out))
    process = await start(*words, "--log-format", "json")
    await said(process, '"algorithm": "D-PSGD')
    await said(process, '"event": "progress"')
    os.killpg(process.pid, signal.SIGTERM)
    async with asyncio.timeout(20.0):
        lines, _ = await process.communicate()
    assert process.returncode == 143
    *_, result, note, ended = (json.loads(line) for line in lines.splitlines())
    assert [row["title"] for row in result["table"]["rows"]] == ["PullMix"]
    assert note["message"] == "broken off; not finished: D-PSGD (seed 0), FedAvg (seed 0)"
    assert (ended["event"], ended["exit_code"]) == ("ended", 143)
    (compared,) = out.iterdir()
    assert sorted(each.name for each in compared.iterdir()) == ["pull_mix-seed0", "report.html"]
    assert read_run(compared / "pull_mix-seed0").nodes[0].steps > 0


async def test_one_in_which_nothing_was_finished_writes_nothing(
    start: Started, tmp_path: Path
) -> None:
    out = tmp_path / "runs"
    process = await start("compare", written(tmp_path), "--real", "--out", str(out))
    await said(process, "training")
    os.killpg(process.pid, signal.SIGINT)
    async with asyncio.timeout(20.0):
        _, errors = await process.communicate()
    assert process.returncode == 130
    assert errors.decode().splitlines()[-2].startswith("broken off; not finished: PullMix")
    assert not exists(out)


def nodes_of(pid: int) -> list[psutil.Process]:
    """The node processes of a run: the children of its nursery."""
    (nursery,) = (
        child
        for child in psutil.Process(pid).children()
        if "p2pfl.runtime.nursery" in child.cmdline()
    )
    return nursery.children()


async def test_a_second_ctrl_c_waits_for_nothing(start: Started, tmp_path: Path) -> None:
    process = await start("run", written(tmp_path), "--out", str(tmp_path / "runs"))
    await said(process, "training")
    nodes = nodes_of(process.pid)
    assert len(nodes) == 3
    for node in nodes:
        node.suspend()  # They take no leave: the first Ctrl-C waits for them.
    for _ in range(2):
        process.send_signal(signal.SIGINT)
        await asyncio.sleep(1.0)
    async with asyncio.timeout(20.0):
        _, errors = await process.communicate()
    assert process.returncode == 130
    assert errors.decode().strip().endswith("p2pfl: interrupted")
    assert not exists(tmp_path / "runs")


async def test_the_traceback_of_a_node_that_crashes_in_the_run_reaches_the_user(
    start: Started, tmp_path: Path
) -> None:
    (tmp_path / "own_rules.py").write_text(OWN_RULES)
    file = written(tmp_path, algorithm={"kind": "own_rules:Fragile"}, stop={"time_s": 2.0})
    out = str(tmp_path / "runs")
    process = await start("run", file, "--out", out, "--log-format", "json", stderr=STDOUT)
    lines, _ = await process.communicate()
    told = [json.loads(line) for line in lines.splitlines()]
    assert process.returncode == 5, told
    (note, *_) = (each["message"] for each in told if each["event"] == "note")
    assert "ArithmeticError: the third law is broken" in note
    crashes = [each for each in told if each["event"] == "crash"]
    assert crashes[0]["node"] in {"n0", "n1", "n2"}
    assert "in finish" in crashes[0]["traceback"]
    assert told[-1]["exit_code"] == 5


async def test_the_traceback_of_a_node_that_cannot_start_reaches_the_user(tmp_path: Path) -> None:
    (tmp_path / "own_rules.py").write_text(OWN_RULES)
    what = experiment(algorithm={"kind": "own_rules:Stillborn"})
    with pytest.raises(CrashError, match=r"node n\d: LookupError: no such layer") as caught:
        async with RealRun(Experiment(what.config, folder=tmp_path)):
            pass
    assert "in initial" in caught.value.trace


async def told(process: Process, *, steps: int) -> dict[str, Any]:
    """The first report of a node that has done so many steps."""
    while (report := json.loads(await said(process, '"event": "progress"')))["steps"] < steps:
        pass
    return dict(report)


async def seen(place: str, neighbour: str, *, live: bool) -> dict[str, Any]:
    """A node's health once it sees a neighbour alive, or gone."""
    async with asyncio.timeout(20.0):
        while True:
            state: dict[str, Any] = json.loads(await asyncio.to_thread(fetch, place))
            if state.get("neighbours", {}).get(neighbour, {}).get("live") is live:
                return state
            await asyncio.sleep(0.1)


def fetch(url: str) -> str:
    with urllib.request.urlopen(url, timeout=5.0) as answer:  # noqa: S310 - our own server
        return str(answer.read().decode())


async def test_a_node_that_is_told_to_stop_leaves_in_order_and_goes_on_where_it_was(
    start: Started, broker: EmbeddedBroker, tmp_path: Path
) -> None:
    file, kept = written(tmp_path), str(tmp_path / "kept")
    words = ("node", file, "--broker", broker.url, "--log-format", "json", "--checkpoints", kept)
    first = await start(*words, "--id", "n0", "--health-port", "0")
    place = json.loads(await said(first, '"event": "health"'))["health"]
    await start(*words, "--id", "n1")
    last = await start(*words, "--id", "n2")
    await told(last, steps=20)
    await seen(place, "n2", live=True)
    last.terminate()
    out, _ = await last.communicate()
    ended = json.loads(out.splitlines()[-1])
    assert (last.returncode, ended["event"], ended["exit_code"]) == (143, "ended", 143)
    found = load_checkpoint(tmp_path / "kept" / "n2.checkpoint", PullMix())
    assert found is not None
    assert found.saved.steps >= 20

    alone = await seen(place, "n2", live=False)
    assert (alone["ready"], alone["waiting_for"]) == (True, [])
    report = await told(first, steps=alone["steps"] + 20)
    assert report["phase"] == "training"

    again = await start(*words, "--id", "n2")
    report = await told(again, steps=1)
    assert report["life"] == 2
    state = await seen(place, "n2", live=True)
    assert state["neighbours"]["n2"]["version"] > found.saved.version
    assert state["steps"] > alone["steps"]


async def test_a_node_that_is_started_late_joins_from_its_neighbours_models(
    start: Started, broker: EmbeddedBroker, tmp_path: Path
) -> None:
    file = written(tmp_path, training={"learning_rate": 0.005, "local_steps": 2})
    words = ("node", file, "--broker", broker.url, "--log-format", "json")
    early = ("--wait-for-neighbours", "1")
    first = await start(*words, *early, "--id", "n0")
    await start(*words, *early, "--id", "n1")
    beginning = await told(first, steps=0)
    under_way = await told(first, steps=200)
    last = await start(*words, "--id", "n2")
    # What it reports while it asks its neighbours is still the model that all began with.
    while (report := await told(last, steps=0))["phase"] == "rejoining":
        pass
    assert report["life"] == 1
    assert report["steps"] < 50
    assert report["version"] == report["steps"] / 2  # updates of its own
    far = beginning["loss"] - under_way["loss"]
    assert far > 0.0
    assert report["loss"] < beginning["loss"] - 0.5 * far
