"""`p2pfl node`: one node of an experiment, on this machine, at any broker."""



import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from p2pfl.experiment import Experiment
    from p2pfl.runtime.rows import Report
    from p2pfl.types import Vector

PASSWORD_VARIABLE: Final = "P2PFL_PASSWORD"  # noqa: S105 - a variable's name


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which node, of what, where."""
    parser.add_argument("file", metavar="FILE", help="the experiment (.toml)")
    parser.add_argument("--id", required=True, metavar="NODE", help="which node of the graph")
    parser.add_argument("--run", metavar="RUN", help="join this run; default: by the name")
    parser.add_argument("--out", metavar="FILE", help="save the served model here (.npy)")
    add_broker_arguments(parser)
    add_experiment_arguments(parser)


def add_broker_arguments(parser: argparse.ArgumentParser) -> None:
    """Where the broker is and how to be let in."""
    parser.add_argument(
        "--broker",
        metavar="URL",
        help="mqtt://[user@]host[:port] or mqtts://...; default: the file's",
    )
    parser.add_argument(
        "--password-env",
        metavar="VAR",
        default=PASSWORD_VARIABLE,
        help="the environment variable that holds the broker's password (%(default)s)",
    )
    parser.add_argument("--ca-file", metavar="FILE", help="whom to trust for mqtts (PEM)")


def add_experiment_arguments(parser: argparse.ArgumentParser) -> None:
    """What may be changed of the file's experiment."""
    parser.add_argument(
        "--set",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        dest="settings",
        help='change one value, as in "stop.time_s=30"; may be repeated',
    )
    parser.add_argument("--seed", type=int, metavar="N", help="instead of the file's seed")


def run(arguments: argparse.Namespace) -> int:
    """Live this node's life. Raises ConfigError, DataError, TransportError."""
    import asyncio

    from p2pfl.errors import ConfigError

    # One thread: the same arithmetic as the simulator, and room for other nodes.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    experiment = load(arguments)
    url = arguments.broker or experiment.config.broker.url
    if not url:
        raise ConfigError("node: which broker? give --broker URL, or broker.url in the file")
    from p2pfl.runtime.alone import live_alone

    outcome = asyncio.run(
        live_alone(
            experiment,
            arguments.id,
            url=url,
            run=arguments.run,
            password=password_of(arguments),
            ca_file=arguments.ca_file or experiment.config.broker.ca_file or None,
            tell=_tell,
        )
    )
    score = outcome.score
    quality = ""
    if score is not None:
        quality = f", loss {score.loss:.4f}"
        if score.accuracy is not None:
            quality += f", accuracy {score.accuracy:.3f}"
    print(
        f"{arguments.id} {outcome.totals.outcome} after {outcome.duration_s:.1f} s: "
        f"{outcome.totals.steps} steps{quality}, "
        f"staleness at most {outcome.totals.staleness_max:.2f}"
    )
    if arguments.out:
        _save(Path(arguments.out), outcome.served)
    return 0


def load(arguments: argparse.Namespace) -> "Experiment":
    """The experiment of the file, with what the command line changes. Raises ConfigError."""
    from p2pfl.config.load import load_config, parse_setting, with_values
    from p2pfl.experiment import Experiment

    file = Path(arguments.file)
    config = load_config(file)
    values = dict(parse_setting(text) for text in arguments.settings)
    if arguments.seed is not None:
        values["seed"] = arguments.seed
    if values:
        config = with_values(config, values, source=str(file))
    return Experiment(config, folder=file.resolve().parent)


def password_of(arguments: argparse.Namespace) -> str | None:
    """The broker's password, from the environment. Raises ConfigError if the named one is unset."""
    from p2pfl.errors import ConfigError

    variable = arguments.password_env
    if variable != PASSWORD_VARIABLE and variable not in os.environ:
        raise ConfigError(f"--password-env {variable}: there is no such environment variable")
    return os.environ.get(variable)


def _tell(report: "Report") -> None:
    sample = report.sample
    accuracy = "" if sample.accuracy is None else f"  accuracy {sample.accuracy:.3f}"
    print(
        f"{sample.at_s:7.1f} s  {report.phase}  version {sample.version}{accuracy}"
        f"  staleness {sample.staleness_max:.2f}",
        flush=True,
    )


def _save(file: Path, vector: "Vector") -> None:
    import numpy as np

    from p2pfl.errors import ConfigError

    try:
        with file.open("wb") as stream:
            np.save(stream, vector, allow_pickle=False)
    except OSError as error:
        raise ConfigError(f"--out {file}: cannot be written: {error.strerror}") from None
