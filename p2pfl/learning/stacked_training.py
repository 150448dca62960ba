"""Local training of many models at once, as rows of one tensor."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from p2pfl.learning.gradients import GradientTerms
from p2pfl.learning.optimizer import Optimizer
from p2pfl.learning.stacked_model import StackedGradient
from p2pfl.learning.task import Task, scaled


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Stack:
    """Models to train at once, those of most steps first, so that those under way are first."""

    models: Tensor
    """`[width, d]`, trained in place; behind as many as `steps` has, it is padding."""
    steps: Sequence[int]
    """Of each model, descending."""
    positions: Tensor
    """Where every step's samples lie, `[width, steps B]`."""
    rates: float | Tensor
    """The learning rate, or that of each model at each of its steps, `[n or 1, steps]` float64."""
    terms: GradientTerms
    state: Tensor | None = None
    """The optimizer's, `[width, state_size]`, changed in place."""


class StackedTraining:
    """What all stacks of a task share. Nothing of it changes while it trains."""

    def __init__(
        self,
        task: Task,
        gradient: StackedGradient,
        optimizer: Optimizer,
        *,
        x: Tensor,
        y: Tensor,
        trainable: int,
    ) -> None:
        self._task = task
        self.gradient = gradient
        self._optimizer = optimizer
        self._x, self._y = x, y
        self._trainable = trainable
        """Numbers of a model that are trained; the rest of its row stays."""

    def width(self, models: int) -> int:
        """How many rows a stack of so many models has."""
        return self.gradient.width(models)

    def train(self, stack: Stack) -> Tensor:
        """Train the models; each one's loss, summed over its steps, `[n]` float64."""
        batch, steps = self._task.batch_size, stack.steps
        losses = torch.zeros(len(steps), dtype=torch.float64, device=stack.models.device)
        active = len(steps)
        for step in range(steps[0]):
            while steps[active - 1] <= step:
                active -= 1
            width = self.width(active)
            chosen = stack.positions[:width, step * batch : (step + 1) * batch].reshape(-1)
            x = scaled(self._x.index_select(0, chosen), self._task)
            y = self._y.index_select(0, chosen)
            gradients, found = self.gradient(
                stack.models[:width],
                x.view(width, batch, *x.shape[1:]),
                y.view(width, batch, *y.shape[1:]),
            )
            gradients = gradients[:active]
            moved = stack.models[:active, : self._trainable]
            stack.terms.first(active).apply(gradients, moved)
            rates = stack.rates
            self._optimizer.step(
                moved,
                gradients,
                None if stack.state is None else stack.state[:active],
                rates if isinstance(rates, float) else rates[:active, step, None],
            )
            losses[:active] += found[:active]
        return losses
