"""AdamW on flat vectors, as PyTorch defines it: weight decay apart from the gradient.

Source: Kingma and Ba, Adam: a method for stochastic optimization, 2015; Loshchilov and Hutter,
Decoupled weight decay regularization, 2019.
"""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class AdamW:
    """The optimizer's constants; its state is the caller's. See `Optimizer`.

    The state `[2 d + 1]` is both moments and the count of steps, which float32 holds exactly up
    to 16,777,216; from there on it stands still, and no correction is left to make.
    """

    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.0

    def state_size(self, dimension: int) -> int:
        """Two moments per number, and one count."""
        return 2 * dimension + 1

    def step(self, x: Tensor, gradient: Tensor, state: Tensor | None, rate: float | Tensor) -> None:
        """One step of `x` and of its moments, in place; `gradient` is consumed."""
        assert state is not None
        size, half = x.shape[-1], state.shape[-1] // 2
        mean, square = state[..., :size], state[..., half : half + size]
        count = state[..., -1:]
        count += 1.0
        # In float32, 1 - 0.999 is known to four digits only.
        exact = count.to(torch.float64)
        first = rate / (1.0 - self.betas[0] ** exact)
        second = (1.0 - self.betas[1] ** exact).sqrt_()
        if self.weight_decay:
            kept = 1.0 - rate * self.weight_decay
            x.mul_(kept.to(x.dtype) if isinstance(kept, Tensor) else kept)
        mean.lerp_(gradient, 1.0 - self.betas[0])
        square.mul_(self.betas[1]).addcmul_(gradient, gradient, value=1.0 - self.betas[1])
        scale = torch.sqrt(square, out=gradient).div_(second.to(x.dtype)).add_(self.eps)
        x.sub_(torch.div(mean, scale, out=scale).mul_(first.to(x.dtype)))
