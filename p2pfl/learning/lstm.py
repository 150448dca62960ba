"""A recurrent network for characters, in plain operations, so that many batch as one.

`torch.nn.LSTM` is one opaque operation, which `torch.func.vmap` cannot take apart.
Source: Hochreiter and Schmidhuber, Long short-term memory, 1997; the sizes by default those of
McMahan et al., 2017, but for 128 units where they have 256.
"""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

EMBEDDING: Final = 8
"""Numbers per character (McMahan et al., 2017)."""


class LstmLayer(nn.Module):
    """One layer, from `[B, T, inputs]` to `[B, T, units]`; weights and gates as in PyTorch."""

    def __init__(self, inputs: int, units: int) -> None:
        super().__init__()
        bound = 1.0 / math.sqrt(units)
        self.units = units
        self.input = nn.Parameter(torch.empty(4 * units, inputs).uniform_(-bound, bound))
        self.recurrent = nn.Parameter(torch.empty(4 * units, units).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(4 * units).uniform_(-bound, bound))

    def forward(self, x: Tensor) -> Tensor:
        """The hidden state at every position."""
        # All positions at once: what does not wait for the state before.
        driven = functional.linear(x, self.input, self.bias)
        hidden = cell = driven.new_zeros(len(x), self.units)
        states: list[Tensor] = []
        for gates_in in driven.unbind(1):
            gates = gates_in + hidden @ self.recurrent.t()
            entry, forget, change, exit_ = gates.chunk(4, 1)
            cell = forget.sigmoid() * cell + entry.sigmoid() * change.tanh()
            hidden = exit_.sigmoid() * cell.tanh()
            states.append(hidden)
        return torch.stack(states, 1)


class CharacterLstm(nn.Module):
    """From characters `[B, T]` to scores for the one that follows, `[B, symbols]`."""

    def __init__(self, symbols: int, units: Sequence[int]) -> None:
        super().__init__()
        self.embedding = nn.Embedding(symbols, EMBEDDING)
        widths = [EMBEDDING, *units]
        self.layers = nn.Sequential(*(LstmLayer(a, b) for a, b in pairwise(widths)))
        self.out = nn.Linear(widths[-1], symbols)

    def forward(self, x: Tensor) -> Tensor:
        """Scores after the last position alone, as LEAF has it: each sample is one prediction."""
        scores: Tensor = self.out(self.layers(self.embedding(x))[:, -1])
        return scores
