"""`p2pfl simulate FILE`: one experiment in virtual time, and the folder that it leaves."""

import argparse
import sys
import time
from dataclasses import replace
from typing import Final

from p2pfl.cli.arguments import add_experiment_arguments, add_folder_argument, read_experiment
from p2pfl.cli.shown import progress_shown, summary_lines

TRACE: Final = "trace.jsonl"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds FILE, --set, --seed, --out and --trace."""
    add_experiment_arguments(parser)
    add_folder_argument(parser)
    parser.add_argument("--trace", action="store_true", help=f"write {TRACE}, a line per event")


def run(arguments: argparse.Namespace) -> int:
    """Simulates, writes the run's folder with its report, and returns 0.

    Raises:
        ConfigError: the file or a setting is wrong.
        DataError: the data is missing or torn.
    """
    from p2pfl.results.folder import REPORT, new_run_folder, write_run
    from p2pfl.simulation.simulate import simulate

    experiment = read_experiment(arguments)
    trainer = experiment.make_trainer()
    folder = new_run_folder(arguments.out, experiment.config.name)
    began_s = time.perf_counter()
    with progress_shown() as tell:
        result = simulate(
            experiment,
            trainer=trainer,
            trace_file=folder / TRACE if arguments.trace else None,
            progress=lambda sample: tell(experiment.label, experiment.config.stop.time_s, sample),
        )
    result = replace(result, wall_s=time.perf_counter() - began_s)
    write_run(result, folder, layout=getattr(trainer, "layout", ()))
    from p2pfl.report.page import write_report

    report = write_report([result], folder / REPORT)
    sys.stdout.write("\n".join([*summary_lines(result), f"report      {report}"]) + "\n")
    return 0
