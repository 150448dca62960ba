"""Stochastic gradient descent on one flat vector, as PyTorch defines it.

Momentum is the heavy ball without dampening: v <- mu v + g, x <- x - lr v, with the weight decay
added to the gradient first. Written here because the first `torch.optim.SGD` of a process imports
the compiler (one second, 72 MB).

Source: Polyak, Some methods of speeding up the convergence of iteration methods, 1964;
Sutskever et al., On the importance of initialization and momentum in deep learning, 2013.
"""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Sgd:
    """The optimizer's constants; its state, the velocity, is the caller's."""

    learning_rate: float
    momentum: float = 0.0
    weight_decay: float = 0.0

    def step(self, x: Tensor, gradient: Tensor, velocity: Tensor | None) -> None:
        """One step of `x` and, with momentum, of `velocity`, in place; `gradient` is consumed."""
        if self.weight_decay:
            gradient.add_(x, alpha=self.weight_decay)
        if velocity is None:
            x.sub_(gradient, alpha=self.learning_rate)
            return
        velocity.mul_(self.momentum).add_(gradient)
        x.sub_(velocity, alpha=self.learning_rate)
