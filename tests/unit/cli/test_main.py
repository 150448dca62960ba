"""The command `p2pfl` itself: help at once, one line for a user's error, a traceback for ours."""

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import p2pfl.cli
from p2pfl.cli.main import COMMANDS, main, overview

PROBE = """
import argparse
from p2pfl.errors import *

def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--code", type=int, default=0)

def run(arguments: argparse.Namespace) -> int:
    {body}
    return arguments.code
"""

Install = Callable[[str], None]


@pytest.fixture
def probe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Installs a command `probe` whose body is the given line."""
    monkeypatch.setattr("p2pfl.cli.main.COMMANDS", {"probe": "probe something"})
    monkeypatch.setattr(p2pfl.cli, "__path__", [str(tmp_path)])

    def install(body: str) -> None:
        (tmp_path / "probe.py").write_text(PROBE.format(body=body), encoding="utf-8")

    yield install
    sys.modules.pop("p2pfl.cli.probe", None)


@pytest.mark.parametrize("words", [[], ["--help"], ["-h"], ["help"]])
def test_the_overview_says_what_to_try_first(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 0
    shown = capsys.readouterr()
    assert "p2pfl simulate examples/digits.toml" in shown.out
    assert shown.err == ""


def test_the_overview_fits_a_terminal() -> None:
    assert max(map(len, overview().splitlines())) <= 100


def test_the_overview_lists_the_commands_that_are_here(probe: Install) -> None:
    assert "probe something" not in overview()
    probe("pass")
    assert "  probe  probe something" in overview()


def test_every_command_has_a_line_of_help() -> None:
    assert all(what and "\n" not in what for what in COMMANDS.values())


def test_the_version_is_that_of_the_distribution(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("p2pfl 0.")


def test_a_command_gets_its_arguments_and_gives_the_exit_code(probe: Install) -> None:
    probe("pass")
    assert main(["probe"]) == 0
    assert main(["probe", "--code", "7"]) == 7


def test_a_command_explains_itself(probe: Install, capsys: pytest.CaptureFixture[str]) -> None:
    probe("pass")
    with pytest.raises(SystemExit, match="0"):
        main(["probe", "--help"])
    shown = capsys.readouterr().out
    assert "usage: p2pfl probe" in shown
    assert "Probe something." in shown


def test_a_misspelt_command_is_told_with_the_one_that_was_meant(
    probe: Install, capsys: pytest.CaptureFixture[str]
) -> None:
    probe("pass")
    assert main(["prob"]) == 2
    assert "there is no command 'prob'; did you mean probe?" in capsys.readouterr().err


def test_a_command_that_is_not_installed_is_told(
    probe: Install, capsys: pytest.CaptureFixture[str]
) -> None:
    assert probe is not None
    assert main(["probe"]) == 2
    assert "there is no command 'probe' (p2pfl --help lists them)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code"),
    [("ConfigError", 2), ("DataError", 2), ("TransportError", 3), ("RefusedError", 4)],
)
def test_an_error_that_is_not_ours_is_one_line_and_the_code_says_whose_it_is(
    probe: Install, capsys: pytest.CaptureFixture[str], error: str, code: int
) -> None:
    probe(f"raise {error}('this is wrong;\\n  do that')")
    assert main(["probe"]) == code
    shown = capsys.readouterr()
    assert shown.err == "p2pfl: this is wrong; do that\n"
    assert shown.out == ""


@pytest.mark.parametrize("error", ["ProtocolError", "ValueError", "AssertionError"])
def test_our_own_error_crashes_loudly(probe: Install, error: str) -> None:
    probe(f"raise {error}('ours')")
    with pytest.raises(Exception, match="ours"):
        main(["probe"])


def test_an_interrupt_leaves_with_130(probe: Install, capsys: pytest.CaptureFixture[str]) -> None:
    probe("raise KeyboardInterrupt")
    assert main(["probe"]) == 130
    assert capsys.readouterr().err == "p2pfl: interrupted\n"


def test_a_crash_of_a_node_leaves_with_1_and_its_traceback(
    probe: Install, capsys: pytest.CaptureFixture[str]
) -> None:
    probe("raise CrashError('node n1: ZeroDivisionError: x', 'Traceback ...\\n  in f\\n')")
    assert main(["probe"]) == 1
    shown = capsys.readouterr().err
    assert shown == "Traceback ...\n  in f\np2pfl: node n1: ZeroDivisionError: x\n"


def test_sigterm_leaves_with_143_in_the_order_of_ctrl_c(
    probe: Install, capsys: pytest.CaptureFixture[str]
) -> None:
    before = signal.getsignal(signal.SIGTERM)
    probe("import os, signal; os.kill(os.getpid(), signal.SIGTERM)")
    assert main(["probe"]) == 143
    assert capsys.readouterr().err == "p2pfl: told to stop by SIGTERM\n"
    assert signal.getsignal(signal.SIGTERM) is before


def test_sigterm_cancels_an_event_loop_and_lets_it_take_its_leave(
    probe: Install, capsys: pytest.CaptureFixture[str]
) -> None:
    probe(
        "import asyncio, os, signal\n"
        "    async def live():\n"
        "        asyncio.get_running_loop().call_later(0.01, os.kill, os.getpid(), 15)\n"
        "        try:\n"
        "            await asyncio.sleep(30)\n"
        "        finally:\n"
        "            await asyncio.sleep(0.01)\n"
        "            print('left')\n"
        "    asyncio.run(live())"
    )
    assert main(["probe"]) == 143
    assert capsys.readouterr().out == "left\n"


def test_sigterm_reaches_a_command_that_ignores_ctrl_c(probe: Install) -> None:
    """As commands in the background of a script do."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        probe("import os, signal, time; os.kill(os.getpid(), signal.SIGTERM); time.sleep(30)")
        assert main(["probe"]) == 143
    finally:
        signal.signal(signal.SIGINT, before)


def test_the_module_runs_like_the_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "p2pfl", "nonsense"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr.startswith("p2pfl: there is no command 'nonsense'")
