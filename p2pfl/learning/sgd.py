"""Stochastic gradient descent on flat vectors, as PyTorch defines it.

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
    """The optimizer's constants; its state, the velocity, is the caller's. See `Optimizer`."""

    momentum: float = 0.0
    weight_decay: float = 0.0

    def state_size(self, dimension: int) -> int:
        """One velocity per number, if there is momentum."""
        return dimension if self.momentum else 0

    def step(self, x: Tensor, gradient: Tensor, state: Tensor | None, rate: float | Tensor) -> None:
        """One step of `x` and, with momentum, of its velocity, in place; `gradient` is consumed."""
        if self.weight_decay:
            gradient.add_(x, alpha=self.weight_decay)
        moved = gradient
        if state is not None:
            moved = state[..., : x.shape[-1]]
            moved.mul_(self.momentum).add_(gradient)
        if isinstance(rate, Tensor):
            x.addcmul_(moved, rate.to(x.dtype), value=-1.0)
        else:
            x.sub_(moved, alpha=rate)
