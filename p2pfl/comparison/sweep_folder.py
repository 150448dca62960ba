"""A sweep's folder: what it is of, and every result as soon as it is there.

grid.json       the axes, the seeds, and a digest of every experiment of the grid
experiment.toml the experiment without the axes
cells/          one file per run that was done: its numbers and its curve
failures/       one file per run that failed, with the reason; resuming tries these again
sweep.csv       one row per run
report.html     the page
"""

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Final

from p2pfl.comparison.sweep_cell import CellResult, result_from_object, result_to_object
from p2pfl.comparison.sweep_grid import Grid, GridAxis
from p2pfl.config.load import load_config
from p2pfl.config.schema import ExperimentConfig
from p2pfl.config.write import config_to_mapping, config_to_toml
from p2pfl.errors import ConfigError, DataError
from p2pfl.results.folder import EXPERIMENT, new_run_folder

FORMAT: Final = 1
"""Raised when an older reader would misread the folder."""

GRID: Final = "grid.json"
TABLE: Final = "sweep.csv"
WORKERS_LOG: Final = "workers.log"
_CELLS: Final = "cells"
_FAILURES: Final = "failures"


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedGrid:
    """What a folder says of its sweep."""

    file: str
    """The experiment file, or nothing if the experiment was made in code."""
    axes: tuple[GridAxis, ...]
    seeds: tuple[int, ...]
    digest: str
    points: Mapping[str, str]
    """Digest of each point, by its title."""
    version: str


@dataclass(frozen=True, slots=True)
class SweepFolder:
    """The folder of one sweep."""

    path: Path

    def write_cell(self, key: str, result: CellResult) -> None:
        """Keep a result, whole or not at all."""
        content = {"format": FORMAT, "key": key, **result_to_object(result)}
        write_whole(self.path / _CELLS / f"{key}.json", _json(content))
        with suppress(FileNotFoundError):
            self._failure(key).unlink()

    def write_failure(self, key: str, sentence: str, details: str) -> None:
        """Keep why a run failed."""
        write_whole(self._failure(key), f"{sentence}\n\n{details}".rstrip() + "\n")

    def read_cells(self, grid: Grid) -> dict[str, CellResult]:
        """The results that are there and belong to this grid, by key; what is torn is not there."""
        found = {}
        for cell in grid.cells:
            file = self.path / _CELLS / f"{cell.key}.json"
            with suppress(FileNotFoundError, DataError):
                result = _read_cell(file)
                if result.digest == grid.points[cell.place].digest:
                    found[cell.key] = result
        return found

    def saved(self) -> SavedGrid:
        """What this folder is of.

        Raises:
            DataError: it is no sweep's folder, or one of another version.
        """
        file = self.path / GRID
        try:
            found = json.loads(file.read_text(encoding="utf-8"))
        except (FileNotFoundError, NotADirectoryError) as error:
            raise DataError(
                f"{self.path}: is no sweep (it has no {GRID}); give a folder such as"
                " runs/digits-sweep-20260101-120000"
            ) from error
        except (OSError, ValueError) as error:
            raise DataError(f"{file}: cannot be read: {error}") from error
        if not isinstance(found, dict) or found.get("format") != FORMAT:
            raise DataError(f"{file}: is not of format {FORMAT}, the one that this version reads")
        try:
            return SavedGrid(
                file=str(found["file"]),
                axes=tuple(
                    GridAxis(key=axis["key"], values=tuple(axis["values"]))
                    for axis in found["axes"]
                ),
                seeds=tuple(int(seed) for seed in found["seeds"]),
                digest=str(found["digest"]),
                points={point["title"]: point["digest"] for point in found["points"]},
                version=str(found["version"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"{file}: is damaged: {error!r}") from error

    def check(self, grid: Grid) -> None:
        """Make sure that this folder is of exactly this grid.

        Raises:
            ConfigError: it is of another; the sentence says what differs.
        """
        saved = self.saved()
        if saved.digest == grid.digest:
            return
        what = _difference(saved, _saved_experiment(self.path / EXPERIMENT), grid)
        raise ConfigError(
            f"{self.path}: is a sweep of another experiment: {what}; undo that to go on with it,"
            " or start a new sweep without --resume"
        )

    def _failure(self, key: str) -> Path:
        return self.path / _FAILURES / f"{key}.txt"


def new_sweep_folder(root: Path, grid: Grid, *, file: Path | None = None) -> SweepFolder:
    """A new folder `root/<name>-sweep-<date>-<time>` that says what it is of.

    Raises:
        ConfigError: it cannot be made.
    """
    folder = new_run_folder(root, f"{grid.name}-sweep")
    content = {
        "format": FORMAT,
        "name": grid.name,
        "file": "" if file is None else str(file.resolve()),
        "axes": [{"key": axis.key, "values": list(axis.values)} for axis in grid.axes],
        "seeds": list(grid.seeds),
        "digest": grid.digest,
        "points": [{"title": point.title, "digest": point.digest} for point in grid.points],
        "version": version(),
    }
    write_whole(folder / EXPERIMENT, config_to_toml(grid.experiment.config))
    write_whole(folder / GRID, _json(content))
    return SweepFolder(folder)


def version() -> str:
    """The version of the installed distribution."""
    try:
        return metadata.version("p2pfl-gossip")
    except metadata.PackageNotFoundError:
        return "unknown"


def write_whole(file: Path, text: str) -> Path:
    """Write a file whole or not at all: readers never see half of it.

    Raises:
        ConfigError: it cannot be written.
    """
    unfinished = file.with_name(f".{file.name}.{os.getpid()}.unfinished")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        unfinished.write_text(text, encoding="utf-8", newline="")
        unfinished.replace(file)
    except OSError as error:
        with suppress(OSError):
            unfinished.unlink(missing_ok=True)
        raise ConfigError(f"{file}: cannot be written: {error.strerror}") from error
    return file


def _read_cell(file: Path) -> CellResult:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{file}: is no JSON: {error}") from error
    if not isinstance(found, dict) or found.pop("format", None) != FORMAT:
        raise DataError(f"{file}: is not of format {FORMAT}")
    found.pop("key", None)
    return result_from_object(found, where=str(file))


def _saved_experiment(file: Path) -> ExperimentConfig | None:
    """The experiment as it was; None: it can be read no more, for a file it names is gone."""
    try:
        return load_config(file)
    except ConfigError:
        return None


def _difference(saved: SavedGrid, experiment: ExperimentConfig | None, grid: Grid) -> str:
    """In words what tells the saved sweep from this one."""
    now = _flat(config_to_mapping(grid.experiment.config))
    before = now if experiment is None else _flat(config_to_mapping(experiment))
    for key in [*before, *now]:
        if key.partition(".")[0] in {"comparison", "broker"} or key in {"seed", "data.folder"}:
            continue
        if now.get(key) != before.get(key):
            return f"{key} was {_shown(before.get(key))} there and is {_shown(now.get(key))} now"
    if list(saved.seeds) != list(grid.seeds):
        return f"its seeds were {_shown(saved.seeds)} and are {_shown(grid.seeds)} now"
    if list(saved.points) != [point.title for point in grid.points]:
        return f"its grid had {len(saved.points)} points, and not the same as now"
    return "a file that it names, such as a topology's, has another content now"


def _flat(table: Mapping[str, object], prefix: str = "") -> dict[str, object]:
    flat: dict[str, object] = {}
    for key, value in table.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _shown(value: object) -> str:
    return "unset" if value is None else json.dumps(value, default=str)[:80]


def _json(content: Mapping[str, object]) -> str:
    return json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
