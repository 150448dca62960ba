"""The batched trainer: all jobs of a call at once, as rows of one array.

It agrees with the loop to 1e-5 relative per job, on the same minibatches. Same call, same bits;
which jobs share a call may change the last bits.
"""

import threading
from collections.abc import Sequence
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from p2pfl.algorithms.rows import ALONE, Spread
from p2pfl.learning.batch_table import BatchTable
from p2pfl.learning.batches import Batches
from p2pfl.learning.devices import usable_device
from p2pfl.learning.flat import FlatModule
from p2pfl.learning.gradients import GradientTerms
from p2pfl.learning.loop_trainer import LoopTrainer
from p2pfl.learning.optimizer import make_optimizer
from p2pfl.learning.stacked_model import PlainGradient, stacked_gradient
from p2pfl.learning.stacked_scoring import StackedScoring, numbers_per_sample
from p2pfl.learning.stacked_training import Stack, StackedTraining
from p2pfl.learning.task import Task, scaled
from p2pfl.learning.threads import one_thread
from p2pfl.learning.trainer import Score, TrainJob, TrainOutcome
from p2pfl.types import (
    ALIGNMENT,
    Array,
    NodeId,
    Positions,
    Rows,
    Vector,
    aligned_rows,
    frozen,
)

_NUMBERS: Final = {"cpu": 1 << 21, "cuda": 1 << 28}
"""Numbers that one batch works on: on a CPU 8 MiB, what its cache holds (the MLP 64-32-10 is
fastest at 128 models, a fifth slower at 512), on CUDA 1 GiB."""

_ROWS_UNTRACED: Final = 16
"""Many small operations, one by one: there the cost of each outweighs the cache."""


class BatchedTrainer:
    """A `Trainer` that does many jobs at once; safe across threads.

    On a CPU it uses one core, but for rows, whose batches may be spread over several. A model
    that cannot be batched is trained by the loop (on the CPU); `notes` says why.

    Raises:
        ConfigError: The model does not take this data, cannot travel as float32, or there is no
            such device.
    """

    def __init__(self, task: Task, *, device: str = "cpu") -> None:
        self._task = task
        self._device = usable_device(device)
        self._loop = LoopTrainer(task)
        self._optimizer = make_optimizer(task)
        self._table = BatchTable(
            Batches(seed=task.seed, batch_size=task.batch_size, shards=task.shards),
            nodes=tuple(task.shards),
            batch_size=task.batch_size,
        )
        self._lock = threading.Lock()
        flat = FlatModule(task.make_model())
        self._trainable = flat.trainable
        self._x, self._y = self._tensor(task.train_x), self._tensor(task.train_y)
        test_x, test_y = self._tensor(task.test_x), self._tensor(task.test_y)
        some = torch.arange(task.batch_size, device=self._device) % len(test_y)
        x, y = scaled(test_x[some], task), test_y[some]
        gradient = stacked_gradient(task, flat, x, y)
        self._scoring = StackedScoring(task, flat, test_x, test_y)
        refusal = self._scoring.trial(flat)
        self.notes = tuple(
            f"{what} one model at a time: {why}"
            for what, why in (
                ("trains", gradient if isinstance(gradient, str) else ""),
                ("evaluates", refusal),
            )
            if why
        )
        """What is slower than it might be, and why; empty if all is batched."""
        self._training: StackedTraining | None = None
        if not isinstance(gradient, str):
            self._training = StackedTraining(
                task,
                gradient,
                self._optimizer,
                x=self._x,
                y=self._y,
                trainable=flat.trainable,
            )
        self._scores_stacked = not refusal
        numbers = 3 * flat.dimension + 2 * task.batch_size * numbers_per_sample(
            flat.module, x[:1].cpu()
        )
        models = 1 << max(0, (self._limit() // numbers).bit_length() - 1)
        self._rows: int = (
            max(models, _ROWS_UNTRACED) if isinstance(gradient, PlainGradient) else models
        )
        """Models in one batch, a power of two."""
        self._room: dict[str, Rows] = {}
        """Where rows are stacked: fresh memory for each batch costs as much as the copy."""

    @property
    def dimension(self) -> int:
        """d, the length of every vector."""
        return self._loop.dimension

    @property
    def schema(self) -> str:
        """Hash of the parameters' names, shapes and dtypes."""
        return self._loop.schema

    @property
    def layout(self) -> tuple[tuple[str, tuple[int, ...]], ...]:
        """Names and shapes of the parts of a vector, in order."""
        return self._loop.layout

    def initial(self) -> Vector:
        """x0, a function of the seed alone."""
        return self._loop.initial()

    def samples(self, node: NodeId) -> int:
        """How many training samples this node holds."""
        return self._task.samples(node)

    def labels(self, node: NodeId) -> tuple[int, ...]:
        """How many of them are of each class."""
        return self._task.labels(node)

    @property
    def takes_rows(self) -> bool:
        """False where models are trained one at a time."""
        return self._training is not None

    @property
    def state_size(self) -> int:
        """How many numbers a node's optimizer state has; 0: there is none."""
        return self._optimizer.state_size(self.dimension)

    def train(self, jobs: Sequence[TrainJob]) -> list[TrainOutcome]:
        """Do all jobs, as many at once as is fastest; those of most steps first."""
        training = self._training
        if training is None:
            with one_thread():
                return self._loop.train(jobs)
        order = sorted(range(len(jobs)), key=lambda i: -jobs[i].steps)
        outcomes: dict[int, TrainOutcome] = {}
        with self._lock, one_thread(), torch.no_grad():
            for begin in range(0, len(order), self._rows):
                chosen = order[begin : begin + self._rows]
                done = self._train_together([jobs[i] for i in chosen], training)
                outcomes.update(zip(chosen, done, strict=True))
        return [outcomes[i] for i in range(len(jobs))]

    def evaluate(self, vectors: Sequence[Vector], nodes: Sequence[NodeId]) -> list[Score]:
        """Score each vector on its node's own test samples, or on all where it has none."""
        assert len(vectors) == len(nodes)
        own = self._task.test_shards
        shared = [i for i, node in enumerate(nodes) if self._scores_stacked and node not in own]
        rest = sorted({*range(len(nodes))} - {*shared})
        with one_thread():
            alone = self._loop.evaluate([vectors[i] for i in rest], [nodes[i] for i in rest])
            with self._lock:
                together = self._scoring.scores([vectors[i] for i in shared])
        scores = dict(zip([*rest, *shared], [*alone, *together], strict=True))
        return [scores[i] for i in range(len(nodes))]

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
        """See `RowTrainer`."""
        losses = np.empty(len(rows))
        begins = range(0, len(rows), self._rows)
        rates = self._rates([first_step], steps)

        def train_part(part: int) -> None:
            with torch.no_grad():
                for begin in begins[part :: spread.parts]:
                    some = slice(begin, begin + self._rows)
                    losses[some] = self._train_some(
                        rows[some],
                        nodes[some],
                        rates,
                        first_step=first_step,
                        steps=steps,
                        state=None if state is None else state[some],
                        correction=None if correction is None else correction[some],
                    )

        if self._device.type != "cpu":
            spread = ALONE
        with self._lock, one_thread():
            spread.run(train_part)
        return losses

    def _train_some(
        self,
        rows: Rows,
        nodes: Sequence[NodeId],
        rates: float | Tensor,
        *,
        first_step: int,
        steps: int,
        state: Rows | None,
        correction: Rows | None,
    ) -> NDArray[np.float64]:
        """One batch of rows, trained in place; their mean losses."""
        assert self._training is not None
        many = len(rows)
        width = self._training.width(many)
        models = self._in_place(rows, width)
        states = None if state is None else self._in_place(state, width)
        added = None
        if correction is not None:
            added = self._in_place(correction, many)[:, : self._trainable]
        first = np.full(many, first_step, np.int64)
        stack = Stack(
            models=models,
            steps=[steps] * many,
            positions=self._padded(self._table.lookup(nodes, first, steps), width),
            rates=rates,
            terms=GradientTerms(clip_norm=self._task.clip_norm, correction=added),
            state=states,
        )
        losses: NDArray[np.float64] = self._training.train(stack).cpu().numpy() / steps
        self._put_back(models, rows)
        if states is not None and state is not None:
            self._put_back(states, state)
        return losses

    def _train_together(
        self, jobs: Sequence[TrainJob], training: StackedTraining
    ) -> list[TrainOutcome]:
        """One batch of jobs, the longest first."""
        width = training.width(len(jobs))
        stack = Stack(
            models=self._stack("start", [job.start for job in jobs], width),
            steps=[job.steps for job in jobs],
            positions=self._padded(self._table.positions(jobs), width),
            rates=self._rates([job.first_step for job in jobs], jobs[0].steps),
            terms=self._terms(jobs),
            state=self._state(jobs, width),
        )
        losses = training.train(stack)
        return self._outcomes(jobs, stack.models, stack.state, losses)

    def _outcomes(
        self, jobs: Sequence[TrainJob], stack: Tensor, state: Tensor | None, losses: Tensor
    ) -> list[TrainOutcome]:
        # Rows are copied out: a view would keep its whole batch alive for as long as it lives.
        vectors = [frozen(row.copy()) for row in stack.cpu().numpy()[: len(jobs)]]
        states: list[Vector | None] = [None] * len(jobs)
        if state is not None:
            states = [frozen(row.copy()) for row in state.cpu().numpy()[: len(jobs)]]
        return [
            TrainOutcome(vector=vector, momentum=momentum, loss=loss / job.steps)
            for job, vector, momentum, loss in zip(
                jobs, vectors, states, losses.tolist(), strict=True
            )
        ]

    def _in_place(self, rows: Rows, width: int) -> Tensor:
        """Rows as a tensor in the same memory, or as `_stack` has them where that will not do."""
        fits = width == len(rows) and self._device.type == "cpu" and rows.flags.c_contiguous
        # Elsewhere in memory the same products have other last bits.
        if not fits or rows.ctypes.data % ALIGNMENT:
            stack = aligned_rows(width, rows.shape[1])
            stack[: len(rows)], stack[len(rows) :] = rows, rows[0]
            return torch.from_numpy(stack).to(self._device)
        return torch.from_numpy(rows)

    def _put_back(self, trained: Tensor, rows: Rows) -> None:
        """Copy trained rows to where they came from, if they are not there."""
        if trained.data_ptr() != rows.ctypes.data:
            rows[:] = trained.cpu().numpy()[: len(rows)]

    def _stack(self, what: str, vectors: Sequence[Vector], width: int) -> Tensor:
        """Vectors as rows `[width, d]`; the padding repeats the first."""
        size = len(vectors[0])
        room = self._room.get(what)
        if room is None or len(room) < width:
            room = self._room[what] = aligned_rows(max(width, self._rows), size)
        stack = room[:width]
        np.concatenate(vectors, out=stack[: len(vectors)].reshape(-1))
        stack[len(vectors) :] = vectors[0]
        return torch.from_numpy(stack).to(self._device)

    def _state(self, jobs: Sequence[TrainJob], width: int) -> Tensor | None:
        size = self.state_size
        if not size:
            return None
        fresh = np.zeros(size, np.float32)
        states = [fresh if job.momentum is None else job.momentum for job in jobs]
        return self._stack("state", states, width)

    def _terms(self, jobs: Sequence[TrainJob]) -> GradientTerms:
        """What is added to the gradients of each job; nothing where none of them asks for it."""
        correction = proximal = anchor = None
        if any(job.correction is not None for job in jobs):
            none = np.zeros(self.dimension, np.float32)
            rows = [none if job.correction is None else job.correction for job in jobs]
            correction = self._stack("correction", rows, len(rows))[:, : self._trainable]
        if any(job.proximal for job in jobs):
            mus = [[job.proximal] for job in jobs]
            proximal = torch.tensor(mus, dtype=torch.float32, device=self._device)
            starts = [job.start for job in jobs]
            anchor = self._stack("anchor", starts, len(starts))[:, : self._trainable]
        return GradientTerms(
            clip_norm=self._task.clip_norm, correction=correction, proximal=proximal, anchor=anchor
        )

    def _rates(self, first_steps: Sequence[int], steps: int) -> float | Tensor:
        """The learning rate, or each job's at each of its steps, `[jobs, steps]` float64."""
        rate = self._task.learning_rate
        if rate.constant:
            return rate.base
        table = [[rate.at(first + step) for step in range(steps)] for first in first_steps]
        return torch.tensor(table, dtype=torch.float64, device=self._device)

    def _padded(self, positions: Positions, width: int) -> Tensor:
        """One row per model; the padding repeats the first."""
        if width > len(positions):
            padding = np.repeat(positions[:1], width - len(positions), axis=0)
            positions = np.concatenate([positions, padding])
        return torch.from_numpy(positions).to(self._device)

    def _tensor(self, array: Array) -> Tensor:
        """On the device; torch warns of arrays that are read-only."""
        return torch.from_numpy(array if array.flags.writeable else array.copy()).to(self._device)

    def _limit(self) -> int:
        return _NUMBERS["cpu" if self._device.type == "cpu" else "cuda"]
