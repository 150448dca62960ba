"""Training of many nodes round after round, their models as rows of one array."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from p2pfl.algorithms.rows import ALONE, Spread
from p2pfl.learning.trainer import RowTrainer, Trainer, TrainJob
from p2pfl.types import NodeId, Positions, Rows, Vector, aligned_rows


class RowTraining:
    """Trains rows in place, and keeps each node's optimizer state from round to round."""

    def __init__(
        self, trainer: Trainer, nodes: Sequence[NodeId], local_steps: Sequence[int]
    ) -> None:
        self._trainer = trainer
        self._nodes = tuple(nodes)
        self._local_steps = tuple(local_steps)
        self._spread = ALONE
        self._momentum: list[Vector | None] = [None] * len(nodes)
        self._rows: RowTrainer | None = None
        self._states: Rows | None = None
        even = len({*local_steps}) == 1
        if even and isinstance(trainer, RowTrainer) and trainer.takes_rows:
            self._rows = trainer
            if trainer.state_size:
                self._states = aligned_rows(len(nodes), trainer.state_size)
                self._states.fill(0.0)

    @contextmanager
    def spreading(self) -> Iterator[Spread]:
        """In here, training and what else is spread like it use as many threads as torch has."""
        if self._rows is None:
            yield ALONE
            return
        from p2pfl.learning.threads import spread_over_threads

        with spread_over_threads() as self._spread:
            yield self._spread
        self._spread = ALONE

    def train(
        self, rows: Rows, which: Positions, version: int, correction: Rows | None = None
    ) -> NDArray[np.float64]:
        """Train the rows of these nodes from their given version; their mean losses, in order.

        Other rows stay. A node's calls come with growing versions, each one above the last.
        """
        if self._rows is None:
            return self._train_jobs(rows, which, version, correction)
        if len(which) == len(rows):
            return self._train_rows(
                self._rows, rows, self._nodes, version, self._states, correction
            )
        some = rows[which]
        states = None if self._states is None else self._states[which]
        losses = self._train_rows(
            self._rows,
            some,
            [self._nodes[i] for i in which.tolist()],
            version,
            states,
            None if correction is None else correction[which],
        )
        rows[which] = some
        if self._states is not None:
            self._states[which] = states
        return losses

    def _train_rows(
        self,
        trainer: RowTrainer,
        rows: Rows,
        nodes: Sequence[NodeId],
        version: int,
        state: Rows | None,
        correction: Rows | None,
    ) -> NDArray[np.float64]:
        steps = self._local_steps[0]
        return trainer.train_rows(
            rows,
            nodes,
            first_step=version * steps,
            steps=steps,
            state=state,
            correction=correction,
            spread=self._spread,
        )

    def _train_jobs(
        self, rows: Rows, which: Positions, version: int, correction: Rows | None
    ) -> NDArray[np.float64]:
        chosen = which.tolist()
        jobs = [
            TrainJob(
                node=self._nodes[i],
                start=rows[i],
                first_step=version * self._local_steps[i],
                steps=self._local_steps[i],
                momentum=self._momentum[i],
                correction=None if correction is None else correction[i],
            )
            for i in chosen
        ]
        outcomes = self._trainer.train(jobs)
        for i, outcome in zip(chosen, outcomes, strict=True):
            rows[i] = outcome.vector
            self._momentum[i] = outcome.momentum
        return np.array([outcome.loss for outcome in outcomes])
