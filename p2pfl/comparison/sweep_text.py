"""A sweep on a terminal, as tidy data, and for programs."""

import csv
import io
import json
import textwrap
from collections.abc import Sequence
from typing import Final

import numpy as np

from p2pfl.comparison.curves import mean_quality
from p2pfl.comparison.sweep_cell import CellResult
from p2pfl.comparison.sweep_grid import GridCell
from p2pfl.comparison.sweep_table import CONFIDENCE, Band, Sweep, SweepRow, band
from p2pfl.results.lines import to_object

WIDTH: Final = 100
_GAP: Final = "  "
_MAX_TOLD: Final = 5


def sweep_text(sweep: Sweep) -> str:
    """The table and what it means, for a terminal, a pipe or a log; failures at the end."""
    columns = sweep.columns
    lines = max(len(column.heading) for column in columns)
    headings = [("",) * (lines - len(c.heading)) + c.heading for c in columns]
    rows = [["", *(heading[line] for heading in headings)] for line in range(lines)]
    rows += [[row.point.title, *(row.cells[c.key].text for c in columns)] for row in sweep.rows]
    widths = [max(len(row[place]) for row in rows) for place in range(len(columns) + 1)]
    table = [
        _GAP.join(
            [row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])],
        ).rstrip()
        for row in rows
    ]
    captions = [line for caption in sweep.captions for line in textwrap.wrap(caption, WIDTH)]
    return "\n".join([*table, "", *captions, *_failures(sweep)])


def sweep_csv(sweep: Sweep) -> str:
    """Tidy data: one row per run, one column per axis and per number; failed runs have no numbers.

    Bytes and steps are totals of the run, times virtual seconds, accuracies shares of one.
    """
    axes = [axis.key for axis in sweep.grid.axes]
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["point", *axes, "seed", "status", *_NUMBERS, "failure"])
    targets = [row.target for row in sweep.rows]
    for cell in sweep.grid.cells:
        point = sweep.grid.points[cell.place]
        result = sweep.results.get(cell.key)
        failure = sweep.failures.get(cell.key, "")
        status = "done" if result is not None else "failed" if failure else "missing"
        numbers = [""] * len(_NUMBERS) if result is None else _numbers(result, targets[cell.place])
        values = [_csv_value(point.values[key]) for key in axes]
        seed = cell.experiment.config.seed
        writer.writerow([point.title, *values, seed, status, *numbers, failure])
    return stream.getvalue()


def sweep_json(sweep: Sweep) -> str:
    """Every estimate per grid point, its curve with the band, and what failed."""
    content = {
        "name": sweep.grid.name,
        "digest": sweep.grid.digest,
        "confidence": CONFIDENCE,
        "measure": sweep.measure,
        "seeds": list(sweep.grid.seeds),
        "points": [_row_object(sweep, row) for row in sweep.rows],
        "failures": [
            {"cell": cell.key, "point": sweep.grid.points[cell.place].title,
             "seed": cell.experiment.config.seed, "reason": sweep.failures[cell.key]}
            for cell in sweep.grid.cells
            if cell.key in sweep.failures
        ],
        "captions": list(sweep.captions),
    }  # fmt: skip
    return json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)


def cell_words(sweep: Sweep, cell: GridCell) -> str:
    """A cell as a reader knows it."""
    return f"{sweep.grid.points[cell.place].title}, seed {cell.experiment.config.seed}"


def failure_lines(sweep: Sweep) -> list[str]:
    """Each reason for failure with the runs that it befell, the first few named."""
    by_reason: dict[str, list[str]] = {}
    for cell in sweep.grid.cells:
        if cell.key in sweep.failures:
            words = cell_words(sweep, cell)
            by_reason.setdefault(sweep.failures[cell.key], []).append(words)
    return [f"{_listed(cells)}: {reason}" for reason, cells in by_reason.items()]


def _failures(sweep: Sweep) -> list[str]:
    return ["", "FAILED", *failure_lines(sweep)] if sweep.failures else []


def _listed(words: Sequence[str]) -> str:
    more = f"; and {len(words) - _MAX_TOLD} more" if len(words) > _MAX_TOLD else ""
    return "; ".join(words[:_MAX_TOLD]) + more


_NUMBERS: Final = (
    "algorithm", "accuracy_mean", "accuracy_worst", "loss_mean", "loss_worst", "target",
    "time_to_target_s", "seconds", "steps", "bytes_node_mean", "bytes_busiest", "bytes_total",
    "mixes", "left_out", "staleness_max", "staleness_bound", "staleness_unit", "unfinished",
    "wall_s", "trace_hash",
)  # fmt: skip


def _numbers(result: CellResult, target: float | None) -> list[object]:
    accurate = result.measure == "accuracy"
    reached = None if target is None else result.time_to_s(target)
    found = [
        result.label,
        result.quality_mean if accurate else None,
        result.quality_worst if accurate else None,
        result.loss_mean,
        None if accurate else result.quality_worst,
        target,
        reached,
        result.seconds,
        result.steps,
        result.bytes_node_mean,
        result.bytes_busiest,
        result.bytes_total,
        result.mixes,
        result.left_out,
        result.staleness_max,
        result.staleness_bound,
        result.staleness_unit,
        "; ".join(result.unfinished),
        result.wall_s,
        result.trace_hash,
    ]
    return ["" if each is None else each for each in found]


def _csv_value(value: object) -> object:
    if value is None:
        return ""
    return value if isinstance(value, (str, int, float)) else json.dumps(value, default=str)


def _row_object(sweep: Sweep, row: SweepRow) -> dict[str, object]:
    curve = band(row, lambda point: mean_quality(point, sweep.measure))
    return {
        "title": row.point.title,
        "values": dict(row.point.values),
        "done": len(row.results),
        "target": row.target,
        "cells": {
            key: {"text": cell.text} | ({} if cell.estimate is None else to_object(cell.estimate))
            for key, cell in row.cells.items()
        },
        "curve": None if curve is None else _curve_object(curve),
    }


def _curve_object(curve: Band) -> dict[str, list[float | None]]:
    return {
        "at_s": _plain(curve.at),
        "mean": _plain(curve.mean),
        "low": _plain(curve.low),
        "high": _plain(curve.high),
    }


def _plain(values: np.ndarray) -> list[float | None]:
    """JSON has no nan: what is unknown is null."""
    return [float(value) if np.isfinite(value) else None for value in values]
