"""Gossip learning: each model goes to one random neighbour, who merges it by age.

A model's age is the number of updates in it. On receipt: x = (a_i x_i + a_j x_j) / (a_i + a_j), and
the age is the larger one. A fast node's models are older and come more often, so that its data
counts more than a slow one's: biased, and here to be compared with.

Source: Ormandi, Hegedus, Jelasity, "Gossip learning with linear models on fully distributed data",
Concurrency and Computation, 2013; Hegedus, Danner, Jelasity, DAIS 2019 (merging by age).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, NamedTuple, Self

import numpy as np

from p2pfl.algorithms.base import (
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
from p2pfl.draws import draw
from p2pfl.messages import ModelMessage, Neighbour
from p2pfl.types import NodeId, Vector, frozen

AGE_MAX: Final = 2**40
"""Ages beyond this are no ages: a peer's mistake, or worse."""


class Aged(NamedTuple):
    """The model, the number of updates in it, and where the training under way began."""

    x: Vector
    age: int = 0
    start: Vector | None = None


@dataclass(frozen=True, slots=True)
class GossipLearning(BaseAlgorithm[Aged]):
    """Trains on while models come in: an update is put on what x has become meanwhile."""

    hearers: tuple[NodeId, ...] = ()
    seed: int = 0

    @property
    def capabilities(self) -> Capabilities:
        """Any graph; merges on receipt."""
        return Capabilities(undirected=False, reacts=True)

    def at(self, place: Surroundings) -> Self:
        """With those who hear this node."""
        return replace(self, hearers=place.hearers, seed=place.seed)

    def initial(self, x0: Vector) -> Aged:
        """Every node starts from x0, of age 0."""
        return Aged(x0)

    def adopt(self, state: Aged, x: Vector) -> Aged:
        """The neighbours' mean model; the next model that comes replaces it, being older."""
        return Aged(x)

    def resumed(self, state: Aged) -> Aged:
        """The model and its age: an update that was under way is lost."""
        return Aged(state.x, state.age)

    def opening(self, state: Aged) -> Sequence[Outgoing]:
        """Nothing: everybody has x0."""
        return ()

    def greeting(self, state: Aged) -> Outgoing:
        """Its model, of age 0: where it is merged, it weighs nothing."""
        return Outgoing(state.x, words=(0,))

    def hear(
        self, state: Aged, local: Local, message: ModelMessage, *, usable: bool
    ) -> Heard[Aged]:
        """Merge by age."""
        age = min(message.header.words[0], AGE_MAX) if message.header.words else 0
        both = state.age + age
        if not usable or not both:
            return Heard(state)
        pull = np.subtract(message.vector, state.x)
        np.multiply(pull, np.float32(age / both), pull)
        np.add(pull, state.x, pull)
        merged = Aged(frozen(pull), max(state.age, age), state.start)
        return Heard(merged, mixed=True)

    def advance(self, state: Aged, local: Local, neighbours: Sequence[Neighbour]) -> Advance[Aged]:
        """Train on from x."""
        return Advance(Aged(state.x, state.age, state.x), train=TrainPlan(state.x))

    def finish(
        self, state: Aged, local: Local, neighbours: Sequence[Neighbour], trained: Vector
    ) -> Finish[Aged]:
        """Add the update to x, and send x to one of those who hear this node."""
        assert state.start is not None
        x = trained
        if state.x is not state.start:
            x = frozen(state.x + (trained - state.start))
        after = Aged(x, state.age + 1)
        if not self.hearers:
            return Finish(after, ())
        chosen = draw(self.seed, local.node, "gossip", local.version) * len(self.hearers)
        to = (self.hearers[int(chosen)],)
        return Finish(after, (Outgoing(x, to=to, words=(after.age,)),))

    def served(self, state: Aged, neighbours: Sequence[Neighbour]) -> Vector:
        """x."""
        return state.x

    def public(self, state: Aged) -> Vector:
        """x."""
        return state.x
