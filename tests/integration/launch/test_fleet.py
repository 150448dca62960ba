"""Nodes on hosts that are reached by SSH, all of them on this machine."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Protocol

import pytest

from p2pfl.config.hosts import hosts_from_mapping
from p2pfl.config.load import config_from_mapping
from p2pfl.config.write import config_to_toml
from p2pfl.errors import ConfigError, RefusedError, TransportError
from p2pfl.experiment import Experiment
from p2pfl.launch.fleet import Fleet
from p2pfl.launch.parcel import parcel
from p2pfl.results.folder import read_run
from p2pfl.runtime.board import Board
from p2pfl.runtime.host_words import Question
from p2pfl.runtime.run import RealRun
from p2pfl.transport.broker import EmbeddedBroker

pytestmark = pytest.mark.broker


class Loopback(Protocol):
    folder: Path
    table: dict[str, object]

    def cut(self) -> None: ...


def experiment(**tables: Any) -> Experiment:  # noqa: ANN401 - as a file has them
    base: dict[str, Any] = {
        "name": "small",
        "topology": {"kind": "ring", "nodes": 4},
        "data": {"kind": "quadratic", "dimension": 10},
        "model": "quadratic",
        "training": {"learning_rate": 0.02, "local_steps": 2},
        "compute": {"step_s": 0.01},
        "staleness": {"liveness_floor_s": 1.0, "suspect_grace_s": 0.5},
        "checkpoint": {"every_s": 0.5},
        "stop": {"steps": 200},
        "evaluation": {"every_s": 0.25},
    }
    return Experiment(config_from_mapping(base | tables, source="test"))


def fleet_of(
    what: Experiment,
    url: str,
    loopback: Loopback,
    *,
    alone_s: float = 60.0,
    **hosts: Any,  # noqa: ANN401 - tables
) -> Fleet:
    tables = {
        name: loopback.table | {"python": sys.executable} | own for name, own in hosts.items()
    }
    return Fleet(
        what,
        hosts_from_mapping(
            {"alone_s": alone_s, "hosts": tables}, source="test", folder=loopback.folder
        ),
        parcel(what, ca_file=None),
        question=Question(url=url, nodes=()),
        run="small-1",
        version="0.1.0",
        tell=lambda _: None,
    )


async def until(condition: Callable[[], bool], *, within_s: float = 20.0) -> None:
    async with asyncio.timeout(within_s):
        while not condition():  # noqa: ASYNC110 - it looks at other processes.
            await asyncio.sleep(0.05)


def lives(pid: int) -> bool:
    try:
        return " Z " not in Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False


async def test_a_run_on_two_hosts_ends_as_one_on_this_machine(
    broker: EmbeddedBroker, loopback: Loopback, tmp_path: Path
) -> None:
    what = experiment()
    fleet = fleet_of(what, broker.url, loopback, lab={}, edge={})
    boards: list[Board] = []

    def look(board: Board) -> None:
        fleet.annotate(board)
        boards[:] = [board]

    async with RealRun(
        what,
        broker_url=broker.url,
        processes=fleet,
        watcher=look,
        record=tmp_path / "record",
        checkpoints=tmp_path / "checkpoints",
    ) as run:
        assert len(set(fleet.pids.values())) == 4
        result = await run.finish()
    assert {node.outcome for node in result.nodes} == {"finished"}
    assert [node.steps for node in result.nodes] == [200] * 4
    assert len(result.served) == 4
    assert [s.host for s in boards[0].standings.values()] == ["lab", "lab", "edge", "edge"]
    assert len(list((tmp_path / "record").iterdir())) == 4
    assert len(list((tmp_path / "checkpoints").glob("*.checkpoint"))) == 4
    assert not list((tmp_path / "home" / "p2pfl-launch").iterdir())
    assert not fleet.afterwards


async def test_nodes_go_on_over_a_broken_connection_and_are_still_stopped(
    broker: EmbeddedBroker, loopback: Loopback
) -> None:
    what = experiment(stop={"steps": 100_000})
    fleet = fleet_of(what, broker.url, loopback, lab={})
    async with RealRun(what, broker_url=broker.url, processes=fleet, watcher=fleet.annotate) as run:
        pids = list(fleet.pids.values())
        loopback.cut()
        await until(lambda: any("its nodes go on" in note for note in run.board.notes))
        await until(lambda: any("can be reached again" in note for note in run.board.notes))
        assert all(map(lives, pids))
        run.kill_node("n1")
        await until(lambda: any("n1 on lab was killed" in note for note in run.board.notes))
        await run.start_node("n1")
        pids = list(fleet.pids.values())
        assert len(pids) == 4
    assert not any(map(lives, pids))


@pytest.mark.parametrize("served", [False, True], ids=["broker stays", "broker is gone too"])
async def test_nodes_that_are_left_alone_stop_by_themselves(
    served: bool,  # noqa: FBT001 - pytest fills it in
    broker: EmbeddedBroker,
    loopback: Loopback,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With --serve the broker goes with the launching machine."""
    monkeypatch.setattr("p2pfl.launch.host.ALIVE_S", 60.0)
    what = experiment(stop={"steps": 100_000})
    fleet = fleet_of(what, broker.url, loopback, alone_s=3.0, lab={})
    async with RealRun(what, broker_url=broker.url, processes=fleet, watcher=fleet.annotate):
        pids = list(fleet.pids.values())
        if served:
            await broker.kill()
        await until(lambda: not any(map(lives, pids)))


async def test_a_host_whose_outpost_is_killed_is_reported_with_its_nodes(
    broker: EmbeddedBroker, loopback: Loopback
) -> None:
    what = experiment(stop={"steps": 100_000})
    fleet = fleet_of(what, broker.url, loopback, lab={"nodes": ["n0"]}, edge={})
    async with RealRun(what, broker_url=broker.url, processes=fleet, watcher=fleet.annotate) as run:
        outpost = _parent(_parent(fleet.pids["n0-1"]))
        os.kill(outpost, signal.SIGKILL)
        await until(lambda: any("n0 on lab was killed" in note for note in run.board.notes))
        await until(lambda: any("nodes there is gone" in note for note in run.board.notes))
        assert len(fleet.pids) == 3


def _parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


async def test_what_is_missing_is_told_for_all_hosts_in_one_line(
    broker: EmbeddedBroker, loopback: Loopback
) -> None:
    (loopback.folder / "nobody").write_text("")
    fleet = fleet_of(
        experiment(),
        broker.url,
        loopback,
        a={"key": str(loopback.folder / "stranger")},
        b={"python": "/no/python"},
        c={"known_hosts": str(loopback.folder / "nobody")},
        d={"key": str(loopback.folder / "no_key")},
    )
    with pytest.raises(ConfigError) as caught:
        await _enter(fleet)
    for sentence in (
        "host a (127.0.0.1:",
        "does not let this user in",
        "host b: there is no /no/python",
        "host c (127.0.0.1:",
        "its public key is not among the known ones",
        "host d (127.0.0.1:",
        "its key or known_hosts",
    ):
        assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "kind", "sentence"),
    [
        ({"_version": "9.9"}, ConfigError, "it has p2pfl 0.1.0, and this machine 9.9"),
        ({"digest": "0" * 16}, ConfigError, "there and 0000000000000000 here"),
        ({"url": "mqtt://127.0.0.1:1"}, TransportError, "cannot use the broker mqtt://127.0.0.1:1"),
        ({"data": "/no/such.npz"}, ConfigError, "its data:"),
        ({"folder": "/proc/none"}, ConfigError, "cannot write into /proc/none/small-1-lab there"),
    ],
)
async def test_a_host_that_differs_is_refused(
    broker: EmbeddedBroker,
    loopback: Loopback,
    changes: dict[str, str],
    kind: type[Exception],
    sentence: str,
) -> None:
    what = experiment()
    if "data" in changes:
        what = experiment(data="digits", model="softmax")
    if "digest" in changes:
        what.__dict__["digest"] = changes["digest"]
    url = changes.get("url", broker.url)
    own = {key: changes[key] for key in ("data", "folder") if key in changes}
    fleet = fleet_of(what, url, loopback, lab=own)
    if "_version" in changes:
        fleet._version = changes["_version"]
    with pytest.raises(kind, match=f"host lab: .*{sentence}"):
        await _enter(fleet)
    assert not list((loopback.folder / "home").glob("p2pfl-launch/*"))


async def test_a_host_that_is_not_there_is_named(
    broker: EmbeddedBroker, loopback: Loopback
) -> None:
    fleet = fleet_of(experiment(), broker.url, loopback, lab={"port": 1})
    with pytest.raises(TransportError, match=r"host lab \(127.0.0.1:1\): "):
        await _enter(fleet)


async def test_a_user_who_is_not_let_in_everywhere_is_refused_for_good(
    broker: EmbeddedBroker, loopback: Loopback
) -> None:
    stranger = str(loopback.folder / "stranger")
    fleet = fleet_of(experiment(), broker.url, loopback, lab={"key": stranger})
    with pytest.raises(RefusedError):
        await _enter(fleet)


async def _enter(fleet: Fleet) -> None:
    entering: Awaitable[Fleet] = fleet.__aenter__()
    await entering


async def test_the_command_serves_a_broker_of_its_own_over_tls(
    loopback: Loopback, tmp_path: Path
) -> None:
    what = experiment(stop={"steps": 50})
    (tmp_path / "small.toml").write_text(config_to_toml(what.config))
    keys = loopback.table | {"python": sys.executable}
    lines = ["[hosts.lab]", *(f"{key} = {json.dumps(value)}" for key, value in keys.items())]
    (tmp_path / "hosts.toml").write_text("\n".join(lines))
    words = ["launch", "small.toml", "--hosts", "hosts.toml", "--serve", "127.0.0.1:0"]
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "p2pfl",
        *words,
        "--log-format",
        "json",
        cwd=tmp_path,
        stdout=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(60.0):
        output, _ = await process.communicate()
    told = [json.loads(line) for line in output.splitlines()]
    assert process.returncode == 0, told
    (run,) = [each for each in told if each["event"] == "run"]
    assert run["broker"].startswith("mqtts://p2pfl@127.0.0.1:")
    (result,) = [each for each in told if each["event"] == "result"]
    assert set(result["outcomes"].values()) == {"finished"}
    assert read_run(tmp_path / result["folder"]).final.steps == 4 * 50
