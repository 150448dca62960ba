"""What a node finds of itself after its death."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from support import star

from p2pfl.algorithms.base import Algorithm
from p2pfl.algorithms.dpsgd import DPSGD, RoundState
from p2pfl.algorithms.local import LocalOnly
from p2pfl.algorithms.pull_mix import MixState, PullMix
from p2pfl.algorithms.suite import STARS, make_client, make_server
from p2pfl.errors import DataError
from p2pfl.messages import Saved
from p2pfl.results.checkpoint import (
    Checkpoint,
    checkpoint_file,
    read_checkpoint,
    write_checkpoint,
)
from p2pfl.types import Array, NodeId, Vector

N0 = NodeId("n0")


class Account(NamedTuple):
    sums: Array
    number: int


@dataclass(frozen=True, slots=True)
class Rich:
    x: Vector
    accounts: Mapping[NodeId, Account]
    seen: tuple[int, ...]
    name: str | None
    done: bool
    rate: float


class Banker(LocalOnly):
    """An algorithm whose state has all that a checkpoint may hold."""


def vector(*values: float) -> Vector:
    return np.array(values, np.float32)


def checkpoint(state: object, **changes: Any) -> Checkpoint:  # noqa: ANN401 - any field
    given: dict[str, Any] = {
        "node": N0,
        "digest": "d",
        "schema": "s",
        "saved": Saved(state, version=7, steps=35),
        "momentum": vector(0.5, 0.25),
        "updates": 9,
    }
    return Checkpoint(**given | changes)


def read(folder: Path, algorithm: Algorithm[Any], **changes: str) -> Checkpoint | None:
    wanted = {"digest": "d", "schema": "s"} | changes
    return read_checkpoint(folder, N0, algorithm=algorithm, **wanted)


def test_a_checkpoint_comes_back_as_it_was(tmp_path: Path) -> None:
    state = Rich(
        x=vector(1.0, -2.0),
        accounts={NodeId("n1"): Account(np.array([2**32 - 1, 3], np.uint32), 4)},
        seen=(1, 2),
        name=None,
        done=True,
        rate=0.1,
    )
    size = write_checkpoint(tmp_path / "deep", checkpoint(state))
    assert checkpoint_file(tmp_path / "deep", N0).stat().st_size == size
    again = read(tmp_path / "deep", Banker())
    assert again is not None
    found = again.saved.state
    assert isinstance(found, Rich)
    assert found.x.tolist() == [1.0, -2.0]
    assert not found.x.flags.writeable
    account = found.accounts[NodeId("n1")]
    assert isinstance(account, Account)
    assert account.sums.dtype == np.uint32
    assert (account.sums.tolist(), account.number) == ([2**32 - 1, 3], 4)
    assert (found.seen, found.name, found.done, found.rate) == ((1, 2), None, True, 0.1)
    assert (again.saved.version, again.saved.steps, again.updates) == (7, 35, 9)
    assert again.momentum is not None
    assert again.momentum.tolist() == [0.5, 0.25]


def test_a_plain_optimizer_leaves_nothing(tmp_path: Path) -> None:
    write_checkpoint(tmp_path, checkpoint(vector(1.0), momentum=None))
    again = read(tmp_path, Banker())
    assert again is not None
    assert again.momentum is None


@pytest.mark.parametrize(
    ("rule", "state"),
    [(PullMix(), MixState(vector(3.0))), (DPSGD(), RoundState(vector(3.0)))],
)
def test_the_states_of_gossip_algorithms_can_be_kept(
    rule: Algorithm[Any], state: MixState | RoundState, tmp_path: Path
) -> None:
    write_checkpoint(tmp_path, checkpoint(rule.resumed(state)))
    again = read(tmp_path, rule)
    assert again is not None
    assert again.saved.state == state


@pytest.mark.parametrize("kind", STARS)
def test_the_states_of_a_stars_server_and_client_can_be_kept(kind: str, tmp_path: Path) -> None:
    handed = star.message(star.SERVER, 0, vector(0.0), kind="global", extra=vector(0.5))
    client = make_client(kind, {}, server=star.SERVER)
    state = client.advance(
        client.initial(vector(0.0)), star.at_client(0), [star.seen(star.SERVER, handed)]
    ).state
    done = client.finish(state, star.at_client(1), [], vector(1.0))
    said = star.message(star.CLIENTS[0], 2, vector(1.0), extra=vector(2.0), words=(1, 2))
    server = make_server(kind, {}, clients=star.CLIENTS, seed=0)
    heard = server.hear(server.initial(vector(0.0)), star.at_server(0), said, usable=True)
    rules = ((client, client.initial(vector(0.0))), (client, done.state), (server, heard.state))
    for rule, before in rules:
        kept = rule.resumed(before)
        write_checkpoint(tmp_path, checkpoint(kept))
        again = read(tmp_path, rule)
        assert again is not None
        assert repr(again.saved.state) == repr(kept)


def test_without_a_file_there_is_nothing_to_go_on_from(tmp_path: Path) -> None:
    assert read(tmp_path, Banker()) is None


@pytest.mark.parametrize(
    ("changes", "word"),
    [({"digest": "other"}, "experiment"), ({"schema": "other"}, "model")],
)
def test_what_belongs_to_something_else_is_refused(
    changes: dict[str, str], word: str, tmp_path: Path
) -> None:
    write_checkpoint(tmp_path, checkpoint(vector(1.0)))
    with pytest.raises(DataError, match=f"n0.checkpoint: is of the {word} "):
        read(tmp_path, Banker(), **changes)


def test_another_algorithms_state_is_refused(tmp_path: Path) -> None:
    write_checkpoint(tmp_path, checkpoint(MixState(vector(1.0))))
    with pytest.raises(DataError, match="is no checkpoint that this algorithm can go on from"):
        read(tmp_path, DPSGD())


@pytest.mark.parametrize("length", [0, 7, 40, -1])
def test_a_damaged_file_is_told_by_name(length: int, tmp_path: Path) -> None:
    write_checkpoint(tmp_path, checkpoint(vector(1.0)))
    file = checkpoint_file(tmp_path, N0)
    file.write_bytes(file.read_bytes()[:length])
    with pytest.raises(DataError, match=r"n0\.checkpoint: is no checkpoint"):
        read(tmp_path, Banker())


def test_a_file_of_a_later_format_is_refused(tmp_path: Path) -> None:
    write_checkpoint(tmp_path, checkpoint(vector(1.0)))
    file = checkpoint_file(tmp_path, N0)
    file.write_bytes(file.read_bytes().replace(b'\\"format\\": 1', b'\\"format\\": 9'))
    with pytest.raises(DataError, match="its format is 9"):
        read(tmp_path, Banker())


def test_a_state_that_no_file_can_hold_is_a_programmers_error(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="cannot hold a set"):
        write_checkpoint(tmp_path, checkpoint({1, 2}))


def test_an_unreadable_file_is_told_by_name(tmp_path: Path) -> None:
    checkpoint_file(tmp_path, N0).mkdir()
    with pytest.raises(DataError, match="cannot be read"):
        read(tmp_path, Banker())


def test_a_disk_that_refuses_leaves_the_old_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_checkpoint(tmp_path, checkpoint(vector(1.0)))

    def refuse(_handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(OSError, match="No space"):
        write_checkpoint(tmp_path, checkpoint(vector(2.0)))
    assert [file.name for file in tmp_path.iterdir()] == ["n0.checkpoint"]
    again = read(tmp_path, Banker())
    assert again is not None
    assert again.saved.state == vector(1.0)


WRITER = """
import sys
from pathlib import Path
import numpy as np
from p2pfl.messages import Saved
from p2pfl.results.checkpoint import Checkpoint, write_checkpoint
for k in range(10**9):
    state = np.full(200_000, k % 1000, np.float32)
    write_checkpoint(Path(sys.argv[1]), Checkpoint(node="n0", digest="d", schema="s",
                     saved=Saved(state, k, k), momentum=None, updates=k))
    if k == 0:
        print("ready", flush=True)
"""


def test_a_process_killed_at_any_moment_leaves_a_whole_checkpoint(tmp_path: Path) -> None:
    for i in range(6):
        command = [sys.executable, "-c", WRITER, str(tmp_path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as writer:
            assert writer.stdout is not None
            assert writer.stdout.readline() == b"ready\n"
            time.sleep(0.05 + 0.0137 * i)
            writer.send_signal(signal.SIGKILL)
        again = read(tmp_path, Banker())
        assert again is not None
        assert (again.saved.state == again.saved.version % 1000).all()
