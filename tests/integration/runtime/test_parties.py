"""`p2pfl up` and `p2pfl join`: machines that share only the broker that the first one serves."""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import PIPE, STDOUT, Process
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.broker

TIME = "time_s = 26.0"
TEXT = f"""
name = "party"
data = "digits"
topology = {{ kind = "complete", nodes = 3 }}
model = {{ kind = "mlp", hidden = [16] }}
training = {{ learning_rate = 0.1, local_steps = 5 }}
compute = {{ step_s = 0.01 }}
stop = {{ {TIME} }}
evaluation = {{ every_s = 2.0 }}
"""


class Commands:
    """Commands of one test, each in its own folder, as on machines of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.running: list[Process] = []

    async def start(self, where: str, *words: str, typed: str = "") -> Process:
        folder = self.folder / where
        folder.mkdir(exist_ok=True)
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "p2pfl", *words),
            cwd=folder,
            stdin=PIPE,
            stdout=PIPE,
            stderr=STDOUT,
        )
        self.running.append(process)
        assert process.stdin is not None
        process.stdin.write(typed.encode())
        process.stdin.close()
        return process

    async def stop(self) -> None:
        for process in self.running:
            if process.returncode is None:
                process.kill()
                await process.wait()


async def said(process: Process, word: str) -> str:
    """The next line with this word in it."""
    assert process.stdout is not None
    before = []
    with suppress(TimeoutError):
        async with asyncio.timeout(60.0):
            async for raw in process.stdout:
                line = raw.decode()
                before.append(line)
                if word in line:
                    return line.strip()
    raise AssertionError(f"{word!r} never came: {''.join(before)}")


async def rest(process: Process) -> tuple[int, str]:
    out, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode()


@pytest.fixture
async def commands(tmp_path: Path) -> AsyncIterator[Commands]:
    made = Commands(tmp_path)
    yield made
    await made.stop()


async def up(commands: Commands, text: str = TEXT, *words: str) -> tuple[Process, str]:
    """The first machine, and the line that it prints."""
    (commands.folder / "first").mkdir()
    (commands.folder / "first" / "party.toml").write_text(text)
    process = await commands.start(
        "first", "up", "party.toml", "--port", "0", "--host", "127.0.0.1", *words
    )
    return process, (await said(process, "p2pfl join")).removeprefix("p2pfl join ")


async def test_a_second_and_a_third_party_join_by_one_line_with_data_of_their_own(
    commands: Commands,
) -> None:
    first, line = await up(commands, TEXT, "--part", "1/3")
    second = await commands.start("second", "join", line, "--part", "2/3")
    assert "This machine is n1" in await said(second, "This machine")
    rng = np.random.default_rng(0)
    (commands.folder / "third").mkdir()
    np.savez(
        commands.folder / "third" / "my.npz",
        x=rng.random((80, 64), np.float32),
        y=rng.integers(0, 10, 80),
        classes=np.array(10),
    )
    address, token = line.split("#")
    third = await commands.start(
        "third", "join", address, "--token-stdin", "--data", "my.npz", typed=f"{token}\n"
    )
    assert "This machine is n2" in await said(third, "This machine")
    for process, name in ((first, "n0"), (second, "n1"), (third, "n2")):
        code, text = await rest(process)
        assert code == 0, text
        assert f"{name} finished after" in text
    assert "Traceback" not in text
    kept = list((commands.folder / "second" / "p2pfl-join").glob("*/checkpoints/n1.checkpoint"))
    assert len(kept) == 1


async def test_a_false_token_and_unknown_code_are_refused(commands: Commands) -> None:
    text = TEXT.replace('model = { kind = "mlp", hidden = [16] }', 'model = "own:make_model"')
    text = text.replace("nodes = 3", "nodes = 2").replace(TIME, "time_s = 600.0")
    (commands.folder / "first").mkdir()
    (commands.folder / "first" / "own.py").write_text(
        "import torch\n\n\ndef make_model():\n"
        "    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))\n"
    )
    (commands.folder / "first" / "party.toml").write_text(text)
    first = await commands.start("first", "up", "party.toml", "--port", "0", "--host", "127.0.0.1")
    line = (await said(first, "p2pfl join")).removeprefix("p2pfl join ")
    address, token = line.split("#")
    other = token[:-6] + ("AAAAAA" if not token.endswith("AAAAAA") else "BBBBBB")
    wrong_password = await rest(await commands.start("a", "join", f"{address}#{other}"))
    assert wrong_password[0] == 4
    assert "wrong or missing password" in wrong_password[1]
    other = ("A" if token[0] != "A" else "B") + token[1:]
    wrong_broker = await rest(await commands.start("a", "join", f"{address}#{other}"))
    assert wrong_broker[0] == 4
    assert "its certificate is another" in wrong_broker[1]
    code, words = await rest(await commands.start("a", "join", line))
    assert code == 2
    assert "its model is 'own:make_model'" in words
    assert "--allow own" in words
    code, words = await rest(await commands.start("a", "join", line, "--allow", "own"))
    assert code == 2
    assert "cannot import 'own'" in words
    taken = await rest(await commands.start("first", "join", line, "--allow", "own", "--id", "n0"))
    assert taken[0] == 4
    assert "'n0' is already alive" in taken[1]
    second = await commands.start("first", "join", line, "--allow", "own")
    assert "This machine is n1" in await said(second, "This machine")
    code, words = await rest(await commands.start("first", "join", line, "--allow", "own"))
    assert (code, "all 2 places are taken" in words) == (4, True), words


async def test_a_run_goes_on_when_its_broker_or_its_first_machine_is_killed_and_comes_back(
    commands: Commands,
) -> None:
    """Same run, same token: the others come back by themselves, and new ones by the same line."""
    text = TEXT.replace(TIME, "time_s = 600.0").replace("every_s = 2.0", "every_s = 0.5")
    text = text.replace("step_s = 0.01", "step_s = 0.03")
    first, line = await up(commands, f"{text}\ncheckpoint = {{ every_s = 0.2 }}\n")
    # By whatever address: the token pins the certificate.
    second = await commands.start("second", "join", line.replace("127.0.0.1", "127.0.0.2"))
    for _ in range(3):
        await said(first, "training")
    os.kill(next(pid for pid in pids() if str(commands.folder) in _words_of(pid)), signal.SIGKILL)
    assert "status -9 and is started again" in await said(first, "the broker ended")
    await said(second, "is back")
    first.kill()
    await first.wait()
    await said(second, "lost broker")
    again = await commands.start("first", "up", "party.toml")
    assert "Going on with run party-" in await said(again, "Going on")
    assert line in await said(again, "p2pfl join")
    assert "accuracy 0.1" not in await said(again, "training"), "it began anew"
    await said(second, "is back")
    third = await commands.start("third", "join", line)
    assert "This machine is n2" in await said(third, "This machine")
    twice = await rest(await commands.start("first", "up", "party.toml"))
    assert (twice[0], "another process serves this run" in twice[1]) == (2, True), twice
    for process in (second, third, again):
        process.terminate()
    for process in (second, third, again):
        assert (await rest(process))[0] == 143


async def test_the_limit_of_a_run_counts_from_its_beginning_whoever_comes_late_or_back(
    commands: Commands,
) -> None:
    """Else who comes late learns alone in the end, and forgets what only the others have seen."""
    text = TEXT.replace(TIME, "time_s = 20.0").replace("every_s = 2.0", "every_s = 1.0")
    text += "checkpoint = { every_s = 0.5 }\n"
    first, line = await up(commands, text, "--parties", "1")
    await said(first, "3.0 s  training")
    second = await commands.start("second", "join", line)
    await said(second, "training")
    first.kill()
    await first.wait()
    again = await commands.start("first", "up", "party.toml")
    for process, name in ((again, "n0"), (second, "n1")):
        code, words = await rest(process)
        assert code == 0, words
        lived_s = float(words.partition(f"{name} finished after ")[2].partition(" s")[0])
        # The first one's counts from the beginning of the run, the late one's from its own.
        assert lived_s >= 20.0 if name == "n0" else lived_s < 18.0, words


async def test_another_run_begins_from_nothing_where_one_is_over(commands: Commands) -> None:
    text = TEXT.replace(TIME, "steps = 100")
    first, line = await up(commands, text, "--parties", "1")
    code, words = await rest(first)
    assert code == 0, words
    left = sorted(file.name for file in (commands.folder / "first" / "p2pfl-up").rglob("*.*"))
    assert left == [".n0.lock", "broker.pem", "n0.checkpoint"], "no secret of the run that is over"
    same = ("up", "party.toml", "--port", "0", "--host", "127.0.0.1", "--parties", "1")
    again = await commands.start("first", *same)
    assert await said(again, "p2pfl join") != f"p2pfl join {line}"
    assert "accuracy 0.1" in await said(again, "training")


async def test_several_that_join_at_once_get_a_place_each(commands: Commands) -> None:
    text = TEXT.replace("nodes = 3", "nodes = 4").replace(TIME, "time_s = 600.0")
    _, line = await up(commands, text.replace("step_s = 0.01", "step_s = 0.1"))
    others = await asyncio.gather(*(commands.start(f"m{i}", "join", line) for i in range(3)))
    for process in others:
        await said(process, "training")


def pids() -> list[int]:
    return [int(each.name) for each in Path("/proc").iterdir() if each.name.isdecimal()]


def _words_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text(errors="replace")
    except OSError:
        return ""
