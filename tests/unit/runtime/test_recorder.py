"""What a recorder leaves on disk, and when; histories read back."""

import json
import logging
from collections.abc import Callable, Iterator, Sequence
from io import FileIO
from math import inf, nan, nextafter
from pathlib import Path

import numpy as np
import pytest

from p2pfl.config.load import config_from_mapping
from p2pfl.config.schema import RuntimeConfig
from p2pfl.errors import ConfigError, DataError
from p2pfl.experiment import Experiment
from p2pfl.messages import (
    Effect,
    Ended,
    Event,
    Header,
    Incarnation,
    ModelMessage,
    PeerLost,
    Presence,
    PresenceState,
    Publish,
    Received,
    Record,
    Send,
    Started,
    Train,
    Trained,
    VersionRequest,
    Woken,
)
from p2pfl.protocol.node import Node
from p2pfl.results.history import (
    HeardModel,
    Left,
    ModelName,
    WasTrained,
    decision_line,
    handed_out,
    vector_hash,
)
from p2pfl.results.read_history import find_histories, read_head, read_steps
from p2pfl.runtime.peer import run_node
from p2pfl.runtime.recorder import Recorder, check_recordable
from p2pfl.runtime.run import RealRun
from p2pfl.transport.memory import MemoryNetwork, MemoryTransport
from p2pfl.types import NodeId, Vector

LIFE = Incarnation(2, 2**64 - 1)
Open = Callable[[Experiment, Path], Recorder]
PEER = NodeId("n1")


@pytest.fixture(scope="module")
def what() -> Experiment:
    tables = {
        "name": "small",
        "topology": {"kind": "ring", "nodes": 3},
        "data": {"kind": "quadratic", "dimension": 4},
        "model": "quadratic",
        "training": {"learning_rate": 0.05, "local_steps": 4},
        "stop": {"steps": 40},
    }
    return Experiment(config_from_mapping(tables, source="test"))


def machine(what: Experiment) -> Node:
    trainer = what.make_trainer()
    return what.make_node(NodeId("n0"), run="small-1", trainer=trainer, x0=trainer.initial())


@pytest.fixture
def recorder() -> Iterator[Open]:
    """Opens recorders, and closes them after the test."""
    opened: list[Recorder] = []

    def make(what: Experiment, folder: Path) -> Recorder:
        opened.append(Recorder(machine(what), folder, experiment=what))
        opened[-1].open(LIFE, 1.5)
        return opened[-1]

    yield make
    for one in opened:
        one.close()


def vector(*numbers: float) -> Vector:
    return np.array(numbers, np.float32)


def model(*, sequence: int = 7) -> ModelMessage:
    header = Header(
        run="small-1",
        schema="s",
        node=PEER,
        incarnation=LIFE,
        sequence=sequence,
        version=6,
        oldest_version=5,
        sent_s=0.1,
    )
    return ModelMessage(header, vector(1, 2, 3, 4))


class Fake:
    """A machine's place in a recorder, to look at the file from inside."""

    def __init__(self, inner: Node, file: Path, effects: Sequence[Effect] = ()) -> None:
        self.settings = inner.settings
        self.seen: list[str] = []
        self._file = file
        self._effects = list(effects)

    def handle(self, event: Event, now: float) -> list[Effect]:
        self.seen.append(self._file.read_text().splitlines()[-1])
        return self._effects


def test_an_event_is_on_disk_before_the_node_handles_it(
    recorder: Open, what: Experiment, tmp_path: Path
) -> None:
    one = recorder(what, tmp_path)
    fake = Fake(one.machine, tmp_path / "n0-2.jsonl")
    one.machine = fake  # type: ignore[assignment]  # all of a machine that is asked for
    one.handle(Woken(3), 2.5)
    assert [json.loads(line) for line in fake.seen] == [{"at": 2.5, "woken": 3}]


def test_every_event_reads_back_to_the_last_bit(
    recorder: Open, what: Experiment, tmp_path: Path
) -> None:
    one = recorder(what, tmp_path)
    one.machine = Fake(one.machine, tmp_path / "n0-2.jsonl")  # type: ignore[assignment]  # the same
    presence = Presence(
        "small-1", PEER, LIFE, PresenceState.FINISHED, 4, 0.1 + 0.2, nextafter(1.0, 2.0), "d"
    )
    trained = Trained(5, vector(1, 2, 3, 4), nan)
    events: list[Event] = [
        Received(presence, retained=True),
        Started(LIFE, rejoining=True),
        Received(model()),
        Received(VersionRequest("small-1", PEER, 3)),
        trained,
        Woken(-1),
        PeerLost(PEER, LIFE),
        Ended("time"),
    ]
    times = [nextafter(0.1 * i, inf) for i in range(len(events))]
    for event, at_s in zip(events, times, strict=True):
        one.handle(event, at_s)
    steps = list(read_steps(tmp_path / "n0-2.jsonl"))
    assert [step.at_s for step in steps] == times
    found = [step.what for step in steps]
    told = found.pop(4)
    assert isinstance(told, WasTrained)
    assert (told.token, told.hash) == (5, vector_hash(trained.vector))
    assert np.isnan(told.loss)
    name = ModelName(PEER, LIFE.counter, LIFE.nonce, 7)
    assert found == [*events[:2], HeardModel(name, 6, retained=False), events[3], *events[5:]]


def test_what_was_decided_follows_its_event_and_nothing_is_not_written(
    recorder: Open, what: Experiment, tmp_path: Path
) -> None:
    one = recorder(what, tmp_path)
    effects = one.handle(Started(LIFE), 2.0)
    one.handle(Woken(99), 2.01)
    one.handle(Ended("time"), 3.0)
    steps = list(read_steps(tmp_path / "n0-2.jsonl"))
    assert [step.line for step in steps] == [2, 4, 5]
    assert steps[0].decided == decision_line(effects)
    assert steps[1].decided == ""
    words = [word for word, *_ in json.loads(steps[0].decided or "")["did"]]
    assert words == ["sign", "wake", "publish", "mix", "train"]


def test_mixes_are_recorded_with_the_staleness_of_everything_in_them() -> None:
    from p2pfl.messages import Reading

    reading = Reading(PEER, 6, 0.25, 1, 0, 0.1, 0.3)
    line = decision_line([Record(7, 0.3, (reading,), (NodeId("n2"),))])
    assert json.loads(line)["did"] == [["mix", 7, 0.3, [["n1", 6, 0.25, 1, 0, 0.1, 0.3]], ["n2"]]]


def test_a_model_sent_to_many_is_hashed_once() -> None:
    one, other = model(), ModelMessage(model().header, vector(4, 3, 2, 1))
    sends: list[Effect] = [
        Send(PEER, one),
        Send(NodeId("n2"), one),
        Publish(other),
        Train(1, one.vector, 0, 4),
    ]
    assert len(handed_out(sends)) == 2
    assert len(json.loads(decision_line(sends))["made"].split()) == 2


def test_the_end_tells_the_hashes_of_the_final_models(
    recorder: Open, what: Experiment, tmp_path: Path
) -> None:
    one = recorder(what, tmp_path)
    served = one.last(9.0)
    (step,) = read_steps(tmp_path / "n0-2.jsonl")
    assert step.what == Left(vector_hash(served), vector_hash(one.machine.public()))


def test_the_head_is_enough_to_make_the_node_again(
    recorder: Open, what: Experiment, tmp_path: Path
) -> None:
    recorder(what, tmp_path).close()
    (file,) = find_histories(tmp_path)
    head = read_head(file)
    assert (head.node, head.life, head.run, head.at_s) == ("n0", (2, 2**64 - 1), "small-1", 1.5)
    again = Experiment(config_from_mapping(head.experiment, source="test"))
    assert again.digest == what.digest


def test_lives_with_one_counter_have_a_file_each(
    recorder: Open, what: Experiment, tmp_path: Path
) -> None:
    recorder(what, tmp_path).close()
    recorder(what, tmp_path).close()
    names = {file.name for file in find_histories(tmp_path)}
    assert names == {"n0-2.jsonl", "n0-2-ffffffffffffffff.jsonl"}


def test_a_full_disk_ends_the_record_and_not_the_node(
    recorder: Open,
    what: Experiment,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one = recorder(what, tmp_path)
    one.close()
    one._file = FileIO("/dev/full", "wb")
    # Tools that tests run in this process may switch off all loggers that they find.
    monkeypatch.setattr(logging.getLogger("p2pfl.runtime"), "disabled", False)
    with caplog.at_level(logging.WARNING):
        effects = one.handle(Started(LIFE), 2.0)
        one.handle(Woken(99), 2.01)
    assert effects
    assert [record.getMessage() for record in caplog.records] == [
        "n0: the record ends here: [Errno 28] No space left on device"
    ]


def test_a_folder_that_cannot_be_written_is_refused(
    recorder: Open, what: Experiment, tmp_path: Path
) -> None:
    (tmp_path / "record").write_text("a file")
    with pytest.raises(ConfigError, match=r"the record of n0 cannot be written to .*record"):
        recorder(what, tmp_path / "record")


def test_a_torn_last_line_was_never_written(
    recorder: Open, what: Experiment, tmp_path: Path
) -> None:
    one = recorder(what, tmp_path)
    one.handle(Started(LIFE), 2.0)
    one.handle(Woken(99), 2.01)
    one.close()
    file = tmp_path / "n0-2.jsonl"
    whole = file.read_bytes()
    file.write_bytes(whole[:-5])
    assert [step.what for step in read_steps(file)] == [Started(LIFE)]
    without_decision = whole.splitlines(keepends=True)[:2]
    file.write_bytes(b"".join(without_decision) + b'{"did":[["si')
    assert [step.decided for step in read_steps(file)] == [None]


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        (b"{torn", "line 2: is no JSON"),
        (b"[]", "line 2: is not a JSON object"),
        (b'{"at":1.0,"slept":3}', "line 2: is no event"),
        (b'{"woken":3}', "line 2: is no event"),
        (b'{"at":1.0,"presence":["r","n1",1],"retained":false}', "line 2: is no event"),
        (b'{"did":[],"made":""}', "line 2: a decision without an event"),
    ],
)
def test_damage_is_told_with_its_line(
    line: bytes, complaint: str, recorder: Open, what: Experiment, tmp_path: Path
) -> None:
    recorder(what, tmp_path).close()
    file = tmp_path / "n0-2.jsonl"
    file.write_bytes(file.read_bytes() + line + b"\n")
    with pytest.raises(DataError, match=complaint):
        list(read_steps(file))


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "is empty"),
        (b'{"node":"n0"}\n', "has format None"),
        (b'{"node":"n0","format":1}\n', "no head of a record"),
    ],
)
def test_what_is_no_history_is_refused(content: bytes, complaint: str, tmp_path: Path) -> None:
    file = tmp_path / "n0-1.jsonl"
    file.write_bytes(content)
    with pytest.raises(DataError, match=complaint):
        read_head(file)


@pytest.mark.parametrize("device", ["cuda", "cuda:1", "mps"])
def test_a_run_on_another_device_than_the_cpu_cannot_be_recorded(
    device: str, what: Experiment, tmp_path: Path
) -> None:
    elsewhere = what.replace(runtime=RuntimeConfig(device=device))
    with pytest.raises(ConfigError) as refusal:
        RealRun(elsewhere, record=tmp_path)
    assert str(refusal.value) == (
        f"runtime.device is {device!r}, and only what the CPU computes can be repeated bit for bit:"
        ' set runtime.device = "cpu", or leave --record out'
    )


async def test_no_node_of_a_machine_of_its_own_can_either(what: Experiment, tmp_path: Path) -> None:
    elsewhere = what.replace(runtime=RuntimeConfig(device="cuda"))
    transport = MemoryTransport(MemoryNetwork("small-1"), node="n0")
    with pytest.raises(ConfigError, match="leave --record out"):
        await run_node(elsewhere, "n0", transport, record=tmp_path)


@pytest.mark.parametrize("found", ["cuda", "cpu"])
def test_the_device_of_auto_counts_as_what_it_is_here(
    found: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("p2pfl.learning.devices.best_device", lambda _: found)
    if found == "cpu":
        check_recordable(RuntimeConfig(device="auto"))
        return
    with pytest.raises(ConfigError, match="is 'auto', here 'cuda', and only"):
        check_recordable(RuntimeConfig(device="auto"))


def test_a_folder_without_a_record_is_told_how_to_make_one(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text('{"kind":"node"}\n')
    with pytest.raises(DataError, match="holds no record; record a run by `p2pfl run --record`"):
        find_histories(tmp_path)
