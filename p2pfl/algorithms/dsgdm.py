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
from p2pfl.algorithms.rounds import Held, Plan, Turn
from p2pfl.algorithms.rows import column, mean_gradients, rows_of, scale_rows
from p2pfl.messages import Neighbour
from p2pfl.types import NodeId, Positions, Rows, Vector, frozen


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

    def in_rounds(self, x0: Vector, nodes: Mapping[NodeId, Self]) -> "DSGDmRounds":
        """All nodes at once."""
        return DSGDmRounds(x0, tuple(nodes.values()))

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


class DSGDmRounds:
    """All nodes' x(k) and m(k-1) as rows; see `Rounds`."""

    def __init__(self, x0: Vector, nodes: Sequence[DSGDm]) -> None:
        self._x = rows_of(x0, len(nodes))
        self._start = rows_of(x0, len(nodes))
        self._begun = self._x
        self._momentum: Rows | None = None
        self._scales = [node.scale for node in nodes]
        self._betas = column([node.beta for node in nodes])

    def handed_out(self) -> tuple[Rows, ...]:
        """x(k)."""
        return (self._x,)

    def begin(self, held: Held, turn: Turn) -> Plan:
        """Train from W x(k) with beta m added to each gradient."""
        start = held.mix(self._x, self._start)
        self._begun = start.copy()
        push = None if self._momentum is None else self._momentum * self._betas
        return Plan(start, push)

    def end(self, trained: Rows, turn: Turn) -> None:
        """Where training ended is x(k+1); what it moved per unit of step size is m(k)."""
        self._momentum = mean_gradients(self._begun, trained, turn.step_sizes)
        scale_rows(self._begun, trained, self._scales)
        self._start, self._x = self._x, trained

    def served(self, rows: Positions, held: Held) -> Rows:
        """W x(k), over the neighbours at hand."""
        return held.mix(self._x[rows])

    def public(self) -> Rows:
        """x(k)."""
        return self._x
