"""A plain torch module that computes its training loss itself, by a method `training_loss(x, y)`.

Without that method a module's outputs are judged: cross entropy for classes, else squared error.
"""

from typing import Any

from torch import Tensor, nn

from p2pfl.errors import ConfigError
from p2pfl.learning.objective import Scored


def has_own_loss(module: nn.Module) -> bool:
    """Whether the module has a method `training_loss`."""
    return callable(getattr(module, "training_loss", None))


class OwnLoss:
    """The mean loss is what the module's `training_loss(x, y)` returns. See `Objective`."""

    def loss(self, module: nn.Module, x: Tensor, y: Tensor, step: int) -> Tensor:
        """What the method returns: one number, or a ConfigError."""
        method: Any = module.training_loss
        return one_number(method(x, y), module, "training_loss")

    def score(self, module: nn.Module, x: Tensor, y: Tensor) -> Scored:
        """Outputs by `forward`, the loss by the method, in evaluation mode."""
        return Scored(module(x), self.loss(module, x, y, 0))


def one_number(loss: object, module: nn.Module, method: str) -> Tensor:
    """The loss, if it is one.

    Raises:
        ConfigError: it is no tensor of one number.
    """
    if not isinstance(loss, Tensor) or loss.numel() != 1:
        found = tuple(loss.shape) if isinstance(loss, Tensor) else type(loss).__name__
        raise ConfigError(
            f"{type(module).__name__}.{method} returned {found}; expected the mean loss, a tensor"
            " of one number"
        )
    return loss.reshape(())
