"""What the first machine of a run keeps, and when it goes on with it."""

import asyncio
import os
from dataclasses import replace
from pathlib import Path

import pytest

from p2pfl.config.load import config_from_mapping
from p2pfl.errors import ConfigError
from p2pfl.experiment import Experiment
from p2pfl.results.held import Held
from p2pfl.runtime.hosting import (
    HostedRun,
    _Attendance,
    _certified,
    _forget,
    _remember,
    find_hosted,
    hosted_run,
    new_hosted,
)
from p2pfl.types import NodeId


def experiment(**training: object) -> Experiment:
    table = {
        "name": "small",
        "topology": {"kind": "ring", "nodes": 3},
        "data": "digits",
        "model": "mlp",
        "training": {"learning_rate": 0.1, "local_steps": 2} | training,
        "stop": {"steps": 4},
    }
    return Experiment(config_from_mapping(table, source="test"))


def kept(folder: Path, one: Experiment) -> HostedRun:
    made = new_hosted(one, host="first.example", bind="127.0.0.1", port=0, engine="nats")
    made = replace(made, schema="abc")
    _certified(folder / made.run, ["first.example"])
    _remember(folder / made.run, made)
    return made


def names_in(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


def test_a_run_that_was_broken_off_is_found_by_its_experiment(tmp_path: Path) -> None:
    assert find_hosted(tmp_path / "none", "abc") is None
    one, other = experiment(), experiment(learning_rate=0.2)
    older, newer = kept(tmp_path, one), kept(tmp_path, one)
    os.utime(tmp_path / older.run / "run.json", (1.0, 1.0))
    assert find_hosted(tmp_path, one.digest) == newer
    assert find_hosted(tmp_path, other.digest) is None
    assert (tmp_path / newer.run / "run.json").stat().st_mode & 0o077 == 0
    pem = (tmp_path / newer.run / "broker.pem").read_bytes()
    _certified(tmp_path / newer.run, ["first.example"])
    assert (tmp_path / newer.run / "broker.pem").read_bytes() == pem, "the token pins it"


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"run": 1}'])
def test_a_damaged_memory_of_a_run_is_left_alone(tmp_path: Path, damage: str) -> None:
    one = experiment()
    made = kept(tmp_path, one)
    (tmp_path / made.run / "run.json").write_text(damage)
    assert find_hosted(tmp_path, one.digest) is None


def test_a_run_that_is_over_leaves_its_checkpoints_and_no_secrets(tmp_path: Path) -> None:
    one = experiment()
    made = kept(tmp_path, one)
    home = tmp_path / made.run
    (home / "checkpoints").mkdir()
    (home / "broker").mkdir()
    (home / "broker" / "nats.conf").write_text("secret")
    _forget(home)
    assert find_hosted(tmp_path, one.digest) is None
    assert names_in(home) == ["broker.pem", "checkpoints"]


async def test_two_processes_do_not_serve_one_run_and_other_data_do_not_go_on_with_it(
    tmp_path: Path,
) -> None:
    one = experiment()
    made = kept(tmp_path, one)

    async def serve(schema: str) -> None:
        async with hosted_run(
            one, made, folder=tmp_path, names=["localhost"], schema=schema, waiting=print
        ):
            raise AssertionError

    with pytest.raises(ConfigError, match="this machine's data now makes xyz"):
        await serve("xyz")
    with (
        Held(tmp_path / made.run / "lock"),
        pytest.raises(ConfigError, match="another process serves this run"),
    ):
        await serve("abc")
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"--folder .*file: cannot be written"):
        async with hosted_run(
            one, made, folder=tmp_path / "file", names=["x"], schema="abc", waiting=print
        ):
            raise AssertionError


async def test_a_run_that_could_not_be_served_is_nothing_to_go_on_with(tmp_path: Path) -> None:
    one = experiment()
    made = new_hosted(one, host="first.example", bind="127.0.0.1", port=99_999, engine="nats")
    was = kept(tmp_path, one)
    for wrong in (made, replace(was, port=99_999)):
        with pytest.raises(ConfigError, match="port 99999"):
            async with hosted_run(
                one, wrong, folder=tmp_path, names=["x"], schema="abc", waiting=print
            ):
                raise AssertionError
    assert find_hosted(tmp_path, one.digest) == was
    assert names_in(tmp_path) == [was.run]


def test_what_is_held_is_free_again_when_it_is_let_go(tmp_path: Path) -> None:
    first = Held(tmp_path / "lock")
    with pytest.raises(BlockingIOError):
        Held(tmp_path / "lock")
    first.release()
    first.release()
    with Held(tmp_path / "lock"):
        pass
    Held(Path("/proc/nowhere/lock")).release()


async def test_how_many_are_still_there_is_told_when_it_changes() -> None:
    attendance, told = _Attendance(), list[int]()
    attendance.there = {NodeId("n1"), NodeId("n2")}
    empty = asyncio.create_task(attendance.empty(told.append))
    for gone in (None, "n1", None, "n2"):
        await asyncio.sleep(0)
        attendance.there.discard(NodeId(gone or ""))
        attendance._changed.set()
    await empty
    assert told == [2, 1]
