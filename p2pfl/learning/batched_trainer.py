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

from p2pfl.errors import ConfigError
from p2pfl.learning.batch_table import BatchTable
from p2pfl.learning.batches import Batches
from p2pfl.learning.flat import FlatModule
from p2pfl.learning.gradients import GradientTerms
from p2pfl.learning.loop_trainer import LoopTrainer
from p2pfl.learning.optimizer import make_optimizer
from p2pfl.learning.stacked_model import PlainGradient, StackedGradient, stacked_gradient
from p2pfl.learning.stacked_scoring import StackedScoring, numbers_per_sample
from p2pfl.learning.task import Task, scaled
from p2pfl.learning.threads import one_thread
from p2pfl.learning.trainer import Score, TrainJob, TrainOutcome
from p2pfl.types import Array, NodeId, Vector, frozen

_NUMBERS: Final = {"cpu": 1 << 21, "cuda": 1 << 28}
"""Numbers that one batch works on: on a CPU 8 MiB, what its cache holds (the MLP 64-32-10 is
fastest at 128 models, a fifth slower at 512), on CUDA 1 GiB."""

_ROWS_UNTRACED: Final = 16
"""Many small operations, one by one: there the cost of each outweighs the cache."""


class BatchedTrainer:
    """A `Trainer` that does many jobs at once; safe across threads. On a CPU it uses one core.

    A model that cannot be batched is trained by the loop (on the CPU); `notes` says why.

    Raises:
        ConfigError: The model does not take this data, cannot travel as float32, or there is no
            such device.
    """

    def __init__(self, task: Task, *, device: str = "cpu") -> None:
        self._task = task
        self._device = _device(device)
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
        self._gradient: StackedGradient | None = None if isinstance(gradient, str) else gradient
        self._scores_stacked = not refusal
        numbers = 3 * flat.dimension + 2 * task.batch_size * numbers_per_sample(
            flat.module, x[:1].cpu()
        )
        models = 1 << max(0, (self._limit() // numbers).bit_length() - 1)
        self._rows: int = (
            max(models, _ROWS_UNTRACED) if isinstance(gradient, PlainGradient) else models
        )
        """Models in one batch, a power of two."""
        self._room: dict[str, NDArray[np.float32]] = {}
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

    def train(self, jobs: Sequence[TrainJob]) -> list[TrainOutcome]:
        """Do all jobs, as many at once as is fastest; those of most steps first."""
        if self._gradient is None:
            with one_thread():
                return self._loop.train(jobs)
        order = sorted(range(len(jobs)), key=lambda i: -jobs[i].steps)
        outcomes: dict[int, TrainOutcome] = {}
        with self._lock, one_thread(), torch.no_grad():
            for begin in range(0, len(order), self._rows):
                chosen = order[begin : begin + self._rows]
                done = self._train_together([jobs[i] for i in chosen], self._gradient)
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

    def _train_together(
        self, jobs: Sequence[TrainJob], gradient: StackedGradient
    ) -> list[TrainOutcome]:
        """One batch of jobs, the longest first, so that those under way are the first rows."""
        width, batch = gradient.width(len(jobs)), self._task.batch_size
        stack = self._stack("start", [job.start for job in jobs], width)
        state = self._state(jobs, width)
        terms, rates = self._terms(jobs), self._rates(jobs)
        positions = self._positions(jobs, width)
        losses = torch.zeros(len(jobs), dtype=torch.float64, device=self._device)
        left = [job.steps for job in jobs]
        active = len(jobs)
        for step in range(jobs[0].steps):
            while left[active - 1] <= step:
                active -= 1
            width = gradient.width(active)
            chosen = positions[:width, step * batch : (step + 1) * batch].reshape(-1)
            x = scaled(self._x.index_select(0, chosen), self._task)
            y = self._y.index_select(0, chosen)
            gradients, found = gradient(
                stack[:width],
                x.view(width, batch, *x.shape[1:]),
                y.view(width, batch, *y.shape[1:]),
            )
            gradients = gradients[:active]
            moved = stack[:active, : self._trainable]
            terms.first(active).apply(gradients, moved)
            self._optimizer.step(
                moved,
                gradients,
                None if state is None else state[:active],
                rates if isinstance(rates, float) else rates[:active, step, None],
            )
            losses[:active] += found[:active]
        return self._outcomes(jobs, stack, state, losses)

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

    def _stack(self, what: str, vectors: Sequence[Vector], width: int) -> Tensor:
        """Vectors as rows `[width, d]`; the padding repeats the first."""
        size = len(vectors[0])
        room = self._room.get(what)
        if room is None or len(room) < width:
            room = self._room[what] = np.empty((max(width, self._rows), size), np.float32)
        stack = room[:width]
        np.concatenate(vectors, out=stack[: len(vectors)].reshape(-1))
        stack[len(vectors) :] = vectors[0]
        return torch.from_numpy(stack).to(self._device)

    def _state(self, jobs: Sequence[TrainJob], width: int) -> Tensor | None:
        size = self._optimizer.state_size(self.dimension)
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

    def _rates(self, jobs: Sequence[TrainJob]) -> float | Tensor:
        """The learning rate, or each job's at each of its steps, `[jobs, steps]` float64."""
        rate = self._task.learning_rate
        if rate.constant:
            return rate.base
        steps = range(max(job.steps for job in jobs))
        table = [[rate.at(job.first_step + step) for step in steps] for job in jobs]
        return torch.tensor(table, dtype=torch.float64, device=self._device)

    def _positions(self, jobs: Sequence[TrainJob], width: int) -> Tensor:
        """Where every step's samples lie, `[width, steps B]`; the padding repeats the first."""
        positions = self._table.positions(jobs)
        padding = np.repeat(positions[:1], width - len(jobs), axis=0)
        return torch.from_numpy(np.concatenate([positions, padding])).to(self._device)

    def _tensor(self, array: Array) -> Tensor:
        """On the device; torch warns of arrays that are read-only."""
        return torch.from_numpy(array if array.flags.writeable else array.copy()).to(self._device)

    def _limit(self) -> int:
        return _NUMBERS["cpu" if self._device.type == "cpu" else "cuda"]


def _device(name: str) -> torch.device:
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).strip().split("\n")[0]
        raise ConfigError(
            f"simulation.device is {name!r}, which this machine does not offer ({reason})"
        ) from error
    return device
