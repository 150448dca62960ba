"""RelaySum (RelaySGD): exact averages on a tree, of models that are late by their distance.

m_ij(t) = x_i(t) + sum over l other than j of m_li(t-1),
z_i(t+1) = (x_i(t) + sum_j m_ji(t)) / n,  x_i(t+1) = LocalTrain(z_i(t+1)),

so that z_i is the mean of everybody's model, each as old as its way is long, and every model counts
the same: no bias by unequal data. What is summed up is counted along; in the first rounds a node
averages those whose models have reached it.

A node says one thing to all: M_i(t) = x_i(t) + sum_l m_li(t-1), as a mean and its count. Who is
addressed subtracts what he has said himself, m_ij(t) = M_i(t) - m_ji(t-1); both ends compute both
directions from the same two messages, to the same bits. So rounding stays as it is from round to
round: a unit in the last place or two of M, per link on the way.

Needs a tree: on a cycle sums would come back and be counted again. Whoever dies cuts it, and each
piece goes on for itself; counts and sums start anew then (`epochs.py`).

Source: Vogels, He, Koloskova, Lin, Karimireddy, Stich, Jaggi, "RelaySum for decentralized deep
learning on heterogeneous data", NeurIPS 2021.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, Self

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
from p2pfl.algorithms.epochs import Membership
from p2pfl.algorithms.mixing import scaled
from p2pfl.messages import Neighbour
from p2pfl.types import NodeId, Vector, frozen


class Sum(NamedTuple):
    """Some models' sum `[d]`, and how many they are."""

    models: Vector
    number: int


class RelayState(NamedTuple):
    """The own model x, what is handed out, and both directions of every link."""

    x: Vector
    mean: Vector
    """M over its number: the average that the node knows of."""
    number: int = 1
    received: Mapping[NodeId, Sum] = {}
    """m_ji of the newest version, by neighbour."""
    sent: Mapping[NodeId, Sum] = {}
    """m_ij of the newest version, by neighbour."""
    members: Membership = Membership()
    start: Vector | None = None


@dataclass(frozen=True, slots=True)
class RelaySum(BaseAlgorithm[RelayState]):
    """Train from the mean of all models, each as late as it is far."""

    scale: float = 1.0
    """c_i, by which the local update counts."""

    @property
    def capabilities(self) -> Capabilities:
        """Synchronous, on a tree, and what travels must arrive as it was sent."""
        return Capabilities(synchronous=True, tree=True, compressible=False, words=1)

    def at(self, place: Surroundings) -> Self:
        """With the node's own c_i."""
        return replace(self, scale=place.scale)

    def initial(self, x0: Vector) -> RelayState:
        """Every node starts from x0, and knows of nobody else."""
        return RelayState(x0, x0)

    def adopt(self, state: RelayState, x: Vector) -> RelayState:
        """Go on from the neighbours' mean model."""
        return RelayState(x, x, members=state.members.anew())

    def resumed(self, state: RelayState) -> RelayState:
        """The own model: the others count anew without it."""
        return self.adopt(state, state.x)

    def opening(self, state: RelayState) -> Sequence[Outgoing]:
        """Version 0."""
        return (_published(state),)

    def advance(
        self, state: RelayState, local: Local, neighbours: Sequence[Neighbour]
    ) -> Advance[RelayState]:
        """Train from the mean of what has been relayed."""
        members = state.members.after(neighbours)
        said = Sum(_times(state.mean, state.number), state.number)
        heard = {n.peer: _said(n) for n in state.members.same(neighbours)}
        received = {peer: _less(told, state.sent.get(peer)) for peer, told in heard.items()}
        sent = {peer: _less(said, state.received.get(peer)) for peer in heard}
        start = _mean(state.x, received)[0]
        if members.epoch != state.members.epoch:
            received, sent = {}, {}
        state = state._replace(received=received, sent=sent, members=members, start=start)
        return Advance(state, train=TrainPlan(start), mixed=True)

    def finish(
        self, state: RelayState, local: Local, neighbours: Sequence[Neighbour], trained: Vector
    ) -> Finish[RelayState]:
        """Publish the mean of the new x and of what has been relayed."""
        assert state.start is not None
        x = scaled(state.start, trained, self.scale)
        mean, number = _mean(x, state.received)
        state = state._replace(x=x, mean=mean, number=number, start=None)
        return Finish(state, outgoing=(_published(state),))

    def served(self, state: RelayState, neighbours: Sequence[Neighbour]) -> Vector:
        """The mean of its own model and of those that have reached it."""
        return state.mean

    def public(self, state: RelayState) -> Vector:
        """x."""
        return state.x


def _published(state: RelayState) -> Outgoing:
    return Outgoing(state.mean, words=(state.number,), epoch=state.members.epoch)


def _said(neighbour: Neighbour) -> Sum:
    """M of a neighbour that was heard."""
    assert neighbour.header is not None
    assert neighbour.vector is not None
    (count,) = neighbour.header.words
    return Sum(_times(neighbour.vector, count), count)


def _times(mean: Vector, count: int) -> Vector:
    return frozen(mean * np.float32(count))


def _less(total: Sum, part: Sum | None) -> Sum:
    if part is None:
        return total
    return Sum(frozen(total.models - part.models), total.number - part.number)


def _mean(x: Vector, received: Mapping[NodeId, Sum]) -> tuple[Vector, int]:
    """The mean of x and of all that has been received, and how many models that are."""
    count = max(1, 1 + sum(part.number for part in received.values()))
    if not received:
        return x, 1
    total = x.copy()
    for part in received.values():
        total += part.models
    return frozen(total / np.float32(count)), count
