"""Training of many nodes round after round, their models as rows of one array."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from p2pfl.learning.trainer import Trainer, TrainJob
from p2pfl.types import NodeId, Positions, Rows, Vector


class RowTraining:
    """Trains rows in place, and keeps each node's optimizer state from round to round."""

    def __init__(
        self, trainer: Trainer, nodes: Sequence[NodeId], local_steps: Sequence[int]
    ) -> None:
        self._trainer = trainer
        self._nodes = tuple(nodes)
        self._local_steps = tuple(local_steps)
        self._momentum: list[Vector | None] = [None] * len(nodes)

    def train(
        self, rows: Rows, which: Positions, version: int, correction: Rows | None = None
    ) -> NDArray[np.float64]:
        """Train the rows of these nodes from their given version; their mean losses, in order.

        Other rows stay. A node's calls come with growing versions, each one above the last.
        """
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
