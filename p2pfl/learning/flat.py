"""A torch module whose state is one flat vector: parameters and float buffers are views into it.

Loading a model is one copy, all gradients land in one buffer, and numpy sees the same memory. So
optimizers and mixing are plain vector arithmetic.
"""

from typing import Final

import numpy as np
import torch
from torch import Tensor, nn

from p2pfl.errors import ConfigError
from p2pfl.learning.schema import schema_hash
from p2pfl.types import Vector

CPU: Final = "cpu"

_QUIET = (
    nn.Sequential,
    nn.Linear,
    nn.Conv1d,
    nn.Conv2d,
    nn.Flatten,
    nn.Unflatten,
    nn.Identity,
    nn.ReLU,
    nn.Tanh,
    nn.Sigmoid,
    nn.GELU,
    nn.MaxPool2d,
    nn.AvgPool2d,
    nn.AdaptiveAvgPool2d,
    nn.BatchNorm1d,
    nn.BatchNorm2d,
    nn.GroupNorm,
    nn.LayerNorm,
    nn.Embedding,
)
"""Modules that are known to draw nothing. All others are given seeds, which costs some time."""


class FlatModule:
    """A module bound to one contiguous float32 vector `[d]` and one gradient buffer `[p]`.

    Trainable parameters come first, `[p]`; frozen ones and float buffers (running statistics)
    follow: they are mixed like all else, but no optimizer touches them. Integer buffers stay
    local and start anew at each load. Every other float type is refused: the wire is float32.
    On the CPU numpy sees the live state; on another device it is copied there and back.

    Raises:
        ConfigError: The module has no trainable parameter, or one that is not float32.
    """

    def __init__(self, module: nn.Module, *, device: str = CPU) -> None:
        self.module = module.to(device)
        trained = [(k, p) for k, p in module.named_parameters() if p.requires_grad]
        rest: list[tuple[str, Tensor]] = [
            (k, p) for k, p in module.named_parameters() if not p.requires_grad
        ]
        buffers = [(k, b) for k, b in module.named_buffers() if b.numel()]
        rest += [(k, b) for k, b in buffers if b.is_floating_point() or b.is_complex()]
        self._local = [(b, b.clone()) for _, b in buffers if not b.is_floating_point()]
        entries: list[tuple[str, Tensor]] = [*trained, *rest]
        if not trained:
            raise ConfigError(
                f"model {type(module).__name__} has no trainable parameters: "
                "return a torch.nn.Module with at least one parameter that requires a gradient"
            )
        for name, tensor in entries:
            if tensor.dtype != torch.float32:
                raise ConfigError(
                    f"model {type(module).__name__}: {name} is {tensor.dtype}; only "
                    "torch.float32 can travel: call .float() on the model"
                )
        self.trainable = sum(p.numel() for _, p in trained)
        """p: how many leading numbers the optimizer moves."""
        self.dimension = sum(t.numel() for _, t in entries)
        """d, the length of the vector."""
        self._here = device == CPU
        self.array: Vector = np.empty(self.dimension if self._here else 0, np.float32)
        """The live state `[d]`; writing to it changes the module. Empty on another device."""
        self.vector = (
            torch.from_numpy(self.array)
            if self._here
            else torch.empty(self.dimension, device=device)
        )
        """The live state as a tensor; on the CPU the same memory."""
        self.gradient = torch.zeros(self.trainable, device=device)
        """Where every gradient lands, `[p]`."""
        self.layout = tuple((k, tuple(t.shape)) for k, t in entries)
        """Names and shapes, in the vector's order."""
        self.schema = schema_hash((name, shape, "float32") for name, shape in self.layout)
        self.draws = not all(type(m) in _QUIET for m in module.modules())
        """Whether the module may draw random numbers while training (dropout)."""
        self._bind(trained, rest)

    def load(self, vector: Vector) -> None:
        """Become this model; one copy."""
        if self._here:
            np.copyto(self.array, vector)
        else:
            # A copy first: torch warns of arrays that are read-only.
            self.vector.copy_(torch.from_numpy(vector.copy()))
        for buffer, initial in self._local:
            buffer.copy_(initial)

    def state(self) -> Vector:
        """What the module is now, as a new vector."""
        return self.array.copy() if self._here else self.vector.detach().cpu().numpy().copy()

    def _bind(
        self, trained: list[tuple[str, nn.Parameter]], rest: list[tuple[str, Tensor]]
    ) -> None:
        position = 0
        for _, parameter in trained:
            end = position + parameter.numel()
            view = self.vector[position:end].view(parameter.shape)
            view.copy_(parameter.data)
            parameter.data = view
            parameter.grad = self.gradient[position:end].view(parameter.shape)
            position = end
        for _, tensor in rest:
            end = position + tensor.numel()
            view = self.vector[position:end].view(tensor.shape)
            view.copy_(tensor)
            position = end
            if isinstance(tensor, nn.Parameter):
                tensor.data = view
                continue
            # `set_` moves the tensor that the module holds, wherever and however often it does.
            tensor.set_(view.untyped_storage(), view.storage_offset(), view.shape, view.stride())


def split(vector: Vector, layout: tuple[tuple[str, tuple[int, ...]], ...]) -> dict[str, Vector]:
    """The vector's parts by name, as views of their own shapes (to save a model by name)."""
    parts: dict[str, Vector] = {}
    position = 0
    for name, shape in layout:
        end = position + int(np.prod(shape))
        parts[name] = vector[position:end].reshape(shape)
        position = end
    return parts
