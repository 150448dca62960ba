"""What `up` and `join` share: this machine's data, its place, and what they say."""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from p2pfl.cli.arguments import add_health_arguments
from p2pfl.cli.say import finite, say

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from p2pfl.config.schema import RuntimeConfig
    from p2pfl.experiment import Experiment
    from p2pfl.runtime.health import Health
    from p2pfl.runtime.life import NodeOutcome
    from p2pfl.types import NodeId


_PORT_MAX: Final = 65535


def add_party_arguments(parser: argparse.ArgumentParser, folder: Path) -> None:
    """Adds --data, --part, --id and --folder."""
    parser.add_argument(
        "--data",
        metavar="WHERE",
        help="this machine's data: an .npz file, the folder of a known data set, its name, or"
        " module:function; default: as the experiment says",
    )
    parser.add_argument(
        "--part", metavar="K/N", help="keep only the K-th of N equal parts of it, as in 1/2"
    )
    parser.add_argument(
        "--id", metavar="NODE", help="this machine's place in the graph; default: the first free"
    )
    parser.add_argument(
        "--folder",
        type=Path,
        default=folder,
        metavar="DIR",
        help="keep certificates and checkpoints there (%(default)s)",
    )
    parser.add_argument(
        "--device",
        metavar="NAME",
        help="where this machine trains: cpu, cuda, cuda:1 or auto; default: as the run says",
    )
    parser.add_argument(
        "--threads",
        type=_threads,
        metavar="N",
        help="threads of this node, or auto: the cores divided by this machine's nodes; default: as"
        " the run says",
    )
    add_health_arguments(parser)


def _threads(word: str) -> int | Literal["auto"]:
    if word == "auto":
        return "auto"
    if not word.isdecimal() or not int(word):
        raise argparse.ArgumentTypeError(f"{word!r}: allowed: a number from 1 on, or auto")
    return int(word)


def runtime_of(arguments: argparse.Namespace, said: "RuntimeConfig") -> "RuntimeConfig":
    """How this machine computes: as the command line says, else as the run does."""
    return replace(
        said,
        device=arguments.device or said.device,
        threads=arguments.threads or said.threads,
    )


def health_of(
    arguments: argparse.Namespace, experiment: "Experiment | None" = None
) -> "AbstractAsyncContextManager[Health | None]":
    """The node's health, served where the command line says, else the experiment, else nowhere."""
    from p2pfl.config.schema import HealthConfig
    from p2pfl.errors import ConfigError
    from p2pfl.runtime.health import health_port
    from p2pfl.runtime.health_server import served_health

    port, host = arguments.health_port, arguments.health_host
    config = HealthConfig() if experiment is None else experiment.config.health
    if port is None and experiment is not None:
        port = health_port(experiment, arguments.id or experiment.learners[0])
    if port is None and host is not None:
        raise ConfigError("--health-host needs --health-port PORT too")
    if port is not None and not 0 <= port <= _PORT_MAX:
        raise ConfigError(f"--health-port {port}: allowed: 0 to {_PORT_MAX}")
    return served_health(port, host or config.host, told=_tell_where)


def _tell_where(place: str) -> None:
    text = f"health at {place}/healthz, metrics at {place}/metrics"
    say("health", text, health=f"{place}/healthz", metrics=f"{place}/metrics")


def tell_outcome(node: "NodeId | str", outcome: "NodeOutcome") -> None:
    """What a node's life came to, in one line."""
    score, totals = outcome.score, outcome.totals
    quality = ""
    if score is not None:
        quality = f", loss {score.loss:.4f}"
        if score.accuracy is not None:
            quality += f", accuracy {score.accuracy:.3f}"
    say(
        "outcome",
        f"{node} {totals.outcome} after {outcome.duration_s:.1f} s: "
        f"{totals.steps} steps{quality}, staleness at most {totals.staleness_max:.2f}",
        node=str(node),
        outcome=totals.outcome,
        reason=outcome.reason,
        duration_s=round(outcome.duration_s, 3),
        steps=totals.steps,
        loss=None if score is None else finite(score.loss),
        accuracy=None if score is None else score.accuracy,
        staleness_max=finite(totals.staleness_max),
    )
