"""Who is slow, what only the slow know, and how well that is learned."""

from collections.abc import Sequence
from typing import Final

import numpy as np

from p2pfl.results.record import RunResult
from p2pfl.types import NodeId

_SLOW_FACTOR: Final = 1.5
"""A node whose steps take as much longer is called slow."""

_MOST: Final = 0.5


def slow_nodes(run: RunResult) -> frozenset[NodeId]:
    """Nodes that the experiment slows down; if it names none, those that did far fewer steps."""
    named = {NodeId(n) for n, factor in run.config.compute.slowdown.items() if factor > 1.0}
    present = {node.node for node in run.learners}
    if named:
        return frozenset(named & present)
    # A node that died early did little too, and was not slow.
    whole = [node for node in run.learners if node.outcome == "finished"]
    median = float(np.median([node.steps for node in whole])) if whole else 0.0
    return frozenset(node.node for node in whole if node.steps * _SLOW_FACTOR < median)


def slow_classes(run: RunResult) -> tuple[int, ...]:
    """The classes of which slow nodes hold more than half of all training samples, ascending.

    None if it is not known who holds what, if nobody is slow, or if it is so of every class.
    """
    slow = slow_nodes(run)
    labels = {node.node: node.labels for node in run.learners}
    if not slow or not all(labels.values()):
        return ()
    held = np.array(list(labels.values()), dtype=np.float64)
    by_slow = held[[node in slow for node in labels]].sum(axis=0)
    found = tuple(np.flatnonzero(by_slow > _MOST * held.sum(axis=0)).tolist())
    return () if len(found) == held.shape[1] else found


def slow_classes_among(run: RunResult, runs: Sequence[RunResult]) -> tuple[int, ...]:
    """Those of the run or, where it has none, of another one on the same data and seed.

    So one machine with all the data is measured on the classes of those that share them.
    """
    alike = [
        each
        for each in runs
        if (each.seed, each.config.data, each.config.partition)
        == (run.seed, run.config.data, run.config.partition)
    ]
    return next((found for each in (run, *alike) if (found := slow_classes(each))), ())


def accuracy_on(run: RunResult, classes: Sequence[int]) -> list[tuple[float, float]]:
    """(seconds, accuracy) at each evaluation: the mean over living nodes and these classes.

    Classes that no evaluation sample is of, and times at which nobody was measured, are left out.
    """
    by_time: dict[float, list[float]] = {}
    for sample in run.samples:
        if sample.alive and sample.per_class:
            by_time.setdefault(sample.at_s, []).extend(sample.per_class[i] for i in classes)
    known = {at_s: [v for v in values if np.isfinite(v)] for at_s, values in by_time.items()}
    return [(at_s, float(np.mean(values))) for at_s, values in sorted(known.items()) if values]
