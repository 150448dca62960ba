"""Models by name, with input and output taken from the data, initialised from a seed alone."""

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import torch
from torch import nn

from p2pfl.draws import draw_bits
from p2pfl.errors import ConfigError
from p2pfl.learning.lstm import CharacterLstm
from p2pfl.learning.own import call_with, is_own, load_function

KINDS: Final = ("softmax", "mlp", "cnn", "lstm", "module:function")
FLAT_KINDS: Final = ("softmax", "mlp")
"""Models that take each sample as one row of numbers."""
_IMAGE_AXES: Final = 3
_POOLED: Final = 4
"""Two poolings by two: height and width must be divisible by this."""

ModelMaker = Callable[[], nn.Module]


@dataclass(frozen=True, slots=True)
class Shape:
    """What the data asks of a model: one sample's shape, and how many outputs."""

    sample: tuple[int, ...]
    outputs: int
    """Classes; for regression the numbers in one label."""


def model_maker(
    kind: str, shape: Shape, *, hidden: tuple[int, ...] = (32,), base: str = "", seed: int = 0
) -> ModelMaker:
    """A function that makes the model an experiment file names, the same at every call.

    A function of the user's is called with those of the keywords `input_shape`, `classes` and
    `seed` that it names, usually none, and returns a `torch.nn.Module`. torch's random numbers
    are seeded while it runs, and put back afterwards.

    Raises:
        ConfigError: No such kind or function, or the data does not fit the model.
    """
    if kind in FLAT_KINDS:
        widths = hidden if kind == "mlp" else ()
        return lambda: seeded(lambda: mlp(shape, widths), seed)
    if kind == "cnn":
        _need_image(shape)
        return lambda: seeded(lambda: cnn(shape), seed)
    if kind == "lstm":
        if len(shape.sample) != 1:
            raise ConfigError(
                "model.kind 'lstm' takes sequences of symbols [length], such as data.kind "
                f"'shakespeare'; a sample of this data has shape {shape.sample}"
            )
        return lambda: seeded(lambda: CharacterLstm(shape.outputs, hidden), seed)
    if is_own(kind):
        function = load_function(kind, folder=base)
        offered: dict[str, object] = {
            "input_shape": shape.sample,
            "classes": shape.outputs,
            "seed": seed,
        }
        return lambda: seeded(lambda: _module(kind, call_with(function, offered)), seed)
    raise ConfigError(f"model.kind {kind!r} is unknown; allowed are {', '.join(KINDS)}")


def seeded(make: ModelMaker, seed: int) -> nn.Module:
    """Make a model from this seed alone; torch's own random state is as it was before."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(draw_bits(seed, "", "init", 0))
        return make()


def mlp(shape: Shape, hidden: tuple[int, ...]) -> nn.Module:
    """Fully connected layers with ReLU between them; without hidden ones softmax regression."""
    widths = (math.prod(shape.sample), *hidden, shape.outputs)
    layers: list[nn.Module] = []
    for inputs, outputs in itertools.pairwise(widths):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def cnn(shape: Shape) -> nn.Module:
    """Two 5x5 convolutions (32 and 64) with pooling, 512 dense units: 1,663,370 numbers on MNIST.

    Source: McMahan et al., Communication-efficient learning of deep networks from decentralized
    data, 2017.
    """
    channels, height, width = shape.sample
    return nn.Sequential(
        nn.Conv2d(channels, 32, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(64 * (height // _POOLED) * (width // _POOLED), 512),
        nn.ReLU(),
        nn.Linear(512, shape.outputs),
    )


def _need_image(shape: Shape) -> None:
    if len(shape.sample) != _IMAGE_AXES or min(shape.sample[1:]) < _POOLED:
        raise ConfigError(
            "model.kind 'cnn' takes images [channels, height, width] of at least "
            f"{_POOLED}x{_POOLED} pixels; a sample of this data has shape {shape.sample}"
        )


def _module(spec: str, value: object) -> nn.Module:
    if not isinstance(value, nn.Module):
        raise ConfigError(f"{spec}: returned {type(value).__name__}, expected a torch.nn.Module")
    return value
