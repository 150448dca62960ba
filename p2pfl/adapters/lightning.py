"""A Lightning module as it is: `training_step` gives the loss, `forward` the outputs.

p2pfl makes the steps, so that every algorithm works; hence `configure_optimizers` must say what
the experiment file says. Lightning's `Trainer`, its loggers, callbacks and loaders are not used,
and Lightning is never imported: a module is known by its methods.
"""

import inspect
import warnings
from collections.abc import Mapping
from typing import Any, Final

from torch import Tensor, nn, optim

from p2pfl.adapters.own_loss import one_number
from p2pfl.errors import ConfigError
from p2pfl.learning.objective import Scored
from p2pfl.learning.task import Task

_HOOKS: Final = ("backward", "optimizer_step", "configure_gradient_clipping")
"""What a module may override to step in its own way: it would be ignored, so it is refused."""
_SAME: Final = 1e-9


def is_lightning(module: nn.Module) -> bool:
    """Whether it has the methods of a Lightning module."""
    return all(
        callable(getattr(module, m, None)) for m in ("training_step", "configure_optimizers")
    )


def lightning_objective(module: nn.Module, task: Task) -> "LightningStep":
    """Its `training_step`.

    Raises:
        ConfigError: it steps by itself, or its optimizer is not the experiment's.
    """
    name = type(module).__name__
    if getattr(module, "automatic_optimization", True) is False:
        raise ConfigError(
            f"{name}.automatic_optimization is False: it makes its own steps, and p2pfl makes them"
            " here; return the loss from training_step instead"
        )
    for hook in _HOOKS:
        if _overridden(module, hook):
            raise ConfigError(
                f"{name}.{hook} would be ignored: p2pfl makes the steps; [training] has clip_norm,"
                " optimizer and schedule"
            )
    with warnings.catch_warnings():
        # One that configures nothing is warned of here and gets the experiment's optimizer.
        warnings.simplefilter("ignore")
        chosen: Any = module.configure_optimizers()  # type: ignore[operator] # it is callable
    _check_optimizer(name, chosen, task)
    return LightningStep()


class LightningStep:
    """The loss is what `training_step` returns. See `Objective`."""

    def loss(self, module: nn.Module, x: Tensor, y: Tensor, step: int) -> Tensor:
        """`training_step((x, y), step)`, with what it logs going nowhere."""
        method: Any = module.training_step
        _silence(module)
        takes = len(inspect.signature(method).parameters)
        answer = method((x, y), step) if takes > 1 else method((x, y))
        if isinstance(answer, Mapping):
            answer = answer.get("loss")
        return one_number(answer, module, "training_step")

    def score(self, module: nn.Module, x: Tensor, y: Tensor) -> Scored:
        """Outputs by `forward`; the loss by `training_step`, in evaluation mode."""
        return Scored(module(x), self.loss(module, x, y, 0))


def _silence(module: nn.Module) -> None:
    """Without Lightning's trainer `self.log` would warn at every step."""
    if "log" not in vars(module):
        for method in ("log", "log_dict"):
            object.__setattr__(module, method, _nowhere)


def _nowhere(*_args: object, **_named: object) -> None:
    """Where logged values go: p2pfl measures by itself."""


def _overridden(module: nn.Module, hook: str) -> bool:
    """Whether a class of the user's defines the hook, and not Lightning itself."""
    for each in type(module).__mro__:
        if hook in vars(each):
            return not each.__module__.startswith(("lightning", "pytorch_lightning"))
    return False


def _check_optimizer(name: str, chosen: Any, task: Task) -> None:  # noqa: ANN401 - any form of it
    scheduled = False
    if isinstance(chosen, Mapping):
        scheduled = "lr_scheduler" in chosen
        chosen = chosen.get("optimizer")
    if isinstance(chosen, tuple) and len(chosen) == 2:  # noqa: PLR2004 - optimizers and schedulers
        chosen, schedulers = chosen
        scheduled = bool(schedulers)
    if scheduled:
        raise ConfigError(
            f"{name}.configure_optimizers returns a learning-rate scheduler, which would be"
            " ignored: return the optimizer alone, and say [training] schedule"
        )
    several = chosen if isinstance(chosen, (list, tuple)) else [chosen]
    if len(several) > 1:
        raise ConfigError(f"{name}.configure_optimizers returns {len(several)} optimizers, not one")
    if not several or several[0] is None:
        return
    wanted, found = _said(name, several[0]), _in_file(task)
    differing = {
        key: value
        for key, value in wanted.items()
        if key not in found or not _equal(found[key], value)
    }
    if differing:
        lines = ", ".join(f"{key} = {_toml(value)}" for key, value in differing.items())
        raise ConfigError(
            f"{name}.configure_optimizers and the experiment differ: write {lines} under"
            " [training], or change the module; p2pfl makes the steps, by what is written there"
        )


def _said(name: str, optimizer: Any) -> dict[str, Any]:  # noqa: ANN401 - torch's types differ by kind
    """An optimizer in the words of `[training]`."""
    kind, given = type(optimizer), optimizer.defaults
    said: dict[str, Any] = {"learning_rate": given["lr"]}
    if len(optimizer.param_groups) > 1:
        raise ConfigError(
            f"{name}.configure_optimizers makes {len(optimizer.param_groups)} groups of parameters;"
            " p2pfl steps all alike"
        )
    if kind is optim.SGD and not (given["nesterov"] or given["dampening"]):
        return said | {
            "optimizer": "sgd",
            "momentum": given["momentum"],
            "weight_decay": given["weight_decay"],
        }
    plain_adam = kind is optim.Adam and not given["weight_decay"]
    if (kind is optim.AdamW or plain_adam) and not given["amsgrad"]:
        return said | {
            "optimizer": "adamw",
            "betas": tuple(given["betas"]),
            "eps": given["eps"],
            "weight_decay": given["weight_decay"],
        }
    raise ConfigError(
        f"{name}.configure_optimizers makes {kind.__name__} with {given}; p2pfl knows SGD (no"
        " Nesterov, no dampening), AdamW, and Adam without weight decay (no AMSGrad)"
    )


def _in_file(task: Task) -> dict[str, Any]:
    return {
        "optimizer": task.optimizer,
        "learning_rate": task.learning_rate.base,
        "momentum": task.momentum,
        "weight_decay": task.weight_decay,
        "betas": tuple(task.betas),
        "eps": task.eps,
    }


def _equal(found: Any, wanted: Any) -> bool:  # noqa: ANN401 - numbers, words or pairs
    if isinstance(wanted, tuple):
        return len(found) == len(wanted) and all(map(_equal, found, wanted))
    if isinstance(wanted, str):
        return bool(found == wanted)
    return bool(abs(found - wanted) <= _SAME * max(1.0, abs(wanted)))


def _toml(value: Any) -> str:  # noqa: ANN401 - numbers, words or pairs
    if isinstance(value, tuple):
        return f"[{', '.join(map(_toml, value))}]"
    return f'"{value}"' if isinstance(value, str) else f"{value:g}"
