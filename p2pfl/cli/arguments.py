"""What several commands ask for: the experiment, changes to it, and the broker."""

import argparse
import os
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from p2pfl.experiment import Experiment

RUNS: Final = Path("runs")
ENGINES: Final = ("nats", "amqtt", "mosquitto")
PASSWORD_VARIABLE: Final = "P2PFL_PASSWORD"  # noqa: S105 - a variable's name


def add_experiment_arguments(parser: argparse.ArgumentParser, *, needs_file: bool = True) -> None:
    """Adds FILE, --set and --seed."""
    parser.add_argument(
        "file",
        type=Path,
        metavar="FILE",
        nargs=None if needs_file else "?",
        help="the experiment, a .toml file",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="change one value of the file, as in network.loss=0.1 (may be repeated)",
    )
    parser.add_argument("--seed", type=int, metavar="N", help="instead of the file's seed")


def add_folder_argument(parser: argparse.ArgumentParser) -> None:
    """Adds --out."""
    parser.add_argument(
        "--out", type=Path, default=RUNS, metavar="DIR", help="where run folders go (default: runs)"
    )


def check_out(folder: Path) -> None:
    """Refuse at the start what would lose the results at the end; leaves nothing behind.

    Raises:
        ConfigError: the folder cannot be made, or nothing can be written into it.
    """
    from p2pfl.errors import ConfigError

    made = [each for each in (folder, *folder.parents) if not each.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ConfigError(
            f"--out {folder}: cannot be written: {error.strerror}; give another folder"
        ) from None
    with suppress(OSError):  # Another command may have begun to use it.
        for each in made:
            each.rmdir()


def add_broker_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds --broker, --password-env, --password-file and --ca-file."""
    parser.add_argument(
        "--broker",
        metavar="URL",
        help="mqtt://[user@]host[:port] or mqtts://..., several of one cluster with commas between;"
        " default: the file's",
    )
    parser.add_argument(
        "--password-env",
        metavar="VAR",
        default=PASSWORD_VARIABLE,
        help="the environment variable that holds the broker's password (%(default)s)",
    )
    parser.add_argument(
        "--password-file", type=Path, metavar="FILE", help="instead, the file that holds it"
    )
    parser.add_argument("--ca-file", metavar="FILE", help="whom to trust for mqtts (PEM)")


def add_health_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds --health-port and --health-host."""
    parser.add_argument(
        "--health-port",
        type=int,
        metavar="PORT",
        help="answer there how the node is: /healthz, and /metrics for Prometheus (0: any free"
        " port; default: as the experiment says, else nowhere)",
    )
    parser.add_argument(
        "--health-host",
        metavar="ADDRESS",
        help="listen there (default: as the experiment says, else this machine alone, 127.0.0.1)",
    )


def add_engine_argument(parser: argparse.ArgumentParser) -> None:
    """Adds --engine."""
    parser.add_argument(
        "--engine", choices=ENGINES, help="the embedded broker, where no URL is given"
    )


def read_experiment(arguments: argparse.Namespace) -> "Experiment":
    """The experiment of the file, with what the command line changes.

    Raises:
        ConfigError: the file or a setting is wrong.
    """
    from p2pfl.config.load import parse_setting, with_values
    from p2pfl.experiment import Experiment, load_experiment

    file: Path = arguments.file
    experiment = load_experiment(file)
    values = dict(parse_setting(text) for text in arguments.set)
    if arguments.seed is not None:
        values["seed"] = arguments.seed
    if not values:
        return experiment
    config = with_values(experiment.config, values, source=f"{file} with --set")
    return Experiment(config, folder=experiment.folder)


def password_of(arguments: argparse.Namespace) -> str | None:
    """The broker's password, from its file or the environment.

    Raises:
        ConfigError: the file cannot be read or is empty, or the named variable is unset.
    """
    from p2pfl.errors import ConfigError

    file: Path | None = arguments.password_file
    if file is not None:
        try:
            password = file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"--password-file {file}: cannot be read: {error}") from None
        if not password:
            raise ConfigError(f"--password-file {file}: is empty")
        return password
    variable = arguments.password_env
    if variable != PASSWORD_VARIABLE and variable not in os.environ:
        raise ConfigError(f"--password-env {variable}: there is no such environment variable")
    return os.environ.get(variable)
