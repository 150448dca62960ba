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
        nodes = {job.node for job in jobs}
        if steps > self._steps or len(nodes) < len(jobs) or any(job.steps < steps for job in jobs):
            return self._one_by_one(jobs, steps)
        rows = np.array([self._row[job.node] for job in jobs])
        wanted = np.array([job.first_step for job in jobs])
        ahead = wanted - self._first[rows]
        for i in np.flatnonzero((ahead < 0) | (ahead + steps > self._steps)).tolist():
            first = jobs[i].first_step
            self._table[rows[i]] = self._batches.of(jobs[i].node).batches(first, self._steps)
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
