"""Mixing on receipt: every model that comes in is mixed in at once, training or not.

hear:    x = x + w_ij (x_j - x)
end:     x = x + delta;  publish x

This is how asynchronous gossip is often coded, because it keeps no models of neighbours. A fast
node sends more often, and is mixed in each time: its data counts by the square of its rate, so that
slow nodes' is all but forgotten. Biased, and here to be compared with.

Source: the law is `p2pfl.theory.bias.mix_on_receive`; pushed models are mixed on receipt in Blot,
Picard, Cord, Thome, "Gossip training for deep learning", 2016.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, Self

import numpy as np

from p2pfl.algorithms.base import (
    NOWHERE,
    Advance,
    BaseAlgorithm,
    Capabilities,
    Finish,
    Heard,
    Local,
    Outgoing,
    Surroundings,
    TrainPlan,
)
from p2pfl.messages import ModelMessage, Neighbour
from p2pfl.types import Vector, frozen


class Mixed(NamedTuple):
    """The model, and where the training under way began."""

    x: Vector
    start: Vector | None = None


@dataclass(frozen=True, slots=True)
class MixOnReceive(BaseAlgorithm[Mixed]):
    """Trains on while models come in: an update is put on what x has become meanwhile."""

    scale: float = 1.0
    """c_i, by which the local update counts."""
    place: Surroundings = NOWHERE

    @property
    def capabilities(self) -> Capabilities:
        """Asynchronous; needs an undirected, constant graph."""
        return Capabilities(reacts=True)

    def at(self, place: Surroundings) -> Self:
        """With the node's own weights and c_i."""
        return replace(self, scale=place.scale, place=place)

    def initial(self, x0: Vector) -> Mixed:
        """Every node starts from x0."""
        return Mixed(x0)

    def adopt(self, state: Mixed, x: Vector) -> Mixed:
        """Go on from the neighbours' mean model."""
        return Mixed(x)

    def resumed(self, state: Mixed) -> Mixed:
        """The model: an update that was under way is lost."""
        return Mixed(state.x)

    def opening(self, state: Mixed) -> Sequence[Outgoing]:
        """Nothing: everybody has x0."""
        return ()

    def hear(
        self, state: Mixed, local: Local, message: ModelMessage, *, usable: bool
    ) -> Heard[Mixed]:
        """Mix it in, if it is not too old."""
        weight = dict(self.place.neighbours).get(message.header.node, 0.0)
        if not usable or not weight:
            return Heard(state)
        moved = np.subtract(message.vector, state.x)
        np.multiply(moved, np.float32(weight), moved)
        np.add(moved, state.x, moved)
        return Heard(Mixed(frozen(moved), state.start), mixed=True)

    def advance(
        self, state: Mixed, local: Local, neighbours: Sequence[Neighbour]
    ) -> Advance[Mixed]:
        """Train on from x."""
        return Advance(Mixed(state.x, state.x), train=TrainPlan(state.x))

    def finish(
        self, state: Mixed, local: Local, neighbours: Sequence[Neighbour], trained: Vector
    ) -> Finish[Mixed]:
        """Add the update to x, and publish."""
        assert state.start is not None
        x = frozen(state.x + np.float32(self.scale) * (trained - state.start))
        return Finish(Mixed(x), (Outgoing(x),))

    def served(self, state: Mixed, neighbours: Sequence[Neighbour]) -> Vector:
        """x."""
        return state.x

    def public(self, state: Mixed) -> Vector:
        """x."""
        return state.x
