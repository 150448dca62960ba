"""From runs to what charts show: curves with their spread, classes, and who is slow."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from p2pfl.comparison.curves import Axis, Measure, along, mean_quality
from p2pfl.comparison.slow import accuracy_on, slow_classes_among
from p2pfl.comparison.titles import Group
from p2pfl.results.record import NodeSample, RunResult
from p2pfl.types import NodeId

Numbers = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """One row of the comparison over time: mean over seeds, nan where nothing is known."""

    title: str
    colour: int
    at: Numbers
    mean: Numbers
    low: Numbers
    """The worst node: for losses the largest."""
    high: Numbers


def quality_curve(group: Group, colour: int, measure: Measure) -> Curve:
    """Mean, worst and best node at each evaluation, averaged over the group's seeds."""
    runs = [_with_spread(run, measure) for run in group.runs]
    at = runs[0][0]
    at = at[at <= min(run[0][-1] for run in runs) + 1e-9]
    mean, low, high = (
        np.mean([np.interp(at, run[0], run[part]) for run in runs], axis=0) for part in (1, 2, 3)
    )
    return Curve(group.title, colour, at, mean, low, high)


def mean_curve(
    group: Group, colour: int, *, axis: Axis, measure: Measure | None = None
) -> Curve | None:
    """Mean quality (or, without `measure`, consensus distance) along an axis; None: unknown."""
    runs = []
    for run in group.runs:
        places = along(run, axis)
        values = [
            point.consensus_distance if measure is None else mean_quality(point, measure)
            for point in run.curve
        ]
        known = [(p, v) for p, v in zip(places, values, strict=True) if v is not None]
        if not known:
            return None
        runs.append(np.array(known, dtype=np.float64).T)
    at = runs[0][0]
    at = at[at <= min(run[0][-1] for run in runs) + 1e-9]
    mean = np.mean([np.interp(at, run[0], run[1]) for run in runs], axis=0)
    return Curve(group.title, colour, at, mean, mean, mean)


def last_samples(run: RunResult) -> dict[NodeId, NodeSample]:
    """Each node's last evaluation, of the living ones."""
    last = {sample.node: sample for sample in run.samples}
    return {node: sample for node, sample in last.items() if sample.alive}


def class_accuracy(group: Group) -> Numbers | None:
    """Per class the mean accuracy over nodes and seeds at the end; None: the task has none.

    A class that no evaluation sample is of has no number (nan).
    """
    rows = [
        sample.per_class
        for run in group.runs
        for sample in last_samples(run).values()
        if sample.per_class
    ]
    if not rows:
        return None
    values = np.array(rows, dtype=np.float64)
    known = np.isfinite(values)
    sums, counts = np.where(known, values, 0.0).sum(axis=0), known.sum(axis=0)
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)


def slow_class_curve(group: Group, colour: int, runs: Sequence[RunResult]) -> Curve | None:
    """Mean accuracy on the slow nodes' classes, over time; None: there are no such classes.

    `runs` are all on the page.
    """
    found = [accuracy_on(run, slow_classes_among(run, runs)) for run in group.runs]
    if not all(found):
        return None
    known = [np.array(points, dtype=np.float64).T for points in found]
    at = known[0][0]
    at = at[at <= min(points[0][-1] for points in known) + 1e-9]
    mean = np.mean([np.interp(at, *points) for points in known], axis=0)
    return Curve(group.title, colour, at, mean, mean, mean)


def _with_spread(run: RunResult, measure: Measure) -> tuple[Numbers, Numbers, Numbers, Numbers]:
    """Times, mean, worst and best: of what each node had last shown at that time."""
    samples = sorted(run.samples, key=lambda sample: sample.at_s)
    latest: dict[NodeId, float | None] = {}
    rows = []
    position = 0
    for point in run.curve:
        while position < len(samples) and samples[position].at_s <= point.at_s + 1e-9:
            sample = samples[position]
            latest[sample.node] = _shown(sample, measure)
            position += 1
        mean = mean_quality(point, measure)
        values = _sorted(latest.values())
        # Real nodes show their first numbers a moment after the start.
        unknown = np.nan if mean is None else mean
        worst, best = (values[0], values[-1]) if values else (unknown, unknown)
        if measure == "loss":
            worst, best = best, worst
        rows.append((point.at_s, unknown, worst, best))
    at, mean_, low, high = np.array(rows, dtype=np.float64).T
    return at, mean_, low, high


def _shown(sample: NodeSample, measure: Measure) -> float | None:
    if not sample.alive:
        return None
    return sample.accuracy if measure == "accuracy" else sample.loss


def _sorted(values: Iterable[float | None]) -> list[float]:
    return sorted(v for v in values if v is not None and np.isfinite(v))
