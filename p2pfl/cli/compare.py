"""`p2pfl compare FILE`: the same experiment under several algorithms, as a table and a page."""

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from p2pfl.cli.arguments import (
    add_broker_arguments,
    add_engine_argument,
    add_experiment_arguments,
    add_folder_argument,
    check_out,
    password_of,
    read_experiment,
)
from p2pfl.cli.say import say, speaks_json
from p2pfl.cli.shown import progress_shown, tell_note
from p2pfl.cli.watched import run_watcher
from p2pfl.errors import ConfigError

if TYPE_CHECKING:
    from p2pfl.comparison.table import ComparisonTable
    from p2pfl.experiment import Experiment
    from p2pfl.results.record import NetworkSample, RunResult


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What to compare, how often, for real or in virtual time, and how to show it."""
    add_experiment_arguments(parser)
    add_folder_argument(parser)
    parser.add_argument(
        "--algorithms",
        metavar="NAME,...",
        help="what to put beside the file's own (default: its [comparison])",
    )
    parser.add_argument(
        "--seeds",
        type=int,
        default=1,
        metavar="N",
        help="runs per algorithm, from the file's seed on (default: 1)",
    )
    parser.add_argument(
        "--real",
        action="store_true",
        help="run over a real broker, one process per node (default algorithms: fedavg)",
    )
    add_broker_arguments(parser)
    add_engine_argument(parser)
    parser.add_argument("--format", choices=("table", "json"), default="table")


def run(arguments: argparse.Namespace) -> int:
    """Runs them all, prints the table, writes folders and the page, and returns 0.

    Raises:
        ConfigError: the file, a setting or an algorithm's name is wrong.
        TransportError, KeyboardInterrupt: it broke off; what was finished is written and shown.
    """
    if arguments.seeds < 1:
        raise ConfigError(f"--seeds {arguments.seeds}: allowed: at least 1")
    experiment = read_experiment(arguments)
    names = _algorithms(arguments)
    first = experiment.config.seed
    seeds = range(first, first + arguments.seeds)
    check_out(arguments.out)
    if not arguments.real:
        _tell(_simulated(experiment, names, seeds), experiment.config.name, arguments)
        return 0
    runs = _runs(experiment, names, seeds)
    results: list[RunResult] = []
    try:
        asyncio.run(_run_all(arguments, experiment, runs, results))
    finally:
        if results:
            _tell(results, experiment.config.name, arguments)
        if len(results) < len(runs):
            _tell_missing(runs[len(results) :])
    return 0


def _tell(results: Sequence["RunResult"], name: str, arguments: argparse.Namespace) -> None:
    """Write all that they came to, and show the table."""
    from p2pfl.comparison.table import table_of

    page = _write(results, name, arguments.out)
    table = table_of(results)
    if speaks_json():
        from p2pfl.comparison.render import json_text

        say("result", "", table=json.loads(json_text(table)), report=str(page))
    elif arguments.format == "json":
        from p2pfl.comparison.render import json_text

        sys.stdout.write(f"{json_text(table)}\n")
        sys.stderr.write(f"report: {page}\n")
    else:
        show_table(table)
        sys.stdout.write(f"\nreport: {page}\n")


def _tell_missing(runs: Sequence["Experiment"]) -> None:
    """Name what was not finished when it broke off."""
    names = [f"{one.label} (seed {one.config.seed})" for one in runs]
    text = f"broken off; not finished: {', '.join(names)}"
    say("note", text, level="warning", stream="stderr", message=text)


def show_table(table: "ComparisonTable") -> None:
    """With colours and only what fits on a terminal; plain and whole in a pipe."""
    if not sys.stdout.isatty():
        sys.stdout.write(f"{table}\n")
        return
    from rich.console import Console

    from p2pfl.comparison.render import rich_tables

    console = Console()
    console.print(rich_tables(table, width=console.width))


def _algorithms(arguments: argparse.Namespace) -> list[str] | None:
    if arguments.algorithms is not None:
        from p2pfl.config.load import algorithm_kinds

        names = [name.strip() for name in arguments.algorithms.split(",") if name.strip()]
        for name in names:
            if name not in algorithm_kinds():
                raise ConfigError(
                    f"--algorithms {name}: is unknown; allowed: {', '.join(algorithm_kinds())}"
                )
        return names
    return ["fedavg"] if arguments.real else None


def _simulated(
    experiment: "Experiment", names: Sequence[str] | None, seeds: Sequence[int]
) -> list["RunResult"]:
    from dataclasses import replace

    from p2pfl.comparison.side_by_side import compare_algorithms

    began_s: list[float] = []
    with progress_shown() as tell:

        def progress(one: "Experiment", sample: "NetworkSample | None") -> None:
            if sample is None:
                began_s.append(time.perf_counter())
                return
            what = one.label if len(seeds) == 1 else f"{one.label}, seed {one.config.seed}"
            tell(what, one.share_done(at_s=sample.at_s, steps=sample.steps), sample)

        compared = compare_algorithms(
            experiment, algorithms=names, seeds=seeds, progress=progress, tell_note=tell_note
        )
    ends_s = [*began_s[1:], time.perf_counter()]
    return [
        replace(result, wall_s=end_s - start_s)
        for result, start_s, end_s in zip(compared.results, began_s, ends_s, strict=True)
    ]


def _runs(
    experiment: "Experiment", names: Sequence[str] | None, seeds: Sequence[int]
) -> list["Experiment"]:
    from p2pfl.comparison.side_by_side import variants

    return [one for seed in seeds for one in variants(experiment.replace(seed=seed), names)]


async def _run_all(
    arguments: argparse.Namespace,
    experiment: "Experiment",
    runs: Sequence["Experiment"],
    results: list["RunResult"],
) -> None:
    """One after the other, over one broker: side by side they would slow each other down.

    Each result is put into `results` as its run ends, in order.
    """
    from p2pfl.runtime.run import RealRun
    from p2pfl.transport.broker import EmbeddedBroker

    config = experiment.config.broker
    url, password = arguments.broker or config.url, password_of(arguments)
    async with AsyncExitStack() as stack:
        if not url:
            broker = EmbeddedBroker(arguments.engine or config.engine)
            url = (await stack.enter_async_context(broker)).url
        for one in runs:
            text = f"{one.label}, seed {one.config.seed}, for real at {url}"
            say(*("begun", text), stream="stderr", algorithm=one.label, seed=one.config.seed)
            with run_watcher() as watcher:
                async with RealRun(
                    one,
                    broker_url=url,
                    password=password,
                    ca_file=arguments.ca_file,
                    watcher=watcher,
                ) as real:
                    results.append(await real.finish())


def _write(results: Sequence["RunResult"], name: str, out: Path) -> Path:
    """A folder per run below one for them all, and the page beside them."""
    from p2pfl.report.page import write_report
    from p2pfl.results.folder import REPORT, new_run_folder, write_run

    folder = new_run_folder(out, f"{name}-compared")
    for result in results:
        write_run(result, folder / f"{result.config.algorithm.kind}-seed{result.seed}")
    return write_report(results, folder / REPORT)
