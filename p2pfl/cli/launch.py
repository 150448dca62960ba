"""`p2pfl launch`: an experiment on several machines that are reached by SSH, shown here."""

import argparse
import secrets
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from p2pfl.cli import run as real_run
from p2pfl.cli.arguments import (
    add_broker_arguments,
    add_engine_argument,
    add_experiment_arguments,
    add_folder_argument,
    password_of,
    read_experiment,
)
from p2pfl.cli.say import say
from p2pfl.exit_codes import ExitCode

if TYPE_CHECKING:
    from p2pfl.config.hosts import HostsConfig
    from p2pfl.experiment import Experiment
    from p2pfl.launch.own_broker import OwnBroker


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What to run, on which hosts, over which broker, and where to put the results."""
    add_experiment_arguments(parser)
    parser.add_argument(
        "--hosts", type=Path, required=True, metavar="HOSTS", help="the machines, a .toml file"
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="only print what would be done on which host"
    )
    add_folder_argument(parser)
    add_broker_arguments(parser)
    parser.add_argument(
        "--record",
        action="store_true",
        help="write down each node's life, and bring the records here",
    )
    parser.add_argument(
        "--serve",
        metavar="HOST[:PORT]",
        help="start a broker here for this run, with TLS and a password of its own; HOST is how the"
        " hosts reach this machine (port: 8883)",
    )
    add_engine_argument(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run it to its end. Raises ConfigError, DataError, TransportError."""
    from p2pfl.config.hosts import load_hosts

    experiment = read_experiment(arguments)
    hosts = load_hosts(arguments.hosts)
    with TemporaryDirectory(prefix="p2pfl-launch-") as folder:
        broker = _own_broker(arguments, Path(folder)) if arguments.serve else None
        return _launch(experiment, hosts, arguments, broker)


def _own_broker(arguments: argparse.Namespace, folder: Path) -> "OwnBroker":
    """The broker of `--serve`, as if its URL, password and certificate had been given."""
    from p2pfl.errors import ConfigError
    from p2pfl.launch.own_broker import own_broker

    if arguments.broker:
        raise ConfigError("launch: give --broker or --serve, not both")
    own = own_broker(arguments.serve, folder, engine=arguments.engine or "nats")
    password = folder / "password"
    password.touch(mode=0o600)
    password.write_text(own.password)
    arguments.broker, arguments.ca_file = own.url, str(own.ca_file)
    arguments.password_file = password
    return own


def _launch(
    experiment: "Experiment",
    hosts: "HostsConfig",
    arguments: argparse.Namespace,
    own: "OwnBroker | None",
) -> int:
    from p2pfl.cli.main import version
    from p2pfl.errors import ConfigError
    from p2pfl.launch.fleet import Fleet
    from p2pfl.launch.parcel import parcel
    from p2pfl.runtime.host_words import Question

    broker = experiment.config.broker
    url = arguments.broker or broker.url
    if not url:
        raise ConfigError(
            "launch: which broker? all hosts must reach it: give --broker URL, or broker.url in the"
            " file, or let this machine serve one: --serve HOST, by the name that the hosts know"
        )
    files = parcel(experiment, ca_file=arguments.ca_file or broker.ca_file or None)
    run_name = f"{experiment.config.name}-{datetime.now().astimezone():%Y%m%d-%H%M%S}"
    run_name += f"-{secrets.token_hex(2)}"
    if arguments.dry_run:
        _show(experiment, hosts, tuple(files), run_name)
        return ExitCode.DONE
    fleet = Fleet(
        experiment,
        hosts,
        files,
        question=Question(url=url, nodes=(), password=password_of(arguments)),
        run=run_name,
        version=version(),
        tell=lambda sentence: say("host", sentence, message=sentence),
        broker=None if own is None else own.broker,
    )
    try:
        return real_run.perform(experiment, arguments, processes=fleet, annotate=fleet.annotate)
    finally:
        for sentence in fleet.afterwards:
            text = f"p2pfl: {sentence}"
            say("host", text, level="warning", stream="stderr", message=sentence)


def _show(
    experiment: "Experiment", hosts: "HostsConfig", files: tuple[str, ...], run_name: str
) -> None:
    from p2pfl.launch.assignment import assign
    from p2pfl.launch.commands import shown

    for name, nodes in assign(hosts, tuple(experiment.places)).items():
        host = hosts.hosts[name]
        for line in shown(name, host, nodes, files, f"{host.folder}/{run_name}-{name}"):
            print(line)
