"""Gradient clipping by the Euclidean norm of the whole gradient, as PyTorch defines it.

Source: Pascanu, Mikolov and Bengio, On the difficulty of training recurrent neural networks, 2013.
"""

from typing import Final

EPS: Final = 1e-6
"""Added to the norm, as `torch.nn.utils.clip_grad_norm_` does."""


def clip_scale(norm: float, norm_max: float) -> float:
    """What to multiply a gradient of this norm by, so that it is no longer than allowed."""
    return min(1.0, norm_max / (norm + EPS))
