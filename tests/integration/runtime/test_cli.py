"""`p2pfl run` and `p2pfl node` as a user meets them: what works, and one line for what cannot."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path

import numpy as np
import pytest

from p2pfl.algorithms.pull_mix import PullMix
from p2pfl.cli.main import main
from p2pfl.results.checkpoint import load_checkpoint
from p2pfl.transport.broker import EmbeddedBroker, free_port

pytestmark = pytest.mark.broker

StartBroker = Callable[..., Awaitable[EmbeddedBroker]]

TEXT = """
name = "small"
data = { kind = "quadratic", dimension = 10 }
model = "quadratic"
topology = { kind = "ring", nodes = 3 }
training = { learning_rate = 0.02, local_steps = 2 }
compute = { step_s = 0.005 }
stop = { steps = 100 }
evaluation = { every_s = 0.25 }
"""


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "small.toml"
    path.write_text(TEXT)
    return str(path)


async def p2pfl(*words: str) -> int:
    """The command, beside this event loop."""
    return await asyncio.to_thread(main, words)


async def started(*commands: Coroutine[None, None, int]) -> list[asyncio.Task[int]]:
    """The commands on their way; the first has made the run before the others look for it."""
    tasks = []
    for command in commands:
        tasks.append(asyncio.create_task(command))
        await asyncio.sleep(0.5)
    return tasks


async def refusal(capsys: pytest.CaptureFixture[str], *words: str, code: int = 2) -> str:
    """The one line with which a command refuses."""
    capsys.readouterr()
    assert await p2pfl(*words) == code
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    return lines[0]


async def test_run_writes_a_folder_and_says_what_came_out(
    file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await p2pfl("run", file, "--out", str(tmp_path / "runs"), "--seed", "3") == 0
    (folder,) = (tmp_path / "runs").iterdir()
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["driver"] == "runtime"
    assert summary["seed"] == 3
    assert [node["steps"] for node in summary["nodes"]] == [100] * 3
    said = capsys.readouterr().out
    assert "3 processes" in said
    assert str(folder) in said


async def test_three_nodes_started_one_by_one_find_their_run_and_end(
    file: str, tmp_path: Path, broker: EmbeddedBroker, capsys: pytest.CaptureFixture[str]
) -> None:
    async def node(name: str, delay_s: float) -> int:
        await asyncio.sleep(delay_s)
        out = str(tmp_path / f"{name}.npy")
        return await p2pfl("node", file, "--id", name, "--broker", broker.url, "--out", out)

    codes = await asyncio.gather(node("n0", 0.0), node("n1", 0.3), node("n2", 0.6))
    assert set(codes) == {0}
    assert capsys.readouterr().out.count("finished after") == 3
    served = [np.load(tmp_path / f"n{i}.npy") for i in range(3)]
    assert np.allclose(served[0], served[1], atol=0.2)


async def test_a_second_node_with_a_living_ones_id_is_told_so(
    file: str, broker: EmbeddedBroker, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("node", file, "--broker", broker.url, "--set", "stop.steps=1000", "--id")
    first = await started(*(p2pfl(*words, f"n{i}") for i in range(3)))
    await asyncio.sleep(2.0)
    assert "'n0' is already alive" in await refusal(capsys, *words, "n0", code=4)
    assert await asyncio.gather(*first) == [0, 0, 0]


async def test_a_node_with_another_experiment_is_refused(
    file: str, broker: EmbeddedBroker, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("node", file, "--broker", broker.url, "--set")
    first = await started(*(p2pfl(*words, "stop.steps=600", "--id", f"n{i}") for i in range(3)))
    await asyncio.sleep(1.5)
    line = await refusal(capsys, *words, "training.learning_rate=0.03", "--id", "n1", code=4)
    assert "experiment" in line
    assert await asyncio.gather(*first) == [0, 0, 0]


async def test_what_is_wrong_with_a_node_is_one_line(
    file: str, broker: EmbeddedBroker, capsys: pytest.CaptureFixture[str]
) -> None:
    at = ("--broker", broker.url)
    line = await refusal(capsys, "node", file, "--id", "n7", *at)
    assert "'n7'" in line
    assert "n0, n1, n2" in line
    words = ("node", file, "--id", "n0", "--run", "small-00000000", *at)
    line = await refusal(capsys, *words, code=4)
    assert "no run 'small-00000000'" in line
    assert "--broker" in await refusal(capsys, "node", file, "--id", "n0")
    line = await refusal(capsys, "node", file, "--id", "n0", "--password-env", "NOT_SET_HERE", *at)
    assert "NOT_SET_HERE" in line


@pytest.mark.parametrize("words", [("node", "--id", "n0"), ("run",)])
async def test_a_broker_that_is_not_there_is_one_line(
    words: tuple[str, ...], file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = f"127.0.0.1:{free_port('127.0.0.1')}"
    command, *rest = words
    where = ("--out", str(tmp_path / "runs"))
    words = (command, file, *rest, *where, "--broker", f"mqtt://{place}")
    line = await refusal(capsys, *words, code=3)
    assert f"broker {place} cannot be reached" in line


@pytest.mark.parametrize("words", [("node", "--id", "n0"), ("run",)])
async def test_a_wrong_password_is_one_line_and_the_right_one_lets_in(
    words: tuple[str, ...],
    file: str,
    tmp_path: Path,
    start_broker: StartBroker,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    broker = await start_broker("nats", users={"ann": "right"})
    url = broker.url.replace("mqtt://", "mqtt://ann@")
    command, *rest = words
    arguments = (command, file, *rest, "--broker", url, "--password-env", "ANNS")
    monkeypatch.setenv("ANNS", "wrong")
    assert "password" in await refusal(capsys, *arguments, code=4)
    if command == "run":
        monkeypatch.setenv("ANNS", "right")
        assert await p2pfl(*arguments, "--out", str(tmp_path / "runs")) == 0


async def test_a_run_that_ended_too_early_goes_on_from_its_checkpoints(
    file: str, tmp_path: Path
) -> None:
    out = tmp_path / "runs"
    more = ("--set", "stop.time_s=1.5", "--set", "stop.steps=100000")
    kept = ("--set", "checkpoint.every_s=0.2")
    assert await p2pfl("run", file, "--out", str(out), *more, *kept) == 0
    (first,) = out.iterdir()

    def steps(folder: Path) -> list[int]:
        return [
            found.saved.steps
            for node in ("n0", "n1", "n2")
            if (found := load_checkpoint(folder / f"checkpoints/{node}.checkpoint", PullMix()))
        ]

    before = steps(first)
    assert min(before) > 0
    again = tmp_path / "again"
    assert await p2pfl("resume", str(first), "--out", str(again)) == 0
    (second,) = again.iterdir()
    assert steps(first) == before
    assert len(steps(second)) == 3
    assert all(now > then + 20 for now, then in zip(steps(second), before, strict=True))


async def test_resume_needs_a_run_with_checkpoints(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert "is no folder of a run" in await refusal(capsys, "resume", str(tmp_path))
    (tmp_path / "experiment.toml").write_text(TEXT)
    assert "has no checkpoints; set [checkpoint]" in await refusal(capsys, "resume", str(tmp_path))
