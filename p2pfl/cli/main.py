"""The command `p2pfl`: finds the subcommand, and turns the errors of a user into one line.

A command is a module `p2pfl.cli.<name>` with `add_arguments` and `run`. Only the one that is
called is imported, so that help is there at once.
"""

import argparse
import difflib
import importlib
import importlib.util
import sys
import traceback
from collections.abc import Mapping, Sequence
from typing import Final, Protocol, cast

from p2pfl.cli.say import add_log_format_argument, say, speaks_json, spoken_as, tell
from p2pfl.cli.signals import Stopping, terminable
from p2pfl.cli.streams import lasting_streams
from p2pfl.errors import ConfigError, CrashError, DataError, TransportError
from p2pfl.exit_codes import ExitCode, code_of

COMMANDS: Final[Mapping[str, str]] = {
    "simulate": "run an experiment in virtual time, the same for the same seed",
    "compare": "put an experiment next to FedAvg, D-PSGD, local and centralized training",
    "sweep": "run a grid of values and seeds side by side, resumable; a table and a page",
    "run": "run an experiment for real, one process per node, on this machine",
    "up": "first machine of a run: broker, own node, and one line for the others",
    "join": "take part in a run on another machine, with this machine's data",
    "launch": "run an experiment on several machines, over SSH",
    "resume": "go on with a real run that was broken off, from its checkpoints",
    "deploy": "write files for compose, Kubernetes or systemd: the broker and all nodes",
    "health": "how a node is that answers on a port of this machine",
    "node": "run one node of an experiment, on this machine",
    "broker": "run the embedded MQTT broker alone",
    "topology": "describe a graph: degrees, diameter, spectral gap, picture",
    "predict": "what theory expects of an experiment, next to a short simulation",
    "reproduce": "published and predicted numbers next to measured ones, in a table and curves",
    "report": "make the page with pictures, of one run or of many side by side",
}

LONG_RUNNING: Final = frozenset(
    {"simulate", "compare", "sweep", "run", "up", "join", "launch", "resume", "node", "broker"}
)
"""The commands that tell something while they run: they know --log-format."""

_USAGE: Final = "usage: p2pfl COMMAND [OPTIONS]"

_TRY: Final = """\
Try first:
  p2pfl simulate examples/digits.toml          eight nodes learn digits, in seconds
  p2pfl compare examples/digits.toml           the same next to FedAvg and others
  p2pfl run examples/digits.toml               the same for real, over MQTT

p2pfl COMMAND --help tells more about each."""


class Command(Protocol):
    """What a module of a command offers."""

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the command's own arguments."""
        ...

    def run(self, arguments: argparse.Namespace) -> int:
        """Do it; the exit code."""
        ...


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line; the exit code.

    `p2pfl.exit_codes` has them all. What is not ours leaves with one line on stderr; every other
    exception leaves with its traceback.
    """
    if argv is None:
        with lasting_streams():
            return _main(sys.argv[1:])
    return _main(list(argv))


def _main(words: Sequence[str]) -> int:
    first = words[0] if words else "--help"
    if first in {"-h", "--help", "help"}:
        print(overview())
        return 0
    if first == "--version":
        print(f"p2pfl {version()}")
        return 0
    with terminable() as stopping:
        try:
            return _run(first, words[1:], stopping)
        except KeyboardInterrupt:
            return _stopped(stopping)


def overview() -> str:
    """What `p2pfl --help` shows: the commands of this installation, and what to try first."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {what}" for name, what in COMMANDS.items() if _is_here(name)]
    return "\n".join(
        [
            "p2pfl: learning without a server. Every node trains on its own data and gossips its",
            "model to its neighbours in a graph; nobody waits for the slowest.",
            "",
            _USAGE,
            "",
            *lines,
            "",
            _TRY,
        ]
    )


def version() -> str:
    """The version of the installed distribution."""
    # Reading metadata takes longer than all the rest of `--help`.
    from importlib import metadata

    return metadata.version("p2pfl-gossip")


def _run(name: str, words: Sequence[str], stopping: Stopping) -> int:
    if name not in COMMANDS or not _is_here(name):
        known = [each for each in COMMANDS if _is_here(each)]
        close = difflib.get_close_matches(name, known, n=1)
        hint = f"; did you mean {close[0]}?" if close else ""
        sentence = f"there is no command {name!r}{hint} (p2pfl --help lists them)"
        return _tell(sentence, ExitCode.USER)
    command = cast("Command", importlib.import_module(f"p2pfl.cli.{name}"))
    parser = argparse.ArgumentParser(prog=f"p2pfl {name}", description=_sentence(COMMANDS[name]))
    command.add_arguments(parser)
    if name in LONG_RUNNING:
        add_log_format_argument(parser)
    arguments = parser.parse_args(words)
    with spoken_as(getattr(arguments, "log_format", "text")):
        return _perform(command, arguments, stopping)


def _perform(command: Command, arguments: argparse.Namespace, stopping: Stopping) -> int:
    """Run a command to its end, with one line for what is not ours."""
    try:
        code = command.run(arguments)
    except CrashError as crash:
        if crash.trace and not speaks_json():
            sys.stderr.write(f"{crash.trace.rstrip()}\n")
        return _tell(str(crash), ExitCode.CRASHED, traceback=crash.trace)
    except (ConfigError, DataError, TransportError) as error:
        return _tell(str(error), code_of(error), kind=type(error).__name__)
    except KeyboardInterrupt:
        return _stopped(stopping)
    except Exception as fault:
        if not speaks_json():
            raise
        return _tell(repr(fault), ExitCode.CRASHED, traceback=traceback.format_exc())
    if speaks_json():
        say("ended", "", exit_code=int(code))
    return code


def _stopped(stopping: Stopping) -> int:
    if stopping.terminated:
        return _tell("told to stop by SIGTERM", ExitCode.TERMINATED)
    return _tell("interrupted", ExitCode.INTERRUPTED)


def _is_here(name: str) -> bool:
    return importlib.util.find_spec(f"p2pfl.cli.{name}") is not None


def _sentence(words: str) -> str:
    return f"{words[0].upper()}{words[1:]}."


def _tell(sentence: str, code: ExitCode, **fields: object) -> int:
    """One line, whatever line breaks the error carries; the code."""
    line = " ".join(sentence.split())
    told = {"message": line, "exit_code": int(code), **fields}
    tell("ended", f"p2pfl: {line}", told, level="error", stream="stderr")
    return code
