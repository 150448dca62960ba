"""Recorded runs repeated in virtual time: the same decisions, the same mixing, the same bits."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from p2pfl.config.load import config_from_mapping
from p2pfl.errors import DataError, TransportError
from p2pfl.experiment import Experiment
from p2pfl.learning.trainer import Trainer
from p2pfl.results.history import HeardModel, WasTrained
from p2pfl.runtime import core
from p2pfl.runtime.life import NodeOutcome
from p2pfl.runtime.peer import run_node
from p2pfl.simulation.replay import Replay
from p2pfl.simulation.trace import Trace
from p2pfl.transport.memory import MemoryNetwork, MemoryTransport


def experiment(**tables: Any) -> Experiment:  # noqa: ANN401 - as a file has them
    base: dict[str, Any] = {
        "name": "small",
        "topology": {"kind": "ring", "nodes": 4},
        "data": "digits",
        "model": {"kind": "mlp", "hidden": [8]},
        "training": {"learning_rate": 0.1, "local_steps": 2, "momentum": 0.9},
        "partition": {"kind": "dirichlet", "alpha": 0.5},
        "stop": {"steps": 60},
        "evaluation": {"every_s": 0.1},
    }
    return Experiment(config_from_mapping(base | tables, source="test"))


@dataclass(frozen=True, slots=True)
class Recorded:
    """A run over the network in memory, and what it came to."""

    folder: Path
    trainer: Trainer
    outcomes: dict[str, NodeOutcome]

    def replay(self, *, trace: Trace | None = None) -> Replay:
        return Replay(self.folder, trainer=self.trainer, trace=trace)

    def agrees_with(self, replay: Replay) -> bool:
        return set(self.outcomes) == set(replay.served) and all(
            np.array_equal(outcome.served, replay.served[node])
            and np.array_equal(outcome.public, replay.public[node])
            for node, outcome in ((what.totals.node, what) for what in self.outcomes.values())
        )


async def record(what: Experiment, folder: Path, *, kill: str | None = None) -> Recorded:
    """A run with a starting process; `kill` dies on the way, and comes back."""
    network, go = MemoryNetwork("small-1"), asyncio.Event()
    trainer = what.make_trainer(only=what.learners)

    async def live(node: str) -> NodeOutcome:
        dtype = what.config.network.codec
        async with MemoryTransport(network, node=node, dtype=dtype) as transport:
            return await run_node(
                what, node, transport, trainer=trainer, go=go.wait, record=folder / "record"
            )

    def told(phase: str) -> set[str]:
        return {node for node, row in network.rows if row["phase"] == phase}

    tasks = {name: asyncio.create_task(live(name)) for name in what.places}
    go.set()
    if kill is not None:
        await asyncio.sleep(0.3)
        network.lose(tasks_name := what.place(kill).node)
        with pytest.raises(TransportError):
            await tasks[tasks_name]
        tasks[tasks_name] = asyncio.create_task(live(tasks_name))
    while not told("finished") >= set(tasks):
        done = [task for task in tasks.values() if task.done()]
        assert not done, done[0].result()
        await asyncio.sleep(0.01)
    network.end("finished")
    return Recorded(folder, trainer, {name: await task for name, task in tasks.items()})


def change(file: Path, edit: Callable[[list[bytes]], list[bytes]]) -> None:
    file.write_bytes(b"".join(edit(file.read_bytes().splitlines(keepends=True))))


def line_with(file: Path, word: str, *, after: int = 0) -> int:
    """Index of a line with this key, or this word in a decision."""
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    return next(
        i
        for i, line in enumerate(lines)
        if i >= after and (word in line or word in [decided[0] for decided in line.get("did", [])])
    )


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    return asyncio.run(record(experiment(), tmp_path_factory.mktemp("run")))


@pytest.fixture
def recorded(pristine: Recorded, tmp_path: Path) -> Recorded:
    """A copy of one recorded run, to be damaged."""
    (tmp_path / "record").mkdir()
    for file in (pristine.folder / "record").iterdir():
        (tmp_path / "record" / file.name).write_bytes(file.read_bytes())
    return Recorded(tmp_path, pristine.trainer, pristine.outcomes)


@pytest.mark.parametrize(
    "tables",
    [
        {},
        {"algorithm": {"kind": "dpsgd"}},
        {"algorithm": {"kind": "fedavg", "participation": 0.5}},
        {
            "algorithm": {"kind": "scaffold"},
            "training": {"learning_rate": 0.01, "local_steps": 2},
        },
        {"algorithm": {"kind": "fedbuff"}},
        {"staleness": {"policy": "wait", "bound": 2.0}},
        {"network": {"codec": "bfloat16"}},
        {"training": {"learning_rate": 0.01, "local_steps": 2, "optimizer": "adamw"}},
    ],
    ids=["pull_mix", "dpsgd", "fedavg", "scaffold", "fedbuff", "wait", "bfloat16", "adamw"],
)
async def test_a_replay_makes_the_same_models_bit_for_bit(
    tables: dict[str, Any], tmp_path: Path
) -> None:
    recorded = await record(experiment(**tables), tmp_path)
    replay = recorded.replay()
    verified = replay.run()
    assert verified.decision is None
    assert verified.first_vector is None
    assert verified.decisions > verified.events / 2
    assert verified.vectors >= 4 * 30
    assert recorded.agrees_with(replay)


async def test_a_life_that_was_cut_short_and_the_next_one_are_repeated(tmp_path: Path) -> None:
    what = experiment(compute={"step_s": 0.01}, staleness={"suspect_grace_s": 0.05})
    recorded = await record(what, tmp_path, kill="n2")
    replay = recorded.replay()
    verified = replay.run()
    assert (verified.decision, verified.first_vector) == (None, None)
    lives = [life for life in replay.lives if life.head.node == "n2"]
    assert [life.head.life[0] for life in lives] == [1, 2]
    assert lives[0].left is None
    assert lives[0].machine is not None
    assert lives[0].machine.version > 0
    assert recorded.agrees_with(replay)


async def test_models_mixed_in_a_thread_are_recorded_in_the_order_of_their_events(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(core, "THREAD_FLOATS", 0)
    recorded = await record(experiment(), tmp_path)
    replay = recorded.replay()
    verified = replay.run()
    assert (verified.decision, verified.first_vector) == (None, None)
    assert recorded.agrees_with(replay)


def test_the_replay_makes_its_own_trainer_and_leaves_a_trace(
    recorded: Recorded, tmp_path: Path
) -> None:
    with (tmp_path / "trace.jsonl").open("w") as lines:
        replay = Replay(recorded.folder, trace=Trace(lines))
        verified = replay.run()
    assert recorded.agrees_with(replay)
    told = [json.loads(line) for line in (tmp_path / "trace.jsonl").read_text().splitlines()]
    # The ends of the four lives are no events of a node.
    assert len(told) == verified.events - 4


def test_between_steps_the_machines_can_be_looked_at(recorded: Recorded) -> None:
    replay = recorded.replay()
    for life, step in replay.step():
        assert life.machine is not None
        if isinstance(step.what, WasTrained) and life.machine.version == 10:
            break
    assert f"{life!r}" == f"<Life 1 of {life.machine!r}>"
    assert "version=10" in f"{life!r}"


def test_clocks_of_other_machines_change_no_bit(recorded: Recorded) -> None:
    """Only who hears whom orders the lives: here one machine's calendar is days ahead."""
    file = recorded.folder / "record" / "n1-1.jsonl"
    head = json.loads(file.read_text().splitlines()[0])
    head["unix_s"] += 3e5
    change(file, lambda lines: [json.dumps(head).encode() + b"\n", *lines[1:]])
    replay = recorded.replay()
    verified = replay.run()
    assert (verified.decision, verified.first_vector) == (None, None)
    assert recorded.agrees_with(replay)


def test_no_model_is_kept_beyond_its_last_use(recorded: Recorded) -> None:
    replay = recorded.replay()
    replay.run()
    assert not replay._made


def test_another_decision_is_told_with_node_time_line_and_both_sides(recorded: Recorded) -> None:
    file = recorded.folder / "record" / "n3-1.jsonl"
    at = line_with(file, "mix", after=40)
    decided = json.loads(file.read_text().splitlines()[at])
    position = next(i for i, (word, *_) in enumerate(decided["did"]) if word == "mix")
    decided["did"][position][1] += 1000
    text = json.dumps(decided, separators=(",", ":")).encode() + b"\n"
    change(file, lambda lines: [*lines[:at], text, *lines[at + 1 :]])
    replay = recorded.replay()
    found = replay.run().decision
    assert found is not None
    assert found.where.startswith("n3, life 1, at ")
    assert found.where.endswith(f"(n3-1.jsonl:{at})")
    version = decided["did"][position][1]
    assert found.recorded.startswith(f"['mix', {version}, ")
    assert found.replayed.startswith(f"['mix', {version - 1000}, ")
    assert not replay.served


def test_a_decision_that_is_missing_is_told(recorded: Recorded) -> None:
    file = recorded.folder / "record" / "n3-1.jsonl"
    at = line_with(file, "did", after=30)
    change(file, lambda lines: [*lines[:at], *lines[at + 1 :]])
    found = recorded.replay().run().decision
    assert found is not None
    assert found.recorded == "nothing"


def test_other_bits_are_counted_and_the_first_is_told(recorded: Recorded) -> None:
    file = recorded.folder / "record" / "n0-1.jsonl"
    at = line_with(file, "trained", after=50)
    line = json.loads(file.read_text().splitlines()[at])
    told = json.dumps(line | {"hash": "0" * 16}).encode() + b"\n"
    change(file, lambda lines: [*lines[:at], told, *lines[at + 1 :]])
    replay = recorded.replay()
    verified = replay.run()
    assert verified.decision is None
    assert verified.vectors_differ == 1
    assert verified.first_vector is not None
    assert f"(n0-1.jsonl:{at + 1}): training {line['trained']}" in verified.first_vector.where
    assert verified.first_vector.recorded == "0" * 16
    assert recorded.agrees_with(replay)


def test_a_sender_without_a_record_is_named(recorded: Recorded) -> None:
    (recorded.folder / "record" / "n1-1.jsonl").unlink()
    with pytest.raises(DataError, match=r"n[02], .*heard model #1 of n1's life 1, .*is no record"):
        recorded.replay().run()


def test_a_sender_whose_record_ends_too_early_is_named(recorded: Recorded) -> None:
    file = recorded.folder / "record" / "n1-1.jsonl"
    change(file, lambda lines: lines[:30])
    with pytest.raises(DataError, match=r"of n1's life 1, and .*, n1-1\.jsonl, ends before"):
        recorded.replay().run()


def test_a_model_heard_before_it_was_made_holds_both_up(recorded: Recorded) -> None:
    """No real run can do this; a damaged record is told, not waited for."""
    folder = recorded.folder / "record"
    lines = (folder / "n1-1.jsonl").read_text().splitlines()
    name, version = next(
        (each["model"], each["version"])
        for each in map(json.loads, lines)
        if each.get("model", [""])[0] == "n0" and each["version"] >= 20
    )
    early = json.dumps({"at": 0.0, "model": name, "version": version, "retained": False})
    change(folder / "n0-1.jsonl", lambda lines: [*lines[:5], early.encode() + b"\n", *lines[5:]])
    with pytest.raises(DataError, match=r"and that life, n\d-1\.jsonl:\d+, waits for it in turn"):
        recorded.replay().run()


def test_another_version_under_a_name_is_told(recorded: Recorded) -> None:
    file = recorded.folder / "record" / "n0-1.jsonl"
    at = line_with(file, "model", after=20)
    line = json.loads(file.read_text().splitlines()[at])
    told = json.dumps(line | {"version": 10_000}).encode() + b"\n"
    change(file, lambda lines: [*lines[:at], told, *lines[at + 1 :]])
    found = recorded.replay().run().decision
    assert found is not None
    assert found.recorded.startswith("version 10000 as model #")


def test_the_end_of_a_training_that_never_began_is_told(recorded: Recorded) -> None:
    file = recorded.folder / "record" / "n0-1.jsonl"
    at = line_with(file, "trained", after=50)
    change(file, lambda lines: [*lines[: at + 2], lines[at], *lines[at + 2 :]])
    found = recorded.replay().run().decision
    assert found is not None
    assert found.replayed == "no such training"


def test_a_record_of_two_runs_is_refused(recorded: Recorded) -> None:
    file = recorded.folder / "record" / "n1-1.jsonl"
    head = json.loads(file.read_text().splitlines()[0]) | {"run": "small-2"}
    change(file, lambda lines: [json.dumps(head).encode() + b"\n", *lines[1:]])
    with pytest.raises(DataError, match="belongs to run small-2"):
        recorded.replay()


def test_the_record_can_lie_in_any_folder(recorded: Recorded) -> None:
    """Gathered from several machines, where no run's folder is."""
    replay = Replay(recorded.folder / "record", trainer=recorded.trainer)
    replay.run()
    assert recorded.agrees_with(replay)
    assert sum(isinstance(s.what, HeardModel) for _, s in recorded.replay().step()) > 0
