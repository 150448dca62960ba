"""Real runs over real brokers, recorded, with a death on the way, and repeated bit for bit."""

import asyncio
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from p2pfl.algorithms.pull_mix import PullMix
from p2pfl.cli.main import main
from p2pfl.config.load import config_from_mapping
from p2pfl.config.write import config_to_toml
from p2pfl.experiment import Experiment
from p2pfl.results.checkpoint import checkpoint_file, load_checkpoint
from p2pfl.results.folder import CHECKPOINTS, write_run
from p2pfl.results.history import RECORD
from p2pfl.runtime.run import RealRun
from p2pfl.simulation.replay import Replay
from p2pfl.transport.broker import Engine
from p2pfl.types import NodeId

ENGINES = [
    pytest.param("nats", marks=pytest.mark.broker),
    pytest.param("mosquitto", marks=pytest.mark.mosquitto),
]


def digits(*, nodes: int = 8, **tables: Any) -> Experiment:  # noqa: ANN401 - as a file has them
    base: dict[str, Any] = {
        "name": "small",
        "topology": {"kind": "ring", "nodes": nodes},
        "data": "digits",
        "model": {"kind": "mlp", "hidden": [16]},
        "training": {"learning_rate": 0.1, "local_steps": 4, "momentum": 0.9},
        "partition": {"kind": "dirichlet", "alpha": 0.5},
        "compute": {"step_s": 0.01, "slowdown": {"n1": 2.0}},
        "staleness": {"liveness_floor_s": 1.0, "suspect_grace_s": 0.5},
        "stop": {"time_s": 8.0},
        "evaluation": {"every_s": 0.5},
    }
    return Experiment(config_from_mapping(base | tables, source="test"))


def wait_for_updates(folder: Path, node: str, *, updates: int) -> None:
    """Return when this node's record tells of so many updates."""
    while sum(p.read_text().count('"trained"') for p in folder.glob(f"{node}*")) < updates:
        time.sleep(0.05)


@pytest.mark.parametrize("engine", ENGINES)
async def test_eight_nodes_of_which_one_is_killed_and_comes_back_are_repeated_bit_for_bit(
    engine: Engine, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    what = digits()
    async with RealRun(what, engine=engine, record=tmp_path / RECORD) as run:
        await asyncio.to_thread(wait_for_updates, tmp_path / RECORD, "n2", updates=12)
        run.kill_node("n2")
        await asyncio.sleep(1.2)
        await run.start_node("n2")
        result = await run.finish()
    assert {node.outcome for node in result.nodes} == {"finished"}
    assert any("n2 was killed by SIGKILL" in note for note in result.notes)
    write_run(result, tmp_path)

    replay = Replay(tmp_path)
    verified = replay.run()
    assert verified.decision is None
    assert verified.first_vector is None
    first, second = (life for life in replay.lives if life.head.node == "n2")
    assert first.left is None
    assert second.left is not None
    assert min(one.machine.version for one in (first, second) if one.machine is not None) > 5
    assert len(result.served) == 8
    for node, served in result.served.items():
        assert np.array_equal(served, replay.served[node])
        assert np.array_equal(result.public[node], replay.public[node])

    assert await asyncio.to_thread(main, ["simulate", "--replay", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert "lives       9, of 8 nodes" in shown
    assert f"decisions   {verified.decisions}, all as recorded" in shown
    assert "models      8 final ones, bit-equal to the saved ones" in shown


def wait_for_a_checkpoint_of(folder: Path, *, version: int) -> None:
    """Return when the node's checkpoint there is of this version or a later one."""
    while True:
        found = load_checkpoint(folder, PullMix())
        if found is not None and found.saved.version >= version:
            return
        time.sleep(0.02)


@pytest.mark.broker
async def test_a_killed_node_goes_on_from_its_checkpoint_and_is_repeated_bit_for_bit(
    tmp_path: Path,
) -> None:
    what = digits(nodes=3, checkpoint={"every_s": 0.1})
    kept = tmp_path / CHECKPOINTS
    async with RealRun(what, record=tmp_path / RECORD, checkpoints=kept) as run:
        file = checkpoint_file(kept, NodeId("n2"))
        await asyncio.to_thread(wait_for_a_checkpoint_of, file, version=8)
        run.kill_node("n2")
        await asyncio.sleep(0.8)
        await run.start_node("n2")
        result = await run.finish()
    replay = Replay(tmp_path)
    verified = replay.run()
    assert (verified.decision, verified.first_vector) == (None, None)
    second = replay.lives[-1]
    assert second.head.life[0] == 2
    assert second.checkpoint is not None
    assert second.checkpoint.saved.version >= 8
    assert second.checkpoint.momentum is not None
    for node, public in result.public.items():
        assert np.array_equal(public, replay.public[node])
        last = load_checkpoint(checkpoint_file(kept, node), PullMix())
        assert last is not None
        assert np.array_equal(last.saved.state.x, public)


@pytest.mark.broker
async def test_nodes_that_stand_alone_record_where_they_are_told(tmp_path: Path) -> None:
    """`p2pfl node --record DIR`: nobody gives the go, and the records are gathered by hand."""
    from p2pfl.transport.broker import EmbeddedBroker

    file = tmp_path / "small.toml"
    file.write_text(config_to_toml(digits(nodes=2, stop={"steps": 80}, compute={}).config))
    async with EmbeddedBroker("nats", folder=tmp_path / "broker") as broker:
        nodes = [
            await asyncio.create_subprocess_exec(
                *(sys.executable, "-c", _P2PFL, "node", str(file), "--id", node),
                *("--broker", broker.url, "--record", str(tmp_path / "gathered")),
                stdout=asyncio.subprocess.DEVNULL,
            )
            for node in ("n0", "n1")
        ]
        assert [await node.wait() for node in nodes] == [0, 0]
    replay = Replay(tmp_path / "gathered")
    verified = replay.run()
    assert (verified.decision, verified.first_vector) == (None, None)
    assert set(replay.served) == {"n0", "n1"}
    assert verified.vectors > 2 * 2 * 20


@pytest.mark.broker
def test_the_command_records_and_repeats_and_tells_what_differs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, runs = tmp_path / "small.toml", tmp_path / "runs"
    file.write_text(config_to_toml(digits(nodes=3, stop={"steps": 80}, compute={}).config))
    assert main(["run", str(file), "--record", "--out", str(runs)]) == 0
    (folder,) = runs.iterdir()
    capsys.readouterr()
    assert main(["simulate", "--replay", str(folder), "--trace"]) == 0
    assert "models      3 final ones, bit-equal to the saved ones" in capsys.readouterr().out
    assert (folder / "replay.jsonl").exists()

    (folder / "models" / "n0.safetensors").write_bytes(_with_one_more(folder, "n0"))
    assert main(["simulate", "--replay", str(folder)]) == 6
    assert "models      differ by at most 1 (n0)" in capsys.readouterr().out

    history = folder / RECORD / "n1-1.jsonl"
    history.write_text(history.read_text().replace('["train",9,', '["train",8,'))
    assert main(["simulate", "--replay", str(folder)]) == 6
    shown = capsys.readouterr().out
    assert "n1, life 1, at" in shown
    assert "recorded ['train', 8, 32, 4], replayed ['train', 9, 32, 4]" in shown


def _with_one_more(folder: Path, node: str) -> bytes:
    """A saved model, and one added to one of its numbers."""
    from safetensors.numpy import load_file, save

    saved = load_file(folder / "models" / f"{node}.safetensors")
    saved["model"][0] += 1.0
    content: bytes = save(saved)
    return content


@pytest.mark.broker
def test_a_run_that_could_not_start_leaves_no_folder(tmp_path: Path) -> None:
    file, runs = tmp_path / "small.toml", tmp_path / "runs"
    nowhere = {"kind": "mnist", "folder": str(tmp_path / "nowhere")}
    file.write_text(config_to_toml(digits(nodes=2, data=nowhere, compute={}).config))
    assert main(["run", str(file), "--record", "--out", str(runs)]) == 2
    assert list(runs.iterdir()) == []


_P2PFL = "import sys; from p2pfl.cli.main import main; sys.exit(main())"
