"""Runs side by side as a table: what each reached and what it cost, means over seeds."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Final, Literal

from p2pfl.comparison.summary import Levels, RunSummary, levels_of, summary_of
from p2pfl.comparison.titles import group_runs
from p2pfl.comparison.units import bytes_text, count_text, number_text, percent_text
from p2pfl.errors import DataError
from p2pfl.results.record import RunResult

NOTHING: Final = "-"
"""Shown where a run has no such number."""

_ALIKE: Final = 1.01
"""Runs that end so close together ended at the same time; real ones never do exactly."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column: its heading in short lines, and what to look for."""

    key: str
    heading: tuple[str, ...]
    better: Literal["high", "low"] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One number over the seeds of a row: mean, and sample standard deviation if several."""

    text: str
    mean: float | None = None
    spread: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One algorithm (or one variant of the experiment), over its seeds."""

    title: str
    summaries: tuple[RunSummary, ...]
    cells: Mapping[str, Cell]


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonTable:
    """Runs side by side. `str()` is plain text; `quality` and `cost` name the columns."""

    levels: Levels
    rows: tuple[Row, ...]
    quality: tuple[Column, ...]
    cost: tuple[Column, ...]
    captions: tuple[str, ...]

    def __str__(self) -> str:
        from p2pfl.comparison.render import plain_text

        return plain_text(self)

    def best(self, column: Column) -> frozenset[str]:
        """Titles of the rows that are best in this column; none if all are alike.

        One machine that holds all the data is shown as a mark to aim at, and wins nothing.
        """
        means = {
            row.title: cell.mean
            for row in self.rows
            if row.summaries[0].learners > 1
            and (cell := row.cells[column.key]).mean is not None
            and isfinite(cell.mean or 0.0)
        }
        values = [mean for mean in means.values() if mean is not None]
        if column.better is None or len(values) < 2 or min(values) == max(values):  # noqa: PLR2004 - one run alone is not best
            return frozenset()
        goal = max(values) if column.better == "high" else min(values)
        return frozenset(title for title, mean in means.items() if mean == goal)


def compare(*results: RunResult) -> ComparisonTable:
    """Some runs side by side, as a table that prints; see `table_of`.

    Raises:
        DataError: there is no run, or one that was never evaluated.
    """
    return table_of(results)


def table_of(results: Sequence[RunResult]) -> ComparisonTable:
    """The table of some runs, from either driver; runs that differ in their seed alone share a row.

    Raises:
        DataError: there is no run, or one that was never evaluated.
    """
    if not results or not all(each.curve for each in results):
        raise DataError("a comparison needs at least one run, each evaluated at least once")
    levels = levels_of(results)
    rows = tuple(
        _row(group.title, tuple(summary_of(each, levels, results) for each in group.runs), levels)
        for group in group_runs(results)
    )
    seconds = [summary.seconds for row in rows for summary in row.summaries]
    alike = max(seconds) <= _ALIKE * min(seconds)
    hidden = {"at_equal_seconds", "seconds"} if alike else set[str]()
    return ComparisonTable(
        levels=levels,
        rows=rows,
        quality=_shown(_quality_columns(levels), rows, hidden),
        cost=_shown(_COST, rows, hidden),
        captions=_captions(levels, rows, seconds=max(seconds) if alike else None),
    )


def _shown(columns: Sequence[Column], rows: Sequence[Row], hidden: set[str]) -> tuple[Column, ...]:
    """Columns in which some row has something to say."""
    return tuple(
        column
        for column in columns
        if column.key not in hidden and any(row.cells[column.key].text != NOTHING for row in rows)
    )


def _quality_columns(levels: Levels) -> tuple[Column, ...]:
    accurate = levels.measure == "accuracy"
    better: Literal["high", "low"] = "high" if accurate else "low"
    mean = ("accuracy", "mean %") if accurate else ("loss", "mean")
    target = "" if levels.target is None else f"to {percent_text(levels.target)} %"
    return (
        Column(key="quality_mean", heading=mean, better=better),
        Column(key="quality_worst", heading=("worst", "node"), better=better),
        Column(key="quality_average_model", heading=("average", "model"), better=better),
        Column(key="quality_slow_classes", heading=("slow nodes'", "classes"), better=better),
        Column(key="time_to_target_s", heading=("seconds", target), better="low"),
        Column(key="at_equal_seconds", heading=("at equal", "seconds"), better=better),
        Column(key="at_equal_work", heading=("at equal", "work"), better=better),
        Column(key="at_equal_node_bytes", heading=("at equal", "bytes", "per node"), better=better),
        Column(
            key="at_equal_busiest_bytes", heading=("at equal", "bytes,", "busiest"), better=better
        ),
        Column(key="consensus_distance", heading=("consensus", "distance")),
    )


_COST: Final = (
    Column(key="seconds", heading=("seconds",)),
    Column(key="steps", heading=("gradient", "steps")),
    Column(key="steps_node", heading=("steps", "per node")),
    Column(key="bytes_node_mean", heading=("bytes", "per node"), better="low"),
    Column(key="bytes_busiest", heading=("busiest", "endpoint"), better="low"),
    Column(key="bytes_busiest_unicast", heading=("the same", "as unicast"), better="low"),
    Column(key="staleness", heading=("largest staleness", "of its bound")),
)


def _row(title: str, runs: tuple[RunSummary, ...], levels: Levels) -> Row:
    quality: Callable[[float], str] = percent_text if levels.measure == "accuracy" else number_text
    talks = any(run.sends_models for run in runs)
    silent = Cell(text=NOTHING)
    cells = {
        "quality_mean": _cell([r.quality_mean for r in runs], quality),
        "quality_worst": _cell([r.quality_worst for r in runs], quality),
        "quality_average_model": _cell([r.quality_average_model for r in runs], quality),
        "quality_slow_classes": _cell([r.quality_slow_classes for r in runs], quality),
        "time_to_target_s": _reaching([r.time_to_target_s for r in runs], levels),
        "at_equal_seconds": _cell([r.at_equal_seconds for r in runs], quality),
        "at_equal_work": _cell([r.at_equal_work for r in runs], quality),
        "at_equal_node_bytes": _cell([r.at_equal_node_bytes for r in runs], quality),
        "at_equal_busiest_bytes": _cell([r.at_equal_busiest_bytes for r in runs], quality),
        "consensus_distance": _cell([r.consensus_distance for r in runs], number_text),
        "seconds": _cell([r.seconds for r in runs], number_text),
        "steps": _cell([float(r.steps) for r in runs], count_text, spread=False),
        "steps_node": _range(runs),
        "bytes_node_mean": _cell([r.bytes_node_mean for r in runs], bytes_text, spread=False)
        if talks
        else silent,
        "bytes_busiest": _busiest(runs) if talks else silent,
        "bytes_busiest_unicast": _cell(
            [float(r.bytes_busiest_unicast) for r in runs], bytes_text, spread=False
        )
        if talks
        else silent,
        "staleness": _staleness(runs) if talks else silent,
    }
    return Row(title=title, summaries=runs, cells=cells)


def _cell(
    values: Sequence[float | None], form: Callable[[float], str], *, spread: bool = True
) -> Cell:
    known = [value for value in values if value is not None]
    if not known:
        return Cell(text=NOTHING)
    mean = statistics.fmean(known)
    if len(known) == 1:
        return Cell(text=form(mean), mean=mean)
    deviation = statistics.stdev(known) if all(map(isfinite, known)) else None
    text = form(mean)
    if spread and deviation is not None:
        decimals = len(text.partition(".")[2])
        scale = 100.0 if form is percent_text else 1.0
        text = f"{text}±{scale * deviation:.{decimals}f}"
    return Cell(text=text, mean=mean, spread=deviation)


def _reaching(times_s: Sequence[float | None], levels: Levels) -> Cell:
    """Seconds to the target, over the seeds that reached it."""
    if levels.target is None:
        return Cell(text=NOTHING)
    reached = _cell(times_s, number_text)
    missed = sum(time_s is None for time_s in times_s)
    if not missed:
        return reached
    if missed == len(times_s):
        return Cell(text="never")
    # A mean over the lucky seeds alone would flatter: it is shown, but wins nothing.
    return Cell(text=f"{reached.text} ({len(times_s) - missed}/{len(times_s)})")


def _range(runs: Sequence[RunSummary]) -> Cell:
    low = min(run.steps_node_min for run in runs)
    high = max(run.steps_node_max for run in runs)
    return Cell(text=count_text(low) if low == high else f"{count_text(low)}-{count_text(high)}")


def _busiest(runs: Sequence[RunSummary]) -> Cell:
    cell = _cell([float(run.bytes_busiest) for run in runs], bytes_text, spread=False)
    names = dict.fromkeys(run.busiest for run in runs)
    return Cell(
        text=f"{cell.text} {next(iter(names)) if len(names) == 1 else 'several'}",
        mean=cell.mean,
        spread=cell.spread,
    )


def _staleness(runs: Sequence[RunSummary]) -> Cell:
    largest, bound = max(run.staleness_max for run in runs), runs[0].staleness_bound
    of = f" of {number_text(bound)} {runs[0].staleness_unit}" if isfinite(bound) else ", no bound"
    return Cell(text=f"{number_text(largest)}{of}", mean=largest)


def _captions(levels: Levels, rows: Sequence[Row], *, seconds: float | None) -> tuple[str, ...]:
    """What the numbers mean, in sentences."""
    seeds = sorted({run.seed for row in rows for run in row.summaries})
    accurate = levels.measure == "accuracy"
    what = "Accuracy in percent" if accurate else "Loss (less is better)"
    virtual = all(run.driver == "simulation" for row in rows for run in row.summaries)
    kind = "virtual seconds" if virtual else "seconds"
    ran = f"All ran for {number_text(seconds)} {kind}. " if seconds is not None else ""
    lines = [
        f"{ran}{what} of the models that nodes serve, at the end; worst node: over the nodes"
        + ("; average model: of the mean of all nodes' x." if accurate else "."),
        f"Equal work: after {count_text(levels.work)} gradient steps of all nodes together.",
    ]
    if levels.target is not None:
        why = "as the experiment asks" if levels.target_given else "95 % of the best in this table"
        lines.append(
            f"Seconds to {percent_text(levels.target)} %: when the mean first was there, {why}."
        )
    if levels.node_bytes is not None and levels.busiest_bytes is not None:
        lines.append(
            f"Equal bytes: after {bytes_text(levels.node_bytes)} per node, and after"
            f" {bytes_text(levels.busiest_bytes)} at the busiest endpoint, in and out; unicast: if"
            " a broker did not fan out."
        )
    slow = {run.slow_classes for row in rows for run in row.summaries if run.slow_classes}
    if slow:
        listed = f" ({', '.join(map(str, next(iter(slow))))})" if len(slow) == 1 else ""
        lines.append(
            f"Slow nodes' classes{listed}: the mean over all nodes on the classes of which slow"
            " nodes hold more than half of the samples."
        )
    if levels.coarse:
        lines.append(
            "Runs are read in a straight line between evaluations, and some level lies before a"
            " run's second one: take a smaller evaluation.every_s for a sharper view."
        )
    if len(seeds) > 1:
        lines.append(f"Means and standard deviations over {len(seeds)} seeds.")
    fates = [fate for row in rows for run in row.summaries for fate in run.unfinished]
    if fates:
        more = f" and {len(fates) - 3} more" if len(fates) > 3 else ""  # noqa: PLR2004 - a sentence's worth
        lines.append(f"Not all nodes finished: {', '.join(fates[:3])}{more}.")
    return tuple(lines)
