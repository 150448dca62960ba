"""DSGDm: D-PSGD with heavy-ball momentum that stays at its node.

m(k) = beta m(k-1) + g(W x(k)),  x(k+1) = W x(k) - gamma m(k); only x is mixed.

With one local step per update this is D-PSGD whose optimizer has `training.momentum = beta`, up to
rounding. With more, the optimizer's momentum turns at every step, this one at every update: all
steps of an update add the same beta m to their gradients, and g is their mean. That is how
QG-DSGDm has it too, so that the two differ only in whose movement m remembers.

In the end every step counts 1 / (1 - beta) times, and so the bias by unequal data is that of
D-PSGD with a learning rate as much larger.

Source: Lin, Karimireddy, Stich, Jaggi, "Quasi-global momentum: accelerating decentralized deep
learning on heterogeneous data", ICML 2021 (DSGDm as its baseline).
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
from p2pfl.algorithms.mixing import mean_gradient, mix, scaled
from p2pfl.algorithms.node_by_node import NodeByNode
from p2pfl.algorithms.rounds import Rounds
from p2pfl.messages import Neighbour
from p2pfl.types import NodeId, Vector, frozen


class MomentumState(NamedTuple):
    """The public model x(k), the momentum m(k-1), and where the training under way began."""

    x: Vector
    momentum: Vector | None = None
    start: Vector | None = None


@dataclass(frozen=True, slots=True)
class DSGDm(BaseAlgorithm[MomentumState]):
    """Train from W x(k) with beta m added to each gradient."""

    beta: float = 0.9
    """How much of the momentum stays from one update to the next, in [0, 1)."""
    scale: float = 1.0
    """c_i, by which the local update counts."""

    @property
    def capabilities(self) -> Capabilities:
        """As D-PSGD; the momentum is its own, so the optimizer must have none."""
        return Capabilities(synchronous=True, scheduled=True, plain_sgd=True, byzantine_safe=True)

    def at(self, place: Surroundings) -> Self:
        """With the node's own c_i."""
        return replace(self, scale=place.scale)

    def in_rounds(self, x0: Vector, nodes: Mapping[NodeId, Self]) -> Rounds:
        """All nodes in a row."""
        return NodeByNode(x0, nodes)

    def initial(self, x0: Vector) -> MomentumState:
        """Every node starts from x0, at rest."""
        return MomentumState(x0)

    def adopt(self, state: MomentumState, x: Vector) -> MomentumState:
        """Go on from the neighbours' mean model, at rest."""
        return MomentumState(x)

    def resumed(self, state: MomentumState) -> MomentumState:
        """The public model and the momentum."""
        return MomentumState(state.x, state.momentum)

    def opening(self, state: MomentumState) -> Sequence[Outgoing]:
        """Version 0."""
        return (Outgoing(state.x),)

    def advance(
        self, state: MomentumState, local: Local, neighbours: Sequence[Neighbour]
    ) -> Advance[MomentumState]:
        """Train from W x(k)."""
        start = mix(state.x, neighbours)
        push = None
        if state.momentum is not None:
            push = frozen(state.momentum * np.float32(self.beta))
        plan = TrainPlan(start, correction=push)
        return Advance(state._replace(start=start), train=plan, mixed=True)

    def finish(
        self, state: MomentumState, local: Local, neighbours: Sequence[Neighbour], trained: Vector
    ) -> Finish[MomentumState]:
        """Publish x(k+1); what training moved per unit of step size is m(k)."""
        assert state.start is not None
        x = scaled(state.start, trained, self.scale)
        momentum = mean_gradient(state.start, trained, local.step_size)
        return Finish(MomentumState(x, momentum), outgoing=(Outgoing(x),))

    def served(self, state: MomentumState, neighbours: Sequence[Neighbour]) -> Vector:
        """W x(k), over the neighbours at hand."""
        return mix(state.x, neighbours)

    def public(self, state: MomentumState) -> Vector:
        """x(k)."""
        return state.x
