"""A sweep as a table: a row per grid point, means over seeds with their confidence intervals.

The interval is Student's: mean ± t · s / sqrt(n), with the sample standard deviation s of the n
seeds and the 97.5 % quantile t of the t distribution with n - 1 degrees of freedom (Student, The
Probable Error of a Mean, Biometrika 1908). It holds 95 % if a seed's result is about normal;
with a single seed there is none.
"""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from math import inf, isfinite, sqrt
from typing import Final

import numpy as np
from numpy.typing import NDArray

from p2pfl.comparison.curves import Measure
from p2pfl.comparison.summary import TARGET_SHARE
from p2pfl.comparison.sweep_cell import CellResult
from p2pfl.comparison.sweep_grid import Grid, GridPoint
from p2pfl.comparison.table import NOTHING, Column
from p2pfl.comparison.units import bytes_text, number_text, percent_text
from p2pfl.results.record import NetworkSample

CONFIDENCE: Final = 0.95

Numbers = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A number over the seeds of a point: its mean, and its interval if there are several."""

    mean: float
    low: float | None
    high: float | None
    seeds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepCell:
    """A place of the table; without an estimate there is no one number."""

    text: str
    estimate: Estimate | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepRow:
    """One grid point over the seeds that were done."""

    point: GridPoint
    results: tuple[CellResult, ...]
    target: float | None
    """The accuracy whose first reaching is timed."""
    cells: Mapping[str, SweepCell]


@dataclass(frozen=True, slots=True, eq=False)
class Band:
    """One point over time: the mean over seeds and its interval; nan where it has none."""

    title: str
    at: Numbers
    mean: Numbers
    low: Numbers
    high: Numbers


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """A sweep so far: its grid, the results by cell, and why other cells failed."""

    grid: Grid
    results: Mapping[str, CellResult]
    failures: Mapping[str, str]

    @property
    def measure(self) -> Measure:
        """What is compared: accuracy, or loss where some run has no accuracy."""
        accurate = all(each.measure == "accuracy" for each in self.results.values())
        return "accuracy" if accurate and self.results else "loss"

    @property
    def target(self) -> float | None:
        """The accuracy that all are timed to whose experiment names none: 95 % of the best."""
        if self.measure == "loss":
            return None
        best = max((each.quality_mean or 0.0 for each in self.results.values()), default=0.0)
        return round(TARGET_SHARE * best, 3)

    @property
    def rows(self) -> tuple[SweepRow, ...]:
        """A row per grid point, in the order of the grid; also of points without any result."""
        return tuple(self._row(place) for place in range(len(self.grid.points)))

    @property
    def columns(self) -> tuple[Column, ...]:
        """What the table shows."""
        rows = self.rows
        targets = {row.target for row in rows}
        target = next(iter(targets)) if len(targets) == 1 else None
        to = "to target" if target is None else f"to {percent_text(target)} %"
        accurate = self.measure == "accuracy"
        columns = (
            Column(key="seeds", heading=("seeds",)),
            Column(key="mean", heading=("accuracy", "mean %") if accurate else ("loss", "mean")),
            Column(key="worst", heading=("worst", "node %" if accurate else "node")),
            Column(key="time_to_target_s", heading=("seconds", to)),
            Column(key="bytes_node_mean", heading=("bytes", "per node")),
            Column(key="bytes_busiest", heading=("busiest", "endpoint")),
            Column(key="staleness_max", heading=("largest", "staleness")),
        )
        return tuple(c for c in columns if any(row.cells[c.key].text != NOTHING for row in rows))

    @property
    def captions(self) -> tuple[str, ...]:
        """What the numbers mean, in sentences."""
        return _captions(self)

    def _row(self, place: int) -> SweepRow:
        point = self.grid.points[place]
        results = tuple(
            self.results[cell.key]
            for cell in self.grid.cells
            if cell.place == place and cell.key in self.results
        )
        target = None
        if self.measure == "accuracy":
            given = point.config.evaluation.target
            target = self.target if given is None else given
        cells = _cells(results, self.measure, target, asked=len(self.grid.seeds))
        return SweepRow(point=point, results=results, target=target, cells=cells)


def estimate(values: Sequence[float]) -> Estimate:
    """Mean and 95 % confidence interval of some seeds' values (at least one)."""
    mean, count = statistics.fmean(values), len(values)
    if count == 1 or not all(map(isfinite, values)):
        return Estimate(mean=mean, low=None, high=None, seeds=count)
    half = _quantile(count - 1) * statistics.stdev(values) / sqrt(count)
    return Estimate(mean=mean, low=mean - half, high=mean + half, seeds=count)


def band(row: SweepRow, quality: Callable[[NetworkSample], float | None]) -> Band | None:
    """The point over time, at the first run's evaluations, to the end of the shortest; or None."""
    curves = []
    for result in row.results:
        known = [(p.at_s, v) for p in result.curve if (v := quality(p)) is not None]
        if not known:
            return None
        curves.append(np.array(known, dtype=np.float64).T)
    if not curves:
        return None
    at = curves[0][0]
    at = at[at <= min(curve[0][-1] for curve in curves) + 1e-9]
    values = np.stack([np.interp(at, curve[0], curve[1]) for curve in curves])
    mean = values.mean(axis=0)
    if len(curves) == 1:
        nothing = np.full_like(mean, np.nan)
        return Band(row.point.title, at, mean, nothing, nothing)
    half = _quantile(len(curves) - 1) * values.std(axis=0, ddof=1) / sqrt(len(curves))
    return Band(row.point.title, at, mean, mean - half, mean + half)


@cache
def _quantile(freedom: int) -> float:
    """The quantile of the t distribution that leaves 2.5 % above it."""
    from scipy.special import stdtrit

    return float(stdtrit(freedom, (1.0 + CONFIDENCE) / 2.0))


# ------------------------------------------------------------ cells


def _cells(
    results: Sequence[CellResult], measure: Measure, target: float | None, *, asked: int
) -> dict[str, SweepCell]:
    form = percent_text if measure == "accuracy" else number_text
    talks = any(each.sends_models for each in results)
    mixed = any(each.mixes for each in results)
    done = len(results)
    return {
        "seeds": SweepCell(text=str(done) if done == asked else f"{done} of {asked}"),
        "mean": _cell([each.quality_mean for each in results], form),
        "worst": _cell([each.quality_worst for each in results], form),
        "time_to_target_s": _reaching(results, target),
        "bytes_node_mean": _cell([each.bytes_node_mean for each in results if talks], bytes_text),
        "bytes_busiest": _cell([float(r.bytes_busiest) for r in results if talks], bytes_text),
        "staleness_max": _staleness(results) if mixed else SweepCell(text=NOTHING),
    }


def _cell(values: Sequence[float | None], form: Callable[[float], str]) -> SweepCell:
    known = [value for value in values if value is not None]
    if not known:
        return SweepCell(text=NOTHING)
    found = estimate(known)
    text = form(found.mean)
    # Seeds that agree to the last digit, as byte counts do, need no interval in words.
    if found.high is not None and found.high > found.mean:
        text = f"{text} ± {_half(found.high - found.mean, text, form)}"
    return SweepCell(text=text, estimate=found)


def _half(half: float, mean_text: str, form: Callable[[float], str]) -> str:
    """Half an interval, with as many digits after the point as its mean."""
    if form is bytes_text:
        return bytes_text(half)
    if "e" in mean_text:
        return number_text(half)
    decimals = len(mean_text.partition(".")[2])
    return f"{100.0 * half if form is percent_text else half:.{decimals}f}"


def _reaching(results: Sequence[CellResult], target: float | None) -> SweepCell:
    if target is None or not results:
        return SweepCell(text=NOTHING)
    times_s = [each.time_to_s(target) for each in results]
    reached = [time_s for time_s in times_s if time_s is not None]
    if not reached:
        return SweepCell(text="never")
    if len(reached) == len(times_s):
        return _cell(times_s, number_text)
    # A mean over the lucky seeds alone would flatter: it is shown, and is no estimate.
    return SweepCell(
        text=f"{number_text(statistics.fmean(reached))} ({len(reached)} of {len(times_s)})"
    )


def _staleness(results: Sequence[CellResult]) -> SweepCell:
    cell = _cell([each.staleness_max for each in results], number_text)
    bound, unit = results[0].staleness_bound, results[0].staleness_unit
    of = ", no bound" if bound == inf else f" of {number_text(bound)} {unit}"
    return SweepCell(text=f"{cell.text}{of}", estimate=cell.estimate)


def _captions(sweep: Sweep) -> tuple[str, ...]:
    seeds = len(sweep.grid.seeds)
    accurate = sweep.measure == "accuracy"
    what = "Accuracy" if accurate else "Loss (less is better)"
    lines = [
        f"{what} of the models that nodes serve, at the end: mean over nodes, and the worst node."
    ]
    if seeds > 1:
        lines.append(
            "Means over seeds ± half of the 95 % confidence interval, from Student's t distribution"
            f" with {seeds - 1} degree{'s' * (seeds > 2)} of freedom where all seeds are done."  # noqa: PLR2004 - two seeds have one degree
        )
    else:
        lines.append("One seed: no confidence interval can be told (--seeds 5 gives one).")
    if accurate:
        given = sweep.grid.experiment.config.evaluation.target is not None
        why = "the experiment's target" if given else "95 % of the best run of this sweep"
        lines.append(
            f"Seconds (virtual) until the mean accuracy first reached {why}; (k of n): only so many"
            " seeds did, and the mean is of these."
            if any(row.target is not None for row in sweep.rows)
            else ""
        )
    lines.append("Largest staleness: the largest that any node ever mixed, and its bound.")
    if sweep.failures:
        lines.append(f"{len(sweep.failures)} of {len(sweep.grid.cells)} runs failed.")
    return tuple(line for line in lines if line)
