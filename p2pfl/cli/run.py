"""`p2pfl run`: an experiment for real, a process per node on this machine, over an MQTT broker."""

import argparse
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from p2pfl.cli.arguments import (
    add_broker_arguments,
    add_engine_argument,
    add_experiment_arguments,
    add_folder_argument,
    check_out,
    password_of,
    read_experiment,
)
from p2pfl.cli.shown import summary_lines
from p2pfl.cli.watched import run_watcher, tell_result
from p2pfl.exit_codes import ExitCode

if TYPE_CHECKING:
    from p2pfl.experiment import Experiment
    from p2pfl.results.record import RunResult
    from p2pfl.runtime.board import Board
    from p2pfl.runtime.processes import NodeProcesses


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What to run, over which broker, and where to put the results."""
    add_experiment_arguments(parser)
    add_folder_argument(parser)
    add_broker_arguments(parser)
    add_engine_argument(parser)
    parser.add_argument(
        "--record",
        action="store_true",
        help="write down each node's life, for `p2pfl simulate --replay`",
    )


def run(arguments: argparse.Namespace) -> int:
    """Run it to its end. Raises ConfigError, DataError, TransportError."""
    return perform(read_experiment(arguments), arguments)


def perform(
    experiment: "Experiment",
    arguments: argparse.Namespace,
    *,
    earlier: Path | None = None,
    processes: "NodeProcesses | None" = None,
    annotate: "Callable[[Board], None] | None" = None,
) -> int:
    """Run an experiment to its end, from the checkpoints in `earlier` if that is given.

    `processes`: where the nodes live, if not on this machine; `annotate` then tells the board more.
    """
    from p2pfl.results.folder import CHECKPOINTS, new_run_folder, write_experiment
    from p2pfl.results.history import RECORD
    from p2pfl.runtime.whole_run import run_experiment

    # What is kept must lie where it stays: a run that is broken off is what one wants to look at.
    check_out(arguments.out)
    keeps = earlier is not None or experiment.config.checkpoint.every_s is not None
    name = experiment.config.name
    folder = new_run_folder(arguments.out, name) if arguments.record or keeps else None
    if folder is not None:
        write_experiment(experiment.config, folder)
    if folder is not None and earlier is not None:
        shutil.copytree(earlier, folder / CHECKPOINTS)

    def written(result: "RunResult") -> None:
        _write(result, folder or new_run_folder(arguments.out, result.name))

    with _tidied(folder), run_watcher() as watcher:

        def watch(board: "Board") -> None:
            if annotate is not None:
                annotate(board)
            watcher(board)

        result = run_experiment(
            experiment,
            broker_url=arguments.broker,
            engine=arguments.engine,
            password=password_of(arguments),
            ca_file=arguments.ca_file,
            watcher=watch,
            record=folder / RECORD if folder is not None and arguments.record else None,
            checkpoints=folder / CHECKPOINTS if folder is not None and keeps else None,
            broken_off=written,
            processes=processes,
        )
    written(result)
    failed = any(node.outcome == "failed" for node in result.nodes)
    return ExitCode.PARTLY_FAILED if failed else ExitCode.DONE


def _write(result: "RunResult", folder: Path) -> None:
    """The run's folder, and what it came to on the screen."""
    from p2pfl.report.page import write_report
    from p2pfl.results.folder import REPORT, write_run

    write_run(result, folder)
    report = write_report([result], folder / REPORT)
    text = "\n".join([*summary_lines(result), f"report      {report}"])
    tell_result(result, text, folder=folder, report=report)


@contextmanager
def _tidied(folder: Path | None) -> Iterator[None]:
    """A run that could not even start leaves no folder with nothing in it but its experiment."""
    from p2pfl.results.folder import EXPERIMENT

    try:
        yield
    except BaseException:
        if folder is not None and {file.name for file in folder.iterdir()} <= {EXPERIMENT}:
            with suppress(OSError):
                (folder / EXPERIMENT).unlink(missing_ok=True)
                folder.rmdir()
        raise
