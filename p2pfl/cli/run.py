"""`p2pfl run`: an experiment for real, a process per node on this machine, over an MQTT broker."""



import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Final

from p2pfl.cli.node import add_broker_arguments, add_experiment_arguments, load, password_of

if TYPE_CHECKING:
    from p2pfl.results.record import RunResult

ENGINES: Final = ("nats", "amqtt", "mosquitto")
SOME_FAILED: Final = 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What to run, over which broker, and where to put the results."""
    parser.add_argument("file", metavar="FILE", help="the experiment (.toml)")
    add_broker_arguments(parser)
    parser.add_argument(
        "--engine", choices=ENGINES, help="the embedded broker, where no URL is given"
    )
    parser.add_argument(
        "--out", metavar="DIR", default="runs", help="results go below (%(default)s)"
    )
    add_experiment_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run it to its end. Raises ConfigError, DataError, TransportError."""
    from p2pfl.results.folder import new_run_folder, write_run
    from p2pfl.runtime.run import run_experiment
    from p2pfl.runtime.table import LiveTable

    experiment = load(arguments)
    with LiveTable() as table:
        result = run_experiment(
            experiment,
            broker_url=arguments.broker,
            engine=arguments.engine,
            password=password_of(arguments),
            ca_file=arguments.ca_file,
            watcher=table,
        )
    folder = new_run_folder(Path(arguments.out), result.name)
    write_run(result, folder)
    print(_summary(result))
    print(f"results: {folder}")
    failed = any(node.outcome == "failed" for node in result.nodes)
    return SOME_FAILED if failed else 0


def _summary(result: "RunResult") -> str:
    """What the run came to, in a few lines."""
    final = result.final
    lines = [f"{result.label}, {result.duration_s:.1f} s, {final.steps} steps"]
    if final.accuracy_mean is not None and final.accuracy_worst is not None:
        lines.append(f"accuracy {final.accuracy_mean:.3f}, worst node {final.accuracy_worst:.3f}")
    else:
        lines.append(f"loss {final.loss_mean:.4g}")
    lines.append(
        f"largest staleness mixed {result.staleness_max:.2f} of {result.staleness_bound:g} "
        f"{result.staleness_unit}"
    )
    lines.append(
        f"{final.bytes_total / 1e6:.1f} MB in and out at all nodes, "
        f"{final.bytes_busiest / 1e6:.1f} MB at the busiest ({result.busiest.node})"
    )
    lines += result.notes
    return "\n".join(lines)
