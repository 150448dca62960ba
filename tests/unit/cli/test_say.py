"""What commands tell while they run: text as ever, or one JSON object per line."""

import json
import logging
import math
import warnings
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from support.experiments import quadratic_experiment

from p2pfl.cli.main import COMMANDS, LONG_RUNNING, main
from p2pfl.cli.say import finite, say, spoken_as
from p2pfl.cli.up import _invite
from p2pfl.cli.watched import JsonLines
from p2pfl.config.write import config_to_toml
from p2pfl.runtime.board import FAILED, Board
from p2pfl.transport.invitation import Invitation, new_password
from p2pfl.types import NodeId


def objects(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_text_is_as_it_was_and_goes_where_it_went(capsys: pytest.CaptureFixture[str]) -> None:
    with spoken_as("text"):
        say("joined", "This machine is n0.", node="n0")
        say("note", "note: slow", stream="stderr")
        say("only_json", "")
    assert capsys.readouterr() == ("This machine is n0.\n", "note: slow\n")


def test_an_object_has_time_level_event_node_and_the_events_own_fields(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with spoken_as("json"):
        say("joined", "This machine is n0.", node="n0", run="r-1")
        say("note", "note: slow", level="warning", stream="stderr", message="slow")
    out, err = capsys.readouterr()
    first, second = objects(out)
    assert list(first) == ["time", "level", "event", "node", "run"]
    assert (first["level"], first["event"], first["node"]) == ("info", "joined", "n0")
    at = datetime.fromisoformat(first["time"])
    assert at.utcoffset() is not None
    assert (second["level"], second["message"]) == ("warning", "slow")
    assert "node" not in second
    assert err == ""


def test_what_loggers_and_warnings_say_is_an_object_too(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with spoken_as("json"):
        logging.getLogger("p2pfl.transport").warning("lost broker %s", "b:1")
        try:
            raise ValueError("bad")  # noqa: TRY301 - what a logger is given
        except ValueError:
            logging.getLogger("other").exception("failed")
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.warn("old", UserWarning, stacklevel=1)
    lost, failed, old = objects(capsys.readouterr().out)
    assert (lost["event"], lost["logger"]) == ("log", "p2pfl.transport")
    assert (lost["level"], lost["message"]) == ("warning", "lost broker b:1")
    assert "ValueError: bad" in failed["traceback"]
    assert "old" in old["message"]
    logging.getLogger("p2pfl.transport").info("not told any more")
    assert capsys.readouterr().out == ""


def test_json_has_no_infinity() -> None:
    assert [finite(x) for x in (1.5, None, math.inf, math.nan)] == [1.5, None, None, None]


def test_every_command_that_runs_long_knows_both_formats(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert set(COMMANDS) >= LONG_RUNNING
    for name in LONG_RUNNING:
        with pytest.raises(SystemExit, match="0"):
            main([name, "--help"])
        assert "--log-format {text,json}" in capsys.readouterr().out


@pytest.mark.parametrize("words", [["simulate"], ["compare", "--algorithms", "local"]])
def test_a_simulation_tells_progress_result_and_end(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "small.toml"
    file.write_text(config_to_toml(quadratic_experiment(nodes=4, slow=2, time_s=5.0).config))
    command, *rest = words
    out = ("--out", str(tmp_path / "runs"))
    assert main([command, str(file), *rest, *out, "--log-format", "json"]) == 0
    told = objects(capsys.readouterr().out)
    events = [each["event"] for each in told]
    assert {"progress", "result", "ended"} <= set(events)
    assert events[-1] == "ended"
    assert told[-1]["exit_code"] == 0
    (result,) = (each for each in told if each["event"] == "result")
    assert Path(result["report"]).is_file()


def test_a_sweep_tells_progress_and_its_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "small.toml"
    file.write_text(config_to_toml(quadratic_experiment(nodes=4, slow=2, time_s=2.0).config))
    words = ["sweep", str(file), "--seeds", "2", "--jobs", "1", "--out", str(tmp_path / "runs")]
    assert main([*words, "--log-format", "json"]) == 0
    told = objects(capsys.readouterr().out)
    assert [each["done"] for each in told if each["event"] == "progress"] == [1, 2]
    assert [each["event"] for each in told][-2:] == ["result", "ended"]


def test_an_error_is_an_object_with_its_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", "nowhere.toml", "--log-format", "json"]) == 2
    out, err = capsys.readouterr()
    (ended,) = objects(out)
    assert (ended["event"], ended["level"], ended["exit_code"]) == ("ended", "error", 2)
    assert "nowhere.toml: no such file" in ended["message"]
    assert err == ""


def test_our_own_fault_is_an_object_with_its_traceback(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(arguments: object) -> int:
        raise ZeroDivisionError(repr(arguments))

    monkeypatch.setattr("p2pfl.cli.simulate.run", broken)
    assert main(["simulate", "x.toml", "--log-format", "json"]) == 1
    (ended,) = objects(capsys.readouterr().out)
    assert ended["exit_code"] == 1
    assert "in broken" in ended["traceback"]


def test_a_watched_run_tells_each_note_and_each_traceback_once(
    capsys: pytest.CaptureFixture[str],
) -> None:
    board, watcher = Board(quadratic_experiment(nodes=4, slow=2)), JsonLines()
    board.run = "small-1"
    with spoken_as("json"):
        watcher(board)
        board.lose(NodeId("n1"), 1.0, phase=FAILED, note="n1 failed", trace="Traceback\n  f\n")
        watcher(board)
        watcher(board)
    run, note, crash = objects(capsys.readouterr().out)
    assert (run["event"], run["processes"]) == ("run", 4)
    assert (note["event"], note["message"]) == ("note", "n1 failed")
    assert (crash["node"], crash["traceback"]) == ("n1", "Traceback\n  f\n")


def test_the_line_for_the_others_goes_to_a_private_file_and_not_into_a_log(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    invitation = Invitation(
        host="first.example",
        port=8883,
        run="r-1",
        password=new_password(),
        fingerprint=bytes(32),
    )
    _invite(invitation, tmp_path)
    assert f"p2pfl join {invitation.line}" in capsys.readouterr().out
    with spoken_as("json"):
        _invite(invitation, tmp_path)
    out = capsys.readouterr().out
    (told,) = objects(out)
    assert invitation.token not in out
    file = Path(told["file"])
    assert file.read_text() == f"p2pfl join {invitation.line}\n"
    assert file.stat().st_mode & 0o777 == 0o600
