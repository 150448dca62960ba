"""`p2pfl run`: an experiment for real, a process per node on this machine, over an MQTT broker."""

import argparse
import sys
from typing import Final

from p2pfl.cli.arguments import (
    add_broker_arguments,
    add_engine_argument,
    add_experiment_arguments,
    add_folder_argument,
    password_of,
    read_experiment,
)
from p2pfl.cli.shown import summary_lines

SOME_FAILED: Final = 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What to run, over which broker, and where to put the results."""
    add_experiment_arguments(parser)
    add_folder_argument(parser)
    add_broker_arguments(parser)
    add_engine_argument(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run it to its end. Raises ConfigError, DataError, TransportError."""
    from p2pfl.results.folder import REPORT, new_run_folder, write_run
    from p2pfl.runtime.run import run_experiment
    from p2pfl.runtime.table import LiveTable

    experiment = read_experiment(arguments)
    with LiveTable() as table:
        result = run_experiment(
            experiment,
            broker_url=arguments.broker,
            engine=arguments.engine,
            password=password_of(arguments),
            ca_file=arguments.ca_file,
            watcher=table,
        )
    folder = new_run_folder(arguments.out, result.name)
    write_run(result, folder)
    from p2pfl.report.page import write_report

    report = write_report([result], folder / REPORT)
    sys.stdout.write("\n".join([*summary_lines(result), f"report      {report}"]) + "\n")
    failed = any(node.outcome == "failed" for node in result.nodes)
    return SOME_FAILED if failed else 0
