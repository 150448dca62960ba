"""`p2pfl resume`: a real run that broke off, or ended too early, goes on from its checkpoints."""

import argparse
from pathlib import Path

from p2pfl.cli import run as real_run
from p2pfl.cli.arguments import (
    add_broker_arguments,
    add_engine_argument,
    add_folder_argument,
)
from p2pfl.errors import ConfigError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which run goes on, and where its results go."""
    parser.add_argument("run_folder", type=Path, metavar="RUN", help="folder of the earlier run")
    add_folder_argument(parser)
    add_broker_arguments(parser)
    add_engine_argument(parser)
    parser.add_argument(
        "--record",
        action="store_true",
        help="write down each node's life, for `p2pfl simulate --replay`",
    )


def run(arguments: argparse.Namespace) -> int:
    """Run it on in a new folder; the earlier one stays as it is.

    A limit in gradient steps counts those done before; a limit in seconds begins anew.

    Raises:
        ConfigError: there is no run, or it kept no checkpoints.
        DataError: a checkpoint is damaged.
        TransportError: the broker cannot be reached.
    """
    from p2pfl.experiment import load_experiment
    from p2pfl.results.folder import CHECKPOINTS, EXPERIMENT

    folder: Path = arguments.run_folder
    if not (folder / EXPERIMENT).is_file():
        raise ConfigError(f"{folder}: is no folder of a run: it has no {EXPERIMENT}")
    earlier = folder / CHECKPOINTS
    if not earlier.is_dir():
        raise ConfigError(
            f"{folder}: has no checkpoints; set [checkpoint] every_s in an experiment to keep some"
        )
    return real_run.perform(load_experiment(folder / EXPERIMENT), arguments, earlier=earlier)
