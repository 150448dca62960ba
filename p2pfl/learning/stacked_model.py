"""The gradients of many models of one kind at once, each on its own minibatch.

`torch.func.vmap` turns a module's gradient into one for a stack of models. Tracing it once per
width sheds the cost of dispatching every operation through vmap and autograd (see
`stacked_layers` for numbers). Widths are padded to few sizes, so that traces are few.
"""

import math
import threading
import warnings
from collections.abc import Callable
from typing import Final, Protocol

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value, vmap
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils._python_dispatch import TorchDispatchMode

from p2pfl.learning.flat import FlatModule
from p2pfl.learning.stacked_layers import stacked_layers
from p2pfl.learning.task import Loss, Task

_TRACED_MAX: Final = 1000
"""Operations in a gradient that is traced, 0.1 s per 100; one of more (a recurrent network) runs
as it is: its operations are many because the work is, and to trace it would take a minute."""
_DIFFERENCE_MAX: Final = {"cpu": 1e-4, "cuda": 1e-2}
"""Relative difference to the plain computation, above what rounding can be (CUDA convolves with
10 bits), below any mistake."""
REFUSALS: Final = (RuntimeError, ValueError, TypeError, LookupError, AttributeError)
"""How torch says that it cannot batch a model."""


class StackedGradient(Protocol):
    """Gradients and losses of many models at once, each on samples of its own."""

    def width(self, models: int) -> int:
        """How many rows must be handed in for so many models; the rest is padding."""
        ...

    def __call__(self, stack: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Gradients `[n, p]` and losses `[n]`.

        From models `[n, d]`, samples `[n, B, ...]` and labels `[n, B, ...]`.
        """
        ...


class StackedModule:
    """Any module that `vmap` takes, as a function of flat models `[n, d]`."""

    def __init__(self, module: nn.Module, flat: FlatModule) -> None:
        self._module = module
        self._layout = flat.layout
        trained = {k for k, p in module.named_parameters() if p.requires_grad}
        self._trained = tuple(name for name, _ in flat.layout if name in trained)

    def parts(self, stack: Tensor) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Trainable parts and the rest, by name, as views `[n, ...]`."""
        parts: dict[str, Tensor] = {}
        begin = 0
        for name, shape in self._layout:
            end = begin + math.prod(shape)
            parts[name] = stack[:, begin:end].view(-1, *shape)
            begin = end
        return {k: parts.pop(k) for k in self._trained}, parts

    def outputs(self, trained: dict[str, Tensor], rest: dict[str, Tensor], x: Tensor) -> Tensor:
        """One model's outputs, from its parts by name."""
        outputs: Tensor = functional_call(self._module, {**trained, **rest}, (x,))
        return outputs

    def gradient(self, loss: Loss) -> Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]:
        """Gradients `[n, p]` and losses `[n]` of models `[n, d]`, operation by operation."""

        def one(
            trained: dict[str, Tensor], rest: dict[str, Tensor], x: Tensor, y: Tensor
        ) -> Tensor:
            return loss(self.outputs(trained, rest, x), y)

        many = vmap(grad_and_value(one))

        def gradient(stack: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
            gradients, losses = many(*self.parts(stack), x, y)
            flat = [gradients[name].reshape(len(stack), -1) for name in self._trained]
            return torch.cat(flat, 1), losses

        return gradient

    def evaluation(self, loss: Loss) -> Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]:
        """Outputs `[n, B, ...]` and losses `[n]` of models `[n, d]` on the same samples."""
        many, losses = vmap(self.outputs, in_dims=(0, 0, None)), vmap(loss, in_dims=(0, None))

        def evaluate(stack: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
            outputs: Tensor = many(*self.parts(stack), x)
            return outputs, losses(outputs, y)

        return evaluate


class PlainGradient:
    """The batched gradient, operation by operation. See `StackedGradient`."""

    def __init__(self, stacked: StackedModule, loss: Loss) -> None:
        self._gradient = stacked.gradient(loss)

    def width(self, models: int) -> int:
        """Any width is taken as it is."""
        return models

    def __call__(self, stack: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """See `StackedGradient`."""
        return self._gradient(stack, x, y)


class TracedGradient:
    """The batched gradient, recorded once per width and then replayed. See `StackedGradient`."""

    def __init__(self, stacked: StackedModule, loss: Loss) -> None:
        self._gradient = stacked.gradient(loss)
        self._graphs: dict[int, nn.Module] = {}
        self._lock = threading.Lock()

    def width(self, models: int) -> int:
        """The next power of two, or one and a half: at most half is padding."""
        power = 1 << max(0, models - 1).bit_length()
        return 3 * power // 4 if power > 2 and models <= 3 * power // 4 else power  # noqa: PLR2004 - of two there is no three quarters

    def __call__(self, stack: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """See `StackedGradient`."""
        graph = self._graphs.get(len(stack))
        if graph is None:
            graph = self._trace(stack, x, y)
        gradients, losses = graph(stack, x, y)
        return gradients, losses

    def _trace(self, stack: Tensor, x: Tensor, y: Tensor) -> nn.Module:
        with self._lock, warnings.catch_warnings():
            # What vmap computes slowly is right all the same.
            warnings.simplefilter("ignore")
            graph: nn.Module = make_fx(self._gradient)(stack, x, y)
            self._graphs[len(stack)] = graph
            return graph


def stacked_gradient(task: Task, flat: FlatModule, x: Tensor, y: Tensor) -> StackedGradient | str:
    """The fastest gradient that suits the task's model, tried out on this batch; or why none does.

    The trial compares with the plain gradient, so that what vmap would do wrongly (state that
    changes, hidden randomness) is found here. `x` and `y` are one batch for the module.
    """
    wanted = _plain_gradient(task, flat, x, y)
    if isinstance(wanted, str):
        return wanted
    stack = torch.from_numpy(flat.array.copy()).to(x.device).repeat(2, 1)
    batches = x.expand(2, *x.shape), y.expand(2, *y.shape)
    module = task.make_model().train().to(x.device)
    with torch.no_grad():
        layers = stacked_layers(module, task.loss)
        if layers is not None and not differs(layers(stack, *batches)[0], wanted):
            return layers
        # From here on vmap is used: its first use loads the compiler (one second, 76 MB).
        stacked = StackedModule(module, flat)
        counted = _Count()  # type: ignore[no-untyped-call] # torch ships it unannotated
        try:
            with warnings.catch_warnings(), counted:
                # What vmap computes slowly is right all the same.
                warnings.simplefilter("ignore")
                found, _ = PlainGradient(stacked, task.loss)(stack, *batches)
        except REFUSALS as error:
            return str(error).strip().split("\n")[0]
    if differs(found, wanted):
        return "its batched gradient differs from its plain one"
    traced = counted.operations <= _TRACED_MAX
    return (TracedGradient if traced else PlainGradient)(stacked, task.loss)


def differs(found: Tensor, wanted: Tensor) -> bool:
    """Whether a row is not what every row should be, beyond rounding."""
    away = (found.cpu() - wanted).flatten(1).norm(dim=1).max()
    allowed = _DIFFERENCE_MAX["cpu" if found.device.type == "cpu" else "cuda"]
    return not bool(away <= allowed * wanted.norm())


class _Count(TorchDispatchMode):  # type: ignore[no-untyped-call] # torch ships it unannotated
    """Counts operations."""

    operations = 0

    def __torch_dispatch__(
        self,
        func: Callable[..., object],
        types: object,
        args: tuple[object, ...] = (),
        kwargs: dict[str, object] | None = None,
    ) -> object:
        """Count one, and do it."""
        self.operations += 1
        return func(*args, **(kwargs or {}))


def _plain_gradient(task: Task, flat: FlatModule, x: Tensor, y: Tensor) -> Tensor | str:
    """The gradient of the initial model `[p]`; or what keeps it from being a pure function."""
    start, state = flat.array.copy(), torch.random.get_rng_state()
    before = [(name, buffer.clone()) for name, buffer in flat.module.named_buffers()]
    flat.module.train()
    flat.gradient.zero_()
    loss = task.loss(flat.module(x.cpu()), y.cpu())
    loss.backward()  # type: ignore[no-untyped-call] # torch ships it unannotated
    gradient = flat.gradient.clone()
    after = dict(flat.module.named_buffers())
    changed = [name for name, buffer in before if not torch.equal(buffer, after[name])]
    drew = not torch.equal(state, torch.random.get_rng_state())
    torch.random.set_rng_state(state)
    flat.load(start)
    if changed:
        return f"it keeps state while it trains ({', '.join(changed[:2])})"
    if drew:
        return "it draws random numbers while it trains (dropout)"
    return gradient
