"""PullMix: pull-twice mixing with persistent buffers, the default.

begin:   m = x + sum_j w_ij s_ij (x_j - x)       training starts from m; x itself stays
train:   delta = LocalTrain(m) - m
end:     x = Mix(x, freshest x_j) + delta;       publish x
serve:   Mix(x, x_j)

With symmetric constant weights the fixed points are those of synchronous D-PSGD, for any speeds,
delays and losses: no node's data is forgotten because it is slow.

Source: Wu, Liu, Magnusson, Johansson, "Delay-agnostic asynchronous distributed optimization",
CDC 2023; Zhou and Pu, arXiv 2505.10322, 2025 (the form that mixes at the end only).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple, Self

import numpy as np

from p2pfl.algorithms.base import (
    Advance,
    BaseAlgorithm,
    Capabilities,
    Finish,
    Local,
    Outgoing,
    Surroundings,
    TrainPlan,
)
from p2pfl.algorithms.mixing import mix, pull, pull_after, scaled
from p2pfl.messages import Neighbour
from p2pfl.types import Vector, frozen


class MixState(NamedTuple):
    """The node's public model, and where the training under way began."""

    x: Vector
    start: Vector | None = None
    ahead: "Ahead | None" = None


class Ahead(NamedTuple):
    """The next mix: the end of an update knows it already, while the neighbours stay the same."""

    neighbours: Sequence[Neighbour]
    mixed: Vector


@dataclass(frozen=True, slots=True)
class PullMix(BaseAlgorithm[MixState]):
    """Mix before local training, after it, or (default) both."""

    when: Literal["start", "end", "both"] = "both"
    scale: float = 1.0
    """c_i, by which the local update counts."""

    @property
    def capabilities(self) -> Capabilities:
        """Asynchronous; needs an undirected, constant graph."""
        return Capabilities(byzantine_safe=True, rewirable=True)

    def at(self, place: Surroundings) -> Self:
        """With the node's own c_i."""
        return replace(self, scale=place.scale)

    def initial(self, x0: Vector) -> MixState:
        """Every node starts from x0."""
        return MixState(x0)

    def adopt(self, state: MixState, x: Vector) -> MixState:
        """Go on from the neighbours' mean model."""
        return MixState(x)

    def resumed(self, state: MixState) -> MixState:
        """The public model: an update that was under way is lost."""
        return MixState(state.x)

    def opening(self, state: MixState) -> Sequence[Outgoing]:
        """The first model, so that neighbours have one to mix."""
        return (Outgoing(state.x),)

    def advance(
        self, state: MixState, local: Local, neighbours: Sequence[Neighbour]
    ) -> Advance[MixState]:
        """Start training at once, from the mix: nobody waits."""
        if self.when == "end":
            return Advance(MixState(state.x, start=state.x), train=TrainPlan(state.x))
        ahead = state.ahead
        if ahead is not None and ahead.neighbours is neighbours:
            start = ahead.mixed
        else:
            start = mix(state.x, neighbours)
        return Advance(MixState(state.x, start=start), train=TrainPlan(start), mixed=True)

    def finish(
        self, state: MixState, local: Local, neighbours: Sequence[Neighbour], trained: Vector
    ) -> Finish[MixState]:
        """Put the un-scaled update on top of a mix with the freshest models, and publish."""
        assert state.start is not None
        if self.when == "start":
            return _published(MixState(scaled(state.start, trained, self.scale)), mixed=False)
        pulled = pull(state.x, neighbours)
        moved = np.subtract(trained, state.start)
        if self.scale != 1.0:
            np.multiply(moved, np.float32(self.scale), moved)
        np.add(moved, pulled, moved)
        x = frozen(state.x + moved)
        if self.when == "end":
            return _published(MixState(x), mixed=True)
        after = pull_after(pulled, moved, neighbours)
        ahead = Ahead(neighbours, np.add(x, after, after))
        return _published(MixState(x, ahead=ahead), mixed=True)

    def served(self, state: MixState, neighbours: Sequence[Neighbour]) -> Vector:
        """Mix(x, freshest), never the raw x."""
        return mix(state.x, neighbours)

    def public(self, state: MixState) -> Vector:
        """x."""
        return state.x


def _published(state: MixState, *, mixed: bool) -> Finish[MixState]:
    return Finish(state, outgoing=(Outgoing(state.x),), mixed=mixed)
