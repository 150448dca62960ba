"""Which clients take part in a round: any, or those with the highest training loss.

Power of choice: of d clients drawn at random the m with the highest loss are chosen; d = m is
plain drawing. A client's loss is that of its last training, which it tells with each answer (the
paper's `rpow-d`, which costs no further message); who has not told any yet comes first.

Source: Cho, Wang, Joshi, "Client selection in federated learning: convergence analysis and
power-of-choice selection strategies", 2020.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from math import inf
from typing import Final

from p2pfl.draws import draw_order
from p2pfl.types import NodeId

_LOSS_STEPS: Final = 1 << 16
"""Steps per unit of loss, as words are whole numbers."""
_LOSS_MAX: Final = float(1 << 32)


def drawn(seed: int, round_: int, clients: Sequence[NodeId]) -> list[NodeId]:
    """All clients in this round's order of chance."""
    order = draw_order(seed, "server", "cohort", round_, among=len(clients))
    return [clients[i] for i in order]


def choose(
    order: Iterable[NodeId], size: int, *, losses: Mapping[NodeId, float] | None = None
) -> list[NodeId]:
    """The first `size`, or those with the highest losses (earlier ones first among equals)."""
    if losses is None:
        return list(islice(order, size))
    return sorted(order, key=lambda node: -losses.get(node, inf))[:size]


def loss_word(loss: float) -> int:
    """A training loss as a word: in steps of 2^-16, from 0 to 2^32."""
    return round(min(max(loss, 0.0), _LOSS_MAX) * _LOSS_STEPS)


def loss_of(words: Sequence[int]) -> float:
    """The loss that these words tell; inf if they tell none."""
    return words[0] / _LOSS_STEPS if words else inf
