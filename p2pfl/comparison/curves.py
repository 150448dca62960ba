"""What a run had reached at a given time, work or traffic: its curve read between two points."""

from collections.abc import Callable, Mapping
from typing import Final, Literal

import numpy as np

from p2pfl.results.record import NetworkSample, RunResult

Axis = Literal["seconds", "work", "node_bytes", "busiest_bytes"]

Measure = Literal["accuracy", "loss"]
"""Accuracy where the task has one (more is better), else loss (less is better)."""

_AXES: Final[Mapping[Axis, Callable[[NetworkSample, int], float]]] = {
    "seconds": lambda point, _: point.at_s,
    "work": lambda point, _: float(point.steps),
    "node_bytes": lambda point, learners: point.bytes_total / learners,
    "busiest_bytes": lambda point, _: float(point.bytes_busiest),
}


def measure_of(result: RunResult) -> Measure:
    """What this run is judged by."""
    return "loss" if result.final.accuracy_mean is None else "accuracy"


def mean_quality(point: NetworkSample, measure: Measure) -> float | None:
    """The nodes' mean at one time."""
    return point.accuracy_mean if measure == "accuracy" else point.loss_mean


def along(result: RunResult, axis: Axis) -> list[float]:
    """Where the curve's points lie on an axis, never falling: seconds, gradient steps or bytes.

    `node_bytes` are all endpoints' bytes over the number of learners, so a server's count too.
    """
    learners = max(1, len(result.learners))
    places = [_AXES[axis](point, learners) for point in result.curve]
    return [float(place) for place in np.maximum.accumulate(places)]


def quality_at(result: RunResult, axis: Axis, place: float, *, measure: Measure) -> float | None:
    """The mean quality when the run was at `place`, linear between evaluations; None: not reached.

    Rounding aside, the run's own end counts as reached.
    """
    known = [
        (where, quality)
        for where, point in zip(along(result, axis), result.curve, strict=True)
        if (quality := mean_quality(point, measure)) is not None
    ]
    if not known or place > known[-1][0] * (1 + 1e-9):
        return None
    places, qualities = zip(*known, strict=True)
    return float(np.interp(place, places, qualities))
