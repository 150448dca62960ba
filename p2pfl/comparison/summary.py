"""One run in the numbers by which runs are compared, and the levels at which they are equal."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from p2pfl.comparison.curves import Axis, Measure, along, measure_of, quality_at
from p2pfl.comparison.slow import accuracy_on, slow_classes_among
from p2pfl.results.record import NodeTotals, RunResult
from p2pfl.types import NodeId

TARGET_SHARE: Final = 0.95
"""Without `evaluation.target`, time to this share of the best final accuracy is told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Levels:
    """Where the runs are compared: what the one that did least had done at its end."""

    measure: Measure
    target: float | None
    """Accuracy whose first reaching is timed; None: the task has no accuracy."""
    target_given: bool
    seconds: float
    work: float
    """Gradient steps of all nodes; a run on a single machine does not set it."""
    node_bytes: float | None
    """None: no run sends models."""
    busiest_bytes: float | None
    coarse: bool
    """True if a level lies before some run's second evaluation: read off roughly."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSummary:
    """One run in numbers. Qualities are accuracies, or losses where the task has no accuracy."""

    label: str
    driver: Literal["simulation", "runtime"]
    seed: int
    learners: int
    seconds: float
    quality_mean: float | None
    quality_worst: float | None
    quality_average_model: float | None
    quality_slow_classes: float | None
    """Mean accuracy on the classes of which slow nodes hold most samples."""
    slow_classes: tuple[int, ...]
    consensus_distance: float | None
    time_to_target_s: float | None
    at_equal_seconds: float | None
    at_equal_work: float | None
    at_equal_node_bytes: float | None
    at_equal_busiest_bytes: float | None
    steps: int
    steps_node_min: int
    steps_node_max: int
    samples: int
    bytes_node_mean: float
    """Bytes in and out over all endpoints, by the number of learners."""
    bytes_busiest: int
    busiest: NodeId
    bytes_busiest_unicast: int
    """At the endpoint that would have most, if every receiver were sent its own copy."""
    bytes_total: int
    sends_models: bool
    staleness_max: float
    staleness_bound: float
    staleness_unit: str
    mixes: int
    left_out: int
    refused: int
    unfinished: tuple[str, ...]
    """Nodes with another end than `finished`, each `node: what befell it`."""


def levels_of(results: Sequence[RunResult]) -> Levels:
    """The levels that all runs side by side are held to."""
    measure: Measure = (
        "accuracy" if all(measure_of(each) == "accuracy" for each in results) else "loss"
    )
    given = next((t for each in results if (t := each.config.evaluation.target) is not None), None)
    best = max((each.final.accuracy_mean or 0.0 for each in results), default=0.0)
    many = [each for each in results if len(each.learners) > 1] or list(results)
    talking = [each for each in results if each.edges]
    work = min(along(each, "work")[-1] for each in many)
    node_bytes = min((along(each, "node_bytes")[-1] for each in talking), default=None)
    busiest_bytes = min((along(each, "busiest_bytes")[-1] for each in talking), default=None)
    return Levels(
        measure=measure,
        target=None
        if measure == "loss"
        else (round(TARGET_SHARE * best, 3) if given is None else given),
        target_given=given is not None,
        seconds=min(each.curve[-1].at_s for each in results),
        work=work,
        node_bytes=node_bytes,
        busiest_bytes=busiest_bytes,
        coarse=any(_early(each, "work", work) for each in many)
        or any(_early(each, "node_bytes", node_bytes) for each in talking)
        or any(_early(each, "busiest_bytes", busiest_bytes) for each in talking),
    )


def _early(result: RunResult, axis: Axis, place: float | None) -> bool:
    """True if this place lies before the run's second evaluation (the first is at its start)."""
    places = along(result, axis)
    return place is not None and len(places) > 1 and place < places[1]


def summary_of(result: RunResult, levels: Levels, among: Sequence[RunResult] = ()) -> RunSummary:
    """The run's numbers, at its end and at the common levels; `among` are all that are compared."""
    final, measure = result.final, levels.measure
    accurate = measure == "accuracy"
    learners, talks = result.learners, bool(result.edges)
    busiest, unicast = result.busiest, max(n.fan_out_bytes + n.in_bytes for n in result.nodes)
    total = sum(n.out_bytes + n.in_bytes for n in result.nodes)

    slow = slow_classes_among(result, among)
    on_slow = accuracy_on(result, slow) if accurate and slow else []

    def at_bytes(axis: Literal["node_bytes", "busiest_bytes"], place: float | None) -> float | None:
        if place is None or not talks:
            return None
        return quality_at(result, axis, place, measure=measure)

    return RunSummary(
        label=result.label,
        driver=result.driver,
        seed=result.seed,
        learners=len(learners),
        seconds=result.duration_s,
        quality_mean=final.accuracy_mean if accurate else final.loss_mean,
        quality_worst=final.accuracy_worst if accurate else _worst_loss(result),
        quality_average_model=final.accuracy_average_model if accurate else None,
        quality_slow_classes=on_slow[-1][1] if on_slow else None,
        slow_classes=slow,
        consensus_distance=final.consensus_distance,
        time_to_target_s=None if levels.target is None else result.time_to_s(levels.target),
        at_equal_seconds=quality_at(result, "seconds", levels.seconds, measure=measure),
        at_equal_work=quality_at(result, "work", levels.work, measure=measure),
        at_equal_node_bytes=at_bytes("node_bytes", levels.node_bytes),
        at_equal_busiest_bytes=at_bytes("busiest_bytes", levels.busiest_bytes),
        steps=sum(n.steps for n in learners),
        steps_node_min=min(n.steps for n in learners),
        steps_node_max=max(n.steps for n in learners),
        samples=sum(n.samples for n in learners),
        bytes_node_mean=total / len(learners),
        bytes_busiest=busiest.out_bytes + busiest.in_bytes,
        busiest=busiest.node,
        bytes_busiest_unicast=unicast,
        bytes_total=total,
        sends_models=talks,
        staleness_max=result.staleness_max,
        staleness_bound=result.staleness_bound,
        staleness_unit=result.staleness_unit,
        mixes=sum(n.mixes for n in result.nodes),
        left_out=sum(n.left_out for n in result.nodes),
        refused=sum(sum(n.refused.values()) for n in result.nodes),
        unfinished=tuple(_fate(n) for n in result.nodes if n.outcome != "finished"),
    )


def _fate(node: NodeTotals) -> str:
    return f"{node.node}: {node.outcome}"


def _worst_loss(result: RunResult) -> float | None:
    """The largest loss among the living nodes at the last evaluation."""
    last = {each.node: each for each in result.samples}
    return max((each.loss for each in last.values() if each.alive), default=None)
