"""`p2pfl predict FILE`: what theory expects of an experiment, next to a short simulation."""

import argparse
import json
import sys

from p2pfl.cli.arguments import add_experiment_arguments, read_experiment
from p2pfl.errors import ConfigError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The experiment, how long to simulate, and how to show it."""
    add_experiment_arguments(parser)
    parser.add_argument(
        "--seconds",
        type=float,
        metavar="S",
        help="virtual seconds of the short simulation (default: 600 updates of a middling node)",
    )
    parser.add_argument("--format", choices=("table", "json"), default="table")


def run(arguments: argparse.Namespace) -> int:
    """Prints what is expected of consensus, bias, speed and step, and what came; returns 0.

    A row that does not hold is no failure: the file may lie outside of what the law assumes.

    Raises:
        ConfigError: the file or a setting is wrong, or theory cannot be asked about it.
    """
    from p2pfl.reproduction.predict import predict
    from p2pfl.reproduction.render import as_object, plain_text

    if arguments.seconds is not None and not arguments.seconds > 0.0:
        raise ConfigError(f"--seconds {arguments.seconds:g}: allowed: above 0")
    experiment = read_experiment(arguments)
    made = predict(experiment, seconds=arguments.seconds)
    if arguments.format == "json":
        told = {"experiment": experiment.config.name, "algorithm": experiment.label}
        content = {**told, **as_object(made)}
        sys.stdout.write(f"{json.dumps(content, indent=1, ensure_ascii=False)}\n")
    else:
        heading = f"{experiment.config.name}: {experiment.label}"
        sys.stdout.write(f"{plain_text(heading, made)}\n")
    return 0
