"""What every optimizer here is: arithmetic on flat models, one `[p]` or many as rows `[n, p]`."""

from typing import Protocol

from torch import Tensor

from p2pfl.learning.adamw import AdamW
from p2pfl.learning.sgd import Sgd
from p2pfl.learning.task import Task


class Optimizer(Protocol):
    """An optimizer's constants; its state is the caller's, one flat float32 vector per model."""

    def state_size(self, dimension: int) -> int:
        """How many numbers the state of a model of so many numbers is; 0: there is none."""
        ...

    def step(self, x: Tensor, gradient: Tensor, state: Tensor | None, rate: float | Tensor) -> None:
        """One step of `x` and of its state, in place; `gradient` is consumed.

        `x` and `gradient` are `[..., p]`, `state` is `[..., state_size]`; all zeros: fresh. The
        learning rate is one number, or one for each row, `[n, 1]` float64.
        """
        ...


def make_optimizer(task: Task) -> Optimizer:
    """The optimizer that a task names."""
    if task.optimizer == "adamw":
        return AdamW(betas=task.betas, eps=task.eps, weight_decay=task.weight_decay)
    return Sgd(momentum=task.momentum, weight_decay=task.weight_decay)
