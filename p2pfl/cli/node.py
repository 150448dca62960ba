"""`p2pfl node`: one node of an experiment, on this machine, at any broker."""

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from p2pfl.cli.arguments import (
    add_broker_arguments,
    add_experiment_arguments,
    add_health_arguments,
    password_of,
    read_experiment,
)
from p2pfl.cli.parties import health_of, tell_outcome
from p2pfl.cli.watched import tell_report
from p2pfl.runtime.company import START_WAIT_S

if TYPE_CHECKING:
    from p2pfl.experiment import Experiment
    from p2pfl.runtime.life import NodeOutcome
    from p2pfl.types import Vector


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which node, of what, where."""
    add_experiment_arguments(parser)
    parser.add_argument("--id", required=True, metavar="NODE", help="which node of the graph")
    parser.add_argument("--run", metavar="RUN", help="join this run; default: by the name")
    parser.add_argument(
        "--create-run",
        action="store_true",
        help="describe the run of --run to the others, if nobody has yet",
    )
    parser.add_argument(
        "--wait-for-run",
        type=float,
        default=0.0,
        metavar="SECONDS",
        help="wait so long for the run of --run to be described",
    )
    parser.add_argument(
        "--wait-for-neighbours",
        type=float,
        default=START_WAIT_S,
        metavar="SECONDS",
        help="start after so long though not all neighbours are there (%(default)s)",
    )
    parser.add_argument("--out", metavar="FILE", help="save the served model here (.npy)")
    parser.add_argument(
        "--record",
        type=Path,
        metavar="DIR",
        help="write down this node's life there; the records of all nodes, gathered in one folder,"
        " can be repeated by `p2pfl simulate --replay`",
    )
    parser.add_argument(
        "--checkpoints",
        type=Path,
        metavar="DIR",
        help="keep what this node is there (each checkpoint.every_s, else each 30 s, and when it"
        " stops), and go on from it if it is there already",
    )
    add_health_arguments(parser)
    add_broker_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Live this node's life. Raises ConfigError, DataError, TransportError."""
    import asyncio

    from p2pfl.errors import ConfigError

    # One thread: the same arithmetic as the simulator, and room for other nodes.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    experiment = read_experiment(arguments)
    url = arguments.broker or experiment.config.broker.url
    if not url:
        raise ConfigError("node: which broker? give --broker URL, or broker.url in the file")
    if arguments.run is None and (arguments.create_run or arguments.wait_for_run):
        raise ConfigError("node: --create-run and --wait-for-run say something of --run RUN")
    if arguments.out:
        _check_writable(Path(arguments.out))
    outcome = asyncio.run(_live(arguments, experiment, url))
    tell_outcome(arguments.id, outcome)
    if arguments.out:
        _save(Path(arguments.out), outcome.served)
    return 0


async def _live(arguments: argparse.Namespace, experiment: "Experiment", url: str) -> "NodeOutcome":
    from p2pfl.runtime.alone import live_alone
    from p2pfl.runtime.company import Company
    from p2pfl.runtime.memory import keep_freed_memory

    async with health_of(arguments, experiment) as health:
        return await live_alone(
            experiment,
            arguments.id,
            url=url,
            run=arguments.run,
            create_run=arguments.create_run,
            wait_for_run_s=arguments.wait_for_run,
            password=password_of(arguments),
            ca_file=arguments.ca_file or experiment.config.broker.ca_file or None,
            tell=tell_report,
            record=arguments.record,
            checkpoints=arguments.checkpoints,
            company=Company(wait_s=arguments.wait_for_neighbours, joined=keep_freed_memory),
            health=health,
        )


def _check_writable(file: Path) -> None:
    """Refuse at the start what would lose the model at the end. Raises ConfigError."""
    from p2pfl.errors import ConfigError

    try:
        file.open("ab").close()
    except OSError as error:
        raise ConfigError(f"--out {file}: cannot be written: {error.strerror}") from None


def _save(file: Path, vector: "Vector") -> None:
    import numpy as np

    from p2pfl.errors import ConfigError

    try:
        with file.open("wb") as stream:
            np.save(stream, vector, allow_pickle=False)
    except OSError as error:
        raise ConfigError(f"--out {file}: cannot be written: {error.strerror}") from None
