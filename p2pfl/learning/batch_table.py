"""The minibatches of many nodes, looked up together."""

from collections.abc import Sequence
from typing import Final

import numpy as np

from p2pfl.learning.batches import Batches
from p2pfl.learning.permutations import Indices
from p2pfl.learning.trainer import TrainJob
from p2pfl.types import NodeId

_SAMPLES: Final = 256
"""Positions that are kept per node: to draw so many at once costs little more than to draw one."""


class BatchTable:
    """Positions of each job's samples; the same as the nodes' own streams give, one by one."""

    def __init__(self, batches: Batches, *, nodes: Sequence[NodeId], batch_size: int) -> None:
        self._batches = batches
        self._batch_size = batch_size
        self._row = {node: i for i, node in enumerate(nodes)}
        self._steps = max(1, _SAMPLES // batch_size)
        """Steps that one row of the table holds."""
        self._table: Indices = np.zeros((len(nodes), self._steps * batch_size), np.int64)
        self._first: Indices = np.full(len(nodes), -self._steps, np.int64)
        """The first step that each row holds."""

    def positions(self, jobs: Sequence[TrainJob]) -> Indices:
        """Where every step's samples lie, `[jobs, steps B]`; 0 where a job has no such step."""
        steps = max(job.steps for job in jobs)
        nodes = dict.fromkeys(job.node for job in jobs)
        if steps > self._steps or len(nodes) < len(jobs) or any(job.steps < steps for job in jobs):
            return self._one_by_one(jobs, steps)
        return self._look_up([*nodes], np.array([job.first_step for job in jobs]), steps)

    def lookup(self, nodes: Sequence[NodeId], first_steps: Indices, steps: int) -> Indices:
        """The same for different nodes that take so many steps each, `[nodes, steps B]`."""
        if steps > self._steps:
            jobs = zip(nodes, first_steps.tolist(), strict=True)
            return np.stack([self._batches.of(node).batches(first, steps) for node, first in jobs])
        return self._look_up(nodes, first_steps, steps)

    def _look_up(self, nodes: Sequence[NodeId], wanted: Indices, steps: int) -> Indices:
        rows = np.array([self._row[node] for node in nodes])
        ahead = wanted - self._first[rows]
        for i in np.flatnonzero((ahead < 0) | (ahead + steps > self._steps)).tolist():
            first = int(wanted[i])
            self._table[rows[i]] = self._batches.of(nodes[i]).batches(first, self._steps)
            self._first[rows[i]] = first
            ahead[i] = 0
        begin = rows * self._table.shape[1] + ahead * self._batch_size
        found: Indices = self._table.reshape(-1)[
            begin[:, None] + np.arange(steps * self._batch_size)
        ]
        return found

    def _one_by_one(self, jobs: Sequence[TrainJob], steps: int) -> Indices:
        positions: Indices = np.zeros((len(jobs), steps * self._batch_size), np.int64)
        for row, job in zip(positions, jobs, strict=True):
            drawn = self._batches.of(job.node).batches(job.first_step, job.steps)
            row[: len(drawn)] = drawn
        return positions
