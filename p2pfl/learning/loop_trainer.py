"""The plain trainer: one job after the other, one step after the other. The reference."""

import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Final

import numpy as np
import torch
from torch import Tensor

from p2pfl.draws import draw_bits
from p2pfl.errors import ConfigError
from p2pfl.learning import threads
from p2pfl.learning.batches import Batches, BatchStream
from p2pfl.learning.devices import drawn_from, usable_device
from p2pfl.learning.flat import CPU, FlatModule
from p2pfl.learning.gradients import GradientTerms
from p2pfl.learning.objective import LossOfOutputs, Objective
from p2pfl.learning.optimizer import make_optimizer
from p2pfl.learning.scoring import Tally
from p2pfl.learning.task import Task, scaled
from p2pfl.learning.trainer import Score, TrainJob, TrainOutcome
from p2pfl.types import Array, NodeId, Vector, frozen

_EVALUATION_BATCH: Final = 512
"""Samples per forward pass: past the point where more is faster, and 50 MB for the CNN."""


class LoopTrainer:
    """A `Trainer` on one module. Same job, same bits, whatever ran before; safe across threads.

    Raises:
        ConfigError: The model does not take this data, or cannot travel as float32.
    """

    def __init__(
        self,
        task: Task,
        *,
        device: str = CPU,
        one_thread: bool = False,
        notes: tuple[str, ...] = (),
    ) -> None:
        """Real nodes use as many threads as torch is told to; the simulator needs one.

        `notes` says why the loop, where the batched trainer was asked for. The data lies on the
        device, too.
        """
        self._device = usable_device(device)
        self._task = task
        self._notes = notes
        self._threads: Callable[[], AbstractContextManager[None]] = (
            threads.one_thread if one_thread else nullcontext
        )
        self._flat = FlatModule(task.make_model(), device=device)
        self._objective: Objective = task.objective or LossOfOutputs(task.loss)
        self._initial = frozen(self._flat.state())
        self._optimizer = make_optimizer(task)
        self._x, self._y = self._tensor(task.train_x), self._tensor(task.train_y)
        self._test_x, self._test_y = self._tensor(task.test_x), self._tensor(task.test_y)
        self._batches = Batches(seed=task.seed, batch_size=task.batch_size, shards=task.shards)
        self._lock = threading.Lock()
        """Training and evaluation share one module; real nodes call from threads."""
        self._try_once()

    @property
    def dimension(self) -> int:
        """d, the length of every vector."""
        return self._flat.dimension

    @property
    def schema(self) -> str:
        """Hash of the parameters' names, shapes and dtypes."""
        return self._flat.schema

    @property
    def notes(self) -> tuple[str, ...]:
        """Nothing where one step after the other is what was asked for."""
        return self._notes

    @property
    def layout(self) -> tuple[tuple[str, tuple[int, ...]], ...]:
        """Names and shapes of the parts of a vector, in order."""
        return self._flat.layout

    def initial(self) -> Vector:
        """x0, a function of the seed alone."""
        return self._initial

    def samples(self, node: NodeId) -> int:
        """How many training samples this node holds."""
        return self._task.samples(node)

    def labels(self, node: NodeId) -> tuple[int, ...]:
        """How many of them are of each class."""
        return self._task.labels(node)

    def train(self, jobs: Sequence[TrainJob]) -> list[TrainOutcome]:
        """Do all jobs, in order."""
        with self._lock, self._threads():
            self._set_training(on=True)
            return [self._train_one(job) for job in jobs]

    def evaluate(self, vectors: Sequence[Vector], nodes: Sequence[NodeId]) -> list[Score]:
        """Score each vector on its node's own test samples, or on all where it has none."""
        everything = slice(0, len(self._test_y))
        with self._lock, self._threads(), torch.inference_mode():
            self._set_training(on=False)
            return [
                self._score(vector, self._task.test_shards.get(node, everything))
                for vector, node in zip(vectors, nodes, strict=True)
            ]

    def _train_one(self, job: TrainJob) -> TrainOutcome:
        assert job.steps >= 1
        flat = self._flat
        flat.load(job.start)
        parameters = flat.vector[: flat.trainable]
        numbers = self._state(job.momentum)
        terms = self._terms(job)
        total = 0.0
        for step in range(job.first_step, job.first_step + job.steps):
            total += self._gradient(job.node, step)
            terms.apply(flat.gradient, parameters)
            rate = self._task.learning_rate.at(step)
            self._optimizer.step(parameters, flat.gradient, numbers, rate)
        return TrainOutcome(
            vector=frozen(flat.state()),
            momentum=None if numbers is None else frozen(numbers.cpu().numpy()),
            loss=total / job.steps,
        )

    def _terms(self, job: TrainJob) -> GradientTerms:
        # Copies: torch warns of read-only arrays, and a job's arrays are read-only.
        size = self._flat.trainable
        added, mu = job.correction, job.proximal
        return GradientTerms(
            clip_norm=self._task.clip_norm,
            correction=None if added is None else self._there(added[:size].copy()),
            proximal=torch.tensor([mu], dtype=torch.float32, device=self._device) if mu else None,
            anchor=self._there(job.start[:size].copy()) if mu else None,
        )

    def _gradient(self, node: NodeId, step: int) -> float:
        """Leave the gradient of one minibatch in the flat buffer, and return the loss."""
        if self._flat.draws:
            seed = draw_bits(self._task.seed, node, "dropout", step)
            with drawn_from(seed, self._device):
                return self._backward(node, step)
        return self._backward(node, step)

    def _backward(self, node: NodeId, step: int) -> float:
        rows = self._there(self._stream(node).batch(step))
        x, y = self._scaled(self._x.index_select(0, rows)), self._y.index_select(0, rows)
        loss = self._objective.loss(self._flat.module, x, y, step)
        self._flat.gradient.zero_()
        loss.backward()  # type: ignore[no-untyped-call] # torch ships it unannotated
        return loss.item()

    def _stream(self, node: NodeId) -> BatchStream:
        return self._batches.of(node)

    def _state(self, momentum: Vector | None) -> Tensor | None:
        """The optimizer's state, as a copy; None: there is none."""
        size = self._optimizer.state_size(self.dimension)
        if not size:
            return None
        return self._there(np.zeros(size, np.float32) if momentum is None else momentum.copy())

    def _score(self, vector: Vector, where: slice) -> Score:
        self._flat.load(vector)
        tally = Tally(self._task.classes)
        for start in range(where.start, where.stop, _EVALUATION_BATCH):
            chunk = slice(start, min(start + _EVALUATION_BATCH, where.stop))
            labels = self._test_y[chunk]
            x = self._scaled(self._test_x[chunk])
            outputs, loss = self._objective.score(self._flat.module, x, labels)
            tally.add(outputs.cpu(), labels.cpu(), loss.item())
        return tally.score()

    def _scaled(self, x: Tensor) -> Tensor:
        return scaled(x, self._task)

    def _set_training(self, *, on: bool) -> None:
        """Switch only what is to be switched: torch walks through all modules each time."""
        if self._flat.module.training != on:
            self._flat.module.train(on)

    def _tensor(self, array: Array) -> Tensor:
        """On the device; the same memory where torch allows it: it warns of read-only arrays."""
        return self._there(array if array.flags.writeable else array.copy())

    def _there(self, array: Array) -> Tensor:
        return torch.from_numpy(array).to(self._device)

    def _try_once(self) -> None:
        """Refuse a model that does not take the data now, in one line, not in the first step."""
        task = self._task
        with torch.inference_mode():
            self._set_training(on=False)
            x, y = self._scaled(self._test_x[:2]), self._test_y[:2]
            try:
                outputs, _ = self._objective.score(self._flat.module, x, y)
            except (RuntimeError, ValueError, LookupError, TypeError, AttributeError) as error:
                reason = str(error).strip().split("\n")[0]
                raise ConfigError(
                    f"the model does not fit the data of {task.name}: samples are "
                    f"{tuple(x.shape[1:])} {x.dtype}, labels {y.dtype}: {reason}"
                ) from error
        if task.classes and outputs.shape[1] < task.classes:
            raise ConfigError(
                f"the model has {outputs.shape[1]} outputs, but {task.name} has "
                f"{task.classes} classes"
            )
