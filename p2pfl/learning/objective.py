"""How a module's loss comes about: from its outputs, or by a way of the module's own."""

from typing import NamedTuple, Protocol

from torch import Tensor, nn

from p2pfl.learning.task import Loss


class Scored(NamedTuple):
    """What a module says of some samples."""

    outputs: Tensor
    """`[B, C, ...]`; the largest along C is the class."""
    loss: Tensor
    """The mean over the samples."""


class Objective(Protocol):
    """What is minimised, as a function of a module and a minibatch. It moves no parameter."""

    def loss(self, module: nn.Module, x: Tensor, y: Tensor, step: int) -> Tensor:
        """The mean loss of samples `[B, ...]` and labels, to be differentiated.

        `step` is the node's own counter of gradient steps.
        """
        ...

    def score(self, module: nn.Module, x: Tensor, y: Tensor) -> Scored:
        """Outputs and mean loss in evaluation mode."""
        ...


class LossOfOutputs:
    """loss(module(x), y). See `Objective`."""

    def __init__(self, loss: Loss) -> None:
        self._loss = loss

    def loss(self, module: nn.Module, x: Tensor, y: Tensor, step: int) -> Tensor:
        """The task's loss of the module's outputs."""
        return self._loss(module(x), y)

    def score(self, module: nn.Module, x: Tensor, y: Tensor) -> Scored:
        """The module's outputs, and their loss."""
        outputs: Tensor = module(x)
        return Scored(outputs, self._loss(outputs, y))
