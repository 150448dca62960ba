"""`p2pfl sweep FILE --set KEY=V1,V2 --seeds N`: a grid of simulations, as a table and a page."""

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from p2pfl.cli.arguments import add_folder_argument
from p2pfl.cli.say import say, speaks_json
from p2pfl.errors import ConfigError
from p2pfl.exit_codes import ExitCode

if TYPE_CHECKING:
    from p2pfl.comparison.sweep_folder import SweepFolder
    from p2pfl.comparison.sweep_grid import Grid, GridAxis
    from p2pfl.comparison.sweep_workers import News, Workers

_STEPS: Final = 20
"""In a pipe, progress is told so often."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The experiment, the grid, who runs it, and how to show it."""
    parser.add_argument(
        "file", type=Path, nargs="?", metavar="FILE", help="the experiment, a .toml file"
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=V1,V2,...",
        help="an axis of the grid, as in network.loss=0,0.1 or model.hidden=[32],[64,64]; one"
        " value changes the experiment (may be repeated)",
    )
    parser.add_argument(
        "--algorithms", metavar="NAME,...", help="an axis of algorithms (default: the file's own)"
    )
    parser.add_argument(
        "--seeds",
        type=int,
        metavar="N",
        help="runs per grid point, from the first seed on (default: 1)",
    )
    parser.add_argument("--seed", type=int, metavar="N", help="the first seed (the file's)")
    parser.add_argument(
        "--jobs", type=int, metavar="N", help="runs side by side (default: one per core)"
    )
    parser.add_argument(
        "--ray",
        metavar="ADDRESS",
        help="run on this Ray cluster: host:port, auto, ray://host:port (needs the extra ray)",
    )
    add_folder_argument(parser)
    parser.add_argument(
        "--resume",
        type=Path,
        metavar="FOLDER",
        help="go on with this sweep: do only what is missing (FILE and grid are known to it)",
    )
    parser.add_argument("--format", choices=("table", "json"), default="table")


def run(arguments: argparse.Namespace) -> int:
    """Runs the grid, prints the table, writes the page; 0, or 5 if some run failed.

    Raises:
        ConfigError: the file, the grid or the folder to resume is wrong.
        TransportError: there is no such cluster.
    """
    from p2pfl.comparison.sweep import run_sweep
    from p2pfl.comparison.sweep_text import sweep_json, sweep_text

    for name in ("seeds", "jobs"):
        number = getattr(arguments, name)
        if number is not None and number < 1:
            raise ConfigError(f"--{name} {number}: allowed: at least 1")
    grid, folder = _plan(arguments)
    try:
        with _progress(grid, folder) as watch:
            sweep = run_sweep(grid, folder, _workers(arguments, folder), watch=watch)
    except KeyboardInterrupt:
        text = f"to go on: p2pfl sweep --resume {folder.path}"
        say("note", text, stream="stderr", message=text)
        raise
    from p2pfl.report.sweep_page import write_sweep_report
    from p2pfl.results.folder import REPORT

    page = write_sweep_report(sweep, folder.path / REPORT)
    if speaks_json():
        say("result", "", table=json.loads(sweep_json(sweep)), report=str(page))
    elif arguments.format == "json":
        sys.stdout.write(f"{sweep_json(sweep)}\n")
        sys.stderr.write(f"report: {page}\n")
    else:
        sys.stdout.write(f"{sweep_text(sweep)}\n\nreport: {page}\n")
    if sweep.failures:
        text = (
            f"{len(sweep.failures)} of {len(grid.cells)} runs failed; to try them again:"
            f" p2pfl sweep --resume {folder.path}"
        )
        say("note", f"p2pfl: {text}", level="error", stream="stderr", message=text)
    return ExitCode.PARTLY_FAILED if sweep.failures else ExitCode.DONE


# ------------------------------------------------------------ what to run


def _plan(arguments: argparse.Namespace) -> "tuple[Grid, SweepFolder]":
    """The grid that was asked for and its folder: a new one, or the one to go on with."""
    from p2pfl.comparison.sweep_folder import SweepFolder, new_sweep_folder
    from p2pfl.comparison.sweep_grid import make_grid
    from p2pfl.experiment import load_experiment

    file: Path | None = arguments.file
    if arguments.resume is None:
        if file is None:
            raise ConfigError("a sweep needs an experiment: p2pfl sweep FILE, or --resume FOLDER")
        experiment = load_experiment(file)
        seeds = _seeds(arguments, (experiment.config.seed,))
        grid = make_grid(experiment, _axes(arguments), seeds=seeds)
        return grid, new_sweep_folder(arguments.out, grid, file=file)
    folder = SweepFolder(arguments.resume)
    saved = folder.saved()
    file = file if file is not None else Path(saved.file)
    if not file.name:
        raise ConfigError(f"--resume {arguments.resume}: say of which FILE")
    experiment = load_experiment(file)
    asked = bool(arguments.set or arguments.algorithms)
    axes = _axes(arguments) if asked else saved.axes
    grid = make_grid(experiment, axes, seeds=_seeds(arguments, saved.seeds))
    folder.check(grid)
    _tell_version(saved.version)
    return grid, folder


def _seeds(arguments: argparse.Namespace, known: Sequence[int]) -> Sequence[int]:
    """The seeds that were asked for; what was not said is as it is known."""
    if arguments.seed is None and arguments.seeds is None:
        return known
    first = known[0] if arguments.seed is None else arguments.seed
    return range(first, first + (arguments.seeds or len(known)))


def _axes(arguments: argparse.Namespace) -> "tuple[GridAxis, ...]":
    from p2pfl.comparison.sweep_grid import ALGORITHM, GridAxis, parse_axis

    axes = [parse_axis(text) for text in arguments.set]
    if arguments.algorithms is not None:
        names = tuple(name.strip() for name in arguments.algorithms.split(",") if name.strip())
        axes.append(GridAxis(key=ALGORITHM, values=names))
    return tuple(axes)


def _tell_version(before: str) -> None:
    from p2pfl.comparison.sweep_folder import version

    if before != version():
        sys.stderr.write(f"note: this sweep was begun with p2pfl {before}; this is {version()}\n")


def _workers(arguments: argparse.Namespace, folder: "SweepFolder") -> "Workers":
    if arguments.ray is not None:
        from p2pfl.comparison.sweep_ray import RayWorkers

        return RayWorkers(arguments.ray, arguments.jobs)
    from p2pfl.comparison.sweep_folder import WORKERS_LOG
    from p2pfl.comparison.sweep_workers import LocalWorkers

    return LocalWorkers(arguments.jobs, log=folder.path / WORKERS_LOG)


# ------------------------------------------------------------ progress


class Estimate:
    """How much of a sweep is done, in cells and parts of them, and how long the rest will take."""

    def __init__(self, cells: int, done: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.cells = cells
        self.ended = done
        self._before = done
        self._shares: dict[str, float] = {}
        self._clock = clock
        self._began_s = clock()

    @property
    def done(self) -> float:
        """Cells done, those under way in part."""
        return self.ended + sum(self._shares.values())

    @property
    def left_s(self) -> float | None:
        """Seconds to the end at the pace since the start; None: nothing is known yet."""
        now = self.done - self._before
        if now <= 0.0:
            return None
        return (self._clock() - self._began_s) * (self.cells - self.done) / now

    def hear(self, news: "News") -> None:
        """Count what happened."""
        from p2pfl.comparison.sweep_workers import UnderWay

        if isinstance(news, UnderWay):
            self._shares[news.key] = news.share
        else:
            self._shares.pop(news.key, None)
            self.ended += 1

    def __str__(self) -> str:
        left_s = self.left_s
        left = "" if left_s is None or self.ended == self.cells else f", {duration_words(left_s)}"
        return f"{self.ended} of {self.cells} runs{left}"


def duration_words(left_s: float) -> str:
    """About how long, in the one unit that says enough."""
    for unit, length_s in (("h", 3600.0), ("min", 60.0)):
        if left_s >= 1.5 * length_s:
            return f"about {left_s / length_s:.0f} {unit} left"
    return f"about {max(1.0, left_s):.0f} s left"


@contextmanager
def _progress(grid: "Grid", folder: "SweepFolder") -> "Iterator[Callable[[News], None]]":
    """A bar on a terminal, a line now and then in a pipe; failures and notes are told at once."""
    from p2pfl.comparison.sweep_workers import Done, Failed

    told: set[str] = set()
    kept = len(folder.read_cells(grid))
    state = Estimate(len(grid.cells), kept)
    if kept:
        text = f"{kept} of {len(grid.cells)} runs were done before"
        say("note", text, stream="stderr", message=text)
    words = {
        cell.key: f"{grid.points[cell.place].title}, seed {cell.experiment.config.seed}"
        for cell in grid.cells
    }
    with _shown(state) as show:

        def watch(news: "News") -> None:
            state.hear(news)
            notes = news.result.notes if isinstance(news, Done) else ()
            for note in notes:
                if note not in told:
                    told.add(note)
                    show(f"note: {words[news.key]}: {note}")
            show(
                f"failed: {words[news.key]}: {news.sentence}" if isinstance(news, Failed) else None
            )

        yield watch


@contextmanager
def _shown(state: Estimate) -> Iterator[Callable[[str | None], None]]:
    if speaks_json() or not sys.stderr.isatty():
        yield _line_shower(state)
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    console = Console(stderr=True)
    columns = (BarColumn(), TextColumn("{task.fields[now]}"))
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=state.cells, completed=state.ended, now=str(state))

        def show(line: str | None) -> None:
            if line is not None:
                console.print(line, markup=False, highlight=False)
            bar.update(task, completed=state.done, now=str(state))

        yield show


def _line_shower(state: Estimate) -> Callable[[str | None], None]:
    told = _STEPS * state.ended // state.cells

    def show(line: str | None) -> None:
        nonlocal told
        if line is not None:
            say("note", line, stream="stderr", message=line)
        step = _STEPS * state.ended // state.cells
        if step > told:
            told = step
            say("progress", f"{state}", stream="stderr", done=state.ended, of=state.cells)

    return show
