"""`p2pfl simulate FILE`: one experiment in virtual time, and the folder that it leaves."""

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from p2pfl.experiment import Experiment
    from p2pfl.results.record import NetworkSample, RunResult

    Tell = Callable[[str, float | None, NetworkSample], None]

RUNS: Final = Path("runs")
TRACE: Final = "trace.jsonl"
_SHARES: Final = 1000
"""Steps of the progress bar."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds FILE, --set, --seed, --out and --trace."""
    add_experiment_arguments(parser)
    parser.add_argument("--seed", type=int, metavar="N", help="instead of the file's seed")
    parser.add_argument("--trace", action="store_true", help=f"write {TRACE}, a line per event")


def add_experiment_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds what every command with an experiment has: FILE, --set and --out."""
    parser.add_argument("file", type=Path, metavar="FILE", help="the experiment, a .toml file")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="change one value of the file, as in network.loss=0.1 (may be repeated)",
    )
    parser.add_argument(
        "--out", type=Path, default=RUNS, metavar="DIR", help="where run folders go (default: runs)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Simulates, writes the run's folder with its report, and returns 0.

    Raises:
        ConfigError: the file or a setting is wrong.
        DataError: the data is missing or torn.
    """
    from p2pfl.results.folder import REPORT, new_run_folder, write_run
    from p2pfl.simulation.simulate import simulate

    experiment = read_experiment(arguments.file, arguments.set)
    if arguments.seed is not None:
        experiment = experiment.replace(seed=arguments.seed)
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


def read_experiment(file: Path, settings: Sequence[str]) -> "Experiment":
    """The experiment of a file with the `--set` values in it.

    Raises:
        ConfigError: the file or a setting is wrong.
    """
    from p2pfl.config.load import parse_setting, with_values
    from p2pfl.experiment import Experiment, load_experiment

    experiment = load_experiment(file)
    if not settings:
        return experiment
    values = dict(parse_setting(text) for text in settings)
    config = with_values(experiment.config, values, source=f"{file} with --set")
    return Experiment(config, folder=experiment.folder)


def summary_lines(result: "RunResult") -> list[str]:
    """What a run came to, in a few aligned lines."""
    from p2pfl.comparison.units import bytes_text, count_text, number_text, percent_text

    final, busiest = result.final, result.busiest
    simulated = result.driver == "simulation"
    took = f" (in {number_text(result.wall_s)} s)" if simulated and result.wall_s else ""
    lines = [
        f"{result.name}: {result.label}, seed {result.seed}, {len(result.learners)} nodes",
        f"time        {number_text(result.duration_s)} {'virtual ' * simulated}seconds{took}",
    ]
    if final.accuracy_mean is not None and final.accuracy_worst is not None:
        lines.append(
            f"accuracy    {percent_text(final.accuracy_mean)} % mean,"
            f" {percent_text(final.accuracy_worst)} % worst node"
        )
    lines.append(f"loss        {number_text(final.loss_mean)}")
    lines.append(f"work        {count_text(final.steps)} gradient steps")
    if any(node.mixes for node in result.nodes):
        bounded = result.staleness_bound != float("inf")
        of = f"of {number_text(result.staleness_bound)}" if bounded else "(no bound)"
        lines.append(
            f"staleness   {number_text(result.staleness_max)} {of} {result.staleness_unit},"
            " the largest ever mixed"
        )
    if result.edges:
        total = sum(node.out_bytes + node.in_bytes for node in result.nodes)
        lines.append(
            f"bytes       {bytes_text(total / len(result.learners))} per node; busiest endpoint"
            f" {busiest.node} with {bytes_text(busiest.out_bytes + busiest.in_bytes)}"
        )
    return lines + [f"note        {note}" for note in result.notes]


@contextmanager
def progress_shown() -> "Iterator[Tell]":
    """A bar on a terminal, a line per tenth in a pipe, both on stderr; told (what, end, sample)."""
    if not sys.stderr.isatty():
        yield _line_teller()
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[now]}"))
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        tasks = {}

        def tell(what: str, end_s: float | None, sample: "NetworkSample") -> None:
            if what not in tasks:
                total = None if end_s is None else _SHARES
                tasks[what] = bar.add_task(what, total=total, now="")
            share = 0 if end_s is None else round(_SHARES * sample.at_s / end_s)
            bar.update(tasks[what], completed=share, now=_now(sample))

        yield tell


def _line_teller() -> "Tell":
    told: dict[str, int] = {}

    def tell(what: str, end_s: float | None, sample: "NetworkSample") -> None:
        tenth = 0 if end_s is None else int(10 * sample.at_s / end_s)
        if told.get(what) == tenth and end_s is not None:
            return
        told[what] = tenth
        sys.stderr.write(f"{what}: {_now(sample)}\n")
        sys.stderr.flush()

    return tell


def _now(sample: "NetworkSample") -> str:
    from p2pfl.comparison.units import number_text, percent_text

    quality = (
        f"loss {number_text(sample.loss_mean)}"
        if sample.accuracy_mean is None
        else f"accuracy {percent_text(sample.accuracy_mean)} %"
    )
    return f"{number_text(sample.at_s)} s, {quality}"
