"""A sweep: the same experiment over a grid of values and seeds, run side by side and resumable."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from p2pfl.comparison.sweep_cell import task_of
from p2pfl.comparison.sweep_folder import (
    TABLE,
    WORKERS_LOG,
    SweepFolder,
    new_sweep_folder,
    write_whole,
)
from p2pfl.comparison.sweep_grid import Grid, GridAxis, make_grid
from p2pfl.comparison.sweep_table import Sweep
from p2pfl.comparison.sweep_text import sweep_csv
from p2pfl.comparison.sweep_workers import Done, Failed, LocalWorkers, News, Workers
from p2pfl.experiment import Experiment

Watch = Callable[[News], None]
"""Told what happens, as it happens."""


def sweep(
    experiment: Experiment,
    values: Mapping[str, Sequence[object]],
    *,
    seeds: Sequence[int] | None = None,
    folder: str | Path | None = None,
    jobs: int | None = None,
) -> Sweep:
    """Simulate every combination of `values`, as in `{"network.loss": [0.0, 0.1]}`, side by side.

    Results are kept in a new folder below `runs`; with `folder`, a sweep of the same grid that is
    there already goes on and does only what is missing.

    Raises:
        ConfigError: a key or a value is wrong, or the folder is of another sweep.
    """
    axes = [GridAxis(key=key, values=tuple(each)) for key, each in values.items()]
    grid = make_grid(experiment, axes, seeds=seeds)
    if folder is None:
        home = new_sweep_folder(Path("runs"), grid)
    else:
        home = SweepFolder(Path(folder))
        home.check(grid)
    return run_sweep(grid, home, LocalWorkers(jobs, log=home.path / WORKERS_LOG))


def run_sweep(
    grid: Grid, folder: SweepFolder, workers: Workers, *, watch: Watch | None = None
) -> Sweep:
    """Run the cells that the folder has no result of; each result is written as it comes.

    A cell that fails is kept as failed and stops no other. The table is written at the end.

    Raises:
        ConfigError: the folder cannot be written to, or the workers cannot be had.
        TransportError: there is no cluster.
    """
    results = folder.read_cells(grid)
    failures: dict[str, str] = {}
    tasks = [task_of(cell) for cell in grid.cells if cell.key not in results]
    if tasks:
        with workers:
            for news in workers.run(tasks):
                if isinstance(news, Done):
                    folder.write_cell(news.key, news.result)
                    results[news.key] = news.result
                elif isinstance(news, Failed):
                    folder.write_failure(news.key, news.sentence, news.details)
                    failures[news.key] = news.sentence
                if watch is not None:
                    watch(news)
    done = Sweep(grid=grid, results=results, failures=failures)
    write_whole(folder.path / TABLE, sweep_csv(done))
    return done
