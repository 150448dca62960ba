"""TrackMix: asynchronous gradient tracking by running sums that are told to all neighbours.

Node i keeps, beside its model x_i, the running sum S_i of everything that it has pushed, and tracks
the network's mean gradient by

    z_i = g_i + sum_j w_ij (S_j - S_i)              over the living neighbours, S_j as last heard

At the end of an update, which has measured the gradient g_i at x_i:

    S_i <- S_i + z_i                                push: w_ij z_i is on its way to each neighbour
    z_i with that S_i and the freshest S_j          absorb what the neighbours have pushed
    x_i <- Mix(x_i) - gamma z_i;                    publish x_i and S_i

Sum z + sum over links of what was pushed and not absorbed = sum g, to the last bit (the numbers are
whole, `fixed_point.py`), whatever is late, lost, doubled or in disorder: the same words heard again
change nothing. So at rest all x are equal and sum g = 0: no bias, whoever is slow and however
different the data are. What a dead neighbour had absorbed or pushed leaves z with it, on its links
alone; nobody starts anew.

With H local steps g is the sum of their gradients, (start - trained) / gamma: at rest these sums
cancel instead.

Source: Zhu, Tian, Huang, Xu, He, "R-FAST: robust fully-asynchronous stochastic gradient tracking
over general topology", 2023 (running sums for the tracker); Jesus, Baquero, Almeida, "Fault-
tolerant aggregation by flow updating", 2009 (links as flows that one can take back). The
combination for broadcast is p2pfl's own, without a published proof.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple, Self

import numpy as np

from p2pfl.algorithms.base import (
    Advance,
    BaseAlgorithm,
    Beside,
    Capabilities,
    Finish,
    Local,
    Outgoing,
    Surroundings,
    TrainPlan,
)
from p2pfl.algorithms.fixed_point import (
    BITS,
    Mass,
    Sums,
    added,
    difference,
    in_wire_steps,
    mass_of,
    no_sums,
    share_of,
    vector_of,
)
from p2pfl.algorithms.mixing import mix
from p2pfl.messages import Neighbour
from p2pfl.types import NodeId, Vector, frozen

BEGUN: Final = 1
"""The epoch of a message whose sums count. A node that rejoins says 0 until it has begun anew."""

_LARGEST: Final = 1 << (2 * BITS + 10)
"""|z| is cut at 1,024, near the range of the differences: beyond it lie a learning rate that is too
large, or sums that somebody has made up, which shall move nobody out of the numbers."""


class Told(NamedTuple):
    """A neighbour's running sum as last heard, and the share w_ij in whole steps."""

    share: int
    sums: Sums


@dataclass(frozen=True, slots=True, eq=False)
class TrackState:
    """One node's model, its running sum, and what it has heard of its living neighbours'."""

    x: Vector
    sums: Sums | None
    """S; None while a node that rejoins knows nobody's to begin from."""
    heard: Mapping[NodeId, Told] = field(default_factory=dict)
    gradient: Mass | None = None
    """g, as it was last measured."""

    @property
    def tracker(self) -> Mass:
        """z `[d]`, in steps of 2^-40."""
        assert self.gradient is not None
        assert self.sums is not None
        return _tracker(self.gradient, self.sums, self.heard)


@dataclass(frozen=True, slots=True)
class TrackMix(BaseAlgorithm[TrackState]):
    """Step along the tracked mean gradient instead of the node's own."""

    scale: float = 1.0
    """c_i, by which the local update counts."""

    @property
    def capabilities(self) -> Capabilities:
        """Asynchronous, undirected; plain SGD, so that what moved is the gradient."""
        return Capabilities(conserving=True, plain_sgd=True, beside=Beside("uint32"))

    def at(self, place: Surroundings) -> Self:
        """With the node's own c_i."""
        return replace(self, scale=place.scale)

    def initial(self, x0: Vector) -> TrackState:
        """Every node starts from x0, and every sum from 0."""
        return TrackState(x0, no_sums(x0.size))

    def adopt(self, state: TrackState, x: Vector) -> TrackState:
        """Go on from the neighbours' mean model; the sum begins as soon as one is heard."""
        return TrackState(x, None)

    def resumed(self, state: TrackState) -> TrackState:
        """The model: sums of an earlier life are not gone on with."""
        return TrackState(state.x, None)

    def opening(self, state: TrackState) -> Sequence[Outgoing]:
        """The first model, with a sum that counts unless the node rejoins."""
        return (_published(state),)

    def advance(
        self, state: TrackState, local: Local, neighbours: Sequence[Neighbour]
    ) -> Advance[TrackState]:
        """Measure the gradient at x: nobody waits."""
        return Advance(state, train=TrainPlan(state.x))

    def finish(
        self, state: TrackState, local: Local, neighbours: Sequence[Neighbour], trained: Vector
    ) -> Finish[TrackState]:
        """Push, absorb, step, publish."""
        rate = local.step_size / local.local_steps
        gradient = self._gradient(state, trained, rate)
        heard = _heard(state, neighbours)
        sums = _mean(heard, state.x.size) if state.sums is None else state.sums
        pushed = _tracker(gradient, sums, state.heard)
        sums = added(sums, in_wire_steps(pushed))
        tracker = _tracker(gradient, sums, heard)
        x = frozen(mix(state.x, neighbours) - np.float32(rate) * vector_of(tracker))
        after = TrackState(x, sums, heard, gradient)
        return Finish(after, outgoing=(_published(after),), mixed=True)

    def _gradient(self, state: TrackState, trained: Vector, rate: float) -> Mass:
        """The sum of the local gradients; where the learning rate is 0, as it was."""
        if rate > 0.0:
            return mass_of((state.x - trained) * np.float32(self.scale / rate))
        if state.gradient is None:
            return np.zeros(state.x.size, dtype=np.int64)
        return state.gradient

    def served(self, state: TrackState, neighbours: Sequence[Neighbour]) -> Vector:
        """Mix(x, freshest)."""
        return mix(state.x, neighbours)

    def public(self, state: TrackState) -> Vector:
        """x."""
        return state.x


def _published(state: TrackState) -> Outgoing:
    if state.sums is None:
        return Outgoing(state.x, extra=no_sums(state.x.size), epoch=0)
    return Outgoing(state.x, extra=state.sums, epoch=BEGUN)


def _heard(state: TrackState, neighbours: Sequence[Neighbour]) -> Mapping[NodeId, Told]:
    """The sums of all living neighbours; one whose model is too old to be mixed still counts."""
    heard = {}
    for each in neighbours:
        if not each.live:
            continue
        if each.extra is not None and each.header is not None and each.header.epoch == BEGUN:
            heard[each.peer] = Told(share_of(each.weight), each.extra.view(np.uint32))
        elif each.peer in state.heard:
            heard[each.peer] = state.heard[each.peer]
    return heard


def _tracker(gradient: Mass, sums: Sums, heard: Mapping[NodeId, Told]) -> Mass:
    """g + sum_j w_ij (S_j - S), in steps of 2^-40, cut at the largest."""
    tracker = gradient.copy()
    for told in heard.values():
        tracker += told.share * difference(told.sums, sums)
    return np.clip(tracker, -_LARGEST, _LARGEST, out=tracker)


def _mean(heard: Mapping[NodeId, Told], dimension: int) -> Sums:
    """The mean of the neighbours' sums: nothing flows at first on the links of one who rejoins."""
    if not heard:
        return no_sums(dimension)
    first, *others = (told.sums for told in heard.values())
    away = sum((difference(each, first) for each in others), np.zeros(dimension, dtype=np.int64))
    return added(first, away // (len(others) + 1))
