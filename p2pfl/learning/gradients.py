"""From the gradient of the loss to what the optimizer is given; one law for every trainer.

g = clip(gradient of the minibatch's loss) + correction + mu (x - start)

What the user's data says is clipped, as PyTorch's users know it; what an algorithm adds is not: a
clipped correction would no longer cancel over the nodes. The optimizer's weight decay comes last.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from p2pfl.learning.clipping import EPS


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class GradientTerms:
    """What becomes of the gradients of one model `[p]`, or of many as rows `[n, p]`."""

    clip_norm: float | None = None
    """The norm that each model's gradient may have; None: any."""
    correction: Tensor | None = None
    """Added to each gradient, of its shape (gradient tracking, control variates)."""
    proximal: Tensor | None = None
    """mu of the proximal term, `[1]` or `[n, 1]`, with its anchor; None: there is none.

    Source: Li et al., Federated optimization in heterogeneous networks (FedProx), 2020.
    """
    anchor: Tensor | None = None
    """What the proximal term draws x to, of the gradient's shape."""

    def apply(self, gradient: Tensor, x: Tensor) -> None:
        """Change gradients of the loss at `x` in place."""
        if self.clip_norm is not None:
            norms = torch.linalg.vector_norm(gradient, dim=-1, keepdim=True)
            gradient.mul_(torch.clamp(self.clip_norm / (norms + EPS), max=1.0))
        if self.correction is not None:
            gradient.add_(self.correction)
        if self.proximal is not None and self.anchor is not None:
            gradient.addcmul_(x - self.anchor, self.proximal)

    def first(self, rows: int) -> "GradientTerms":
        """The terms of the first so many models."""
        if self.correction is None and self.proximal is None:
            return self
        return replace(
            self,
            correction=_first(self.correction, rows),
            proximal=_first(self.proximal, rows),
            anchor=_first(self.anchor, rows),
        )


def _first(tensor: Tensor | None, rows: int) -> Tensor | None:
    return None if tensor is None else tensor[:rows]
