"""Training as the drivers see it: a pure function from jobs to outcomes, many at a time.

The simulator hands over all trainings that are under way at once, a real node one. The plain loop
and the batched trainer stand behind this one interface.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from p2pfl.algorithms.rows import ALONE, Spread
from p2pfl.types import NodeId, Rows, Vector


class TrainJob(NamedTuple):
    """One node's local training: H steps from `start`, with its optimizer's state so far."""

    node: NodeId
    start: Vector
    first_step: int
    """Counter of the first minibatch; batches depend on (seed, node, step) alone."""
    steps: int
    momentum: Vector | None
    """The optimizer's state as its last outcome gave it (SGD: velocities `[d]`; AdamW:
    moments and a count, `[2 d + 1]`); None: fresh."""
    correction: Vector | None = None
    """Added to every gradient, `[d]`, after clipping."""
    proximal: float = 0.0
    """mu: every gradient at x gets mu (x - start) too, which keeps x near (FedProx)."""


class TrainOutcome(NamedTuple):
    """Where training ended. Arrays are new, read-only, and share nothing with the job's."""

    vector: Vector
    momentum: Vector | None
    loss: float
    """Mean training loss over the steps, without the proximal term."""


@dataclass(frozen=True, slots=True)
class Score:
    """How good a model is on the evaluation data.

    `accuracy` is None where the task has none (quadratics); `loss` is the mean loss, for
    quadratics the distance to the optimum of the mean objective.
    """

    loss: float
    accuracy: float | None = None
    per_class: tuple[float, ...] = ()


class Trainer(Protocol):
    """A task made ready: models, data per node and an optimizer, behind flat vectors `[d]`."""

    @property
    def dimension(self) -> int:
        """d, the length of every vector."""
        ...

    @property
    def schema(self) -> str:
        """Hash (16 hex digits) of the parameters' names, shapes and dtypes."""
        ...

    @property
    def notes(self) -> tuple[str, ...]:
        """What is slower than it might be, and why; empty if nothing is."""
        ...

    def initial(self) -> Vector:
        """x0, the same at every node: a function of the experiment's seed alone."""
        ...

    def samples(self, node: NodeId) -> int:
        """How many training samples this node holds."""
        ...

    def labels(self, node: NodeId) -> tuple[int, ...]:
        """How many of them are of each class; empty: there are no classes, or no samples."""
        ...

    def train(self, jobs: Sequence[TrainJob]) -> list[TrainOutcome]:
        """Do all jobs; a pure function of them (and of the seed, by counter)."""
        ...

    def evaluate(self, vectors: Sequence[Vector], nodes: Sequence[NodeId]) -> list[Score]:
        """Score each vector on the evaluation data of its node (shared for built-in sets)."""
        ...


@runtime_checkable
class RowTrainer(Trainer, Protocol):
    """A trainer that also trains models where they lie, as rows of one array."""

    @property
    def takes_rows(self) -> bool:
        """False: this task's models cannot be trained so."""
        ...

    @property
    def state_size(self) -> int:
        """How many numbers a node's optimizer state has; 0: there is none."""
        ...

    def train_rows(
        self,
        rows: Rows,
        nodes: Sequence[NodeId],
        *,
        first_step: int,
        steps: int,
        state: Rows | None = None,
        correction: Rows | None = None,
        spread: Spread = ALONE,
    ) -> NDArray[np.float64]:
        """Train the model `[n, d]` of each of these different nodes in place; their mean losses.

        As `train` does with one job for each. `state` `[n, state_size]` changes in place too;
        all zeros: fresh. The result does not depend on `spread`.
        """
        ...
