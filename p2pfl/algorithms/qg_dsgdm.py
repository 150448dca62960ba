"""QG-DSGDm: momentum that follows the move of the mixed models, not of the node's own gradients.

z(k) = W x(k),  x(k+1) = z(k) - gamma (g(z(k)) + beta m(k)),
m(k+1) = beta m(k) + (1 - beta) (z(k) - z(k+1)) / gamma.

What its neighbours know goes into m by way of z, so that on unequal data momentum does not carry
every node to its own optimum, as the local one of DSGDm does. Nothing but x travels. In the end the
mixed models rest, m is 0, and the bias by unequal data is that of D-PSGD with the same learning
rate; that of DSGDm is as with a rate 1 / (1 - beta) times as large. It takes some multiples of
(1 - beta)^-2 updates: so slowly does a node alone forget its m.

With H local steps gamma is the sum of their learning rates, and all of them add the same beta m.

Source: Lin, Karimireddy, Stich, Jaggi, "Quasi-global momentum: accelerating decentralized deep
learning on heterogeneous data", ICML 2021 (algorithm 1, with mu = beta).
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


class QuasiGlobalState(NamedTuple):
    """The public model x(k), the momentum m, the mixed model z, and gamma H of its update."""

    x: Vector
    momentum: Vector | None = None
    mixed: Vector | None = None
    step_size: float = 0.0


@dataclass(frozen=True, slots=True)
class QGDSGDm(BaseAlgorithm[QuasiGlobalState]):
    """Train from z(k) with beta m added to each gradient."""

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

    def in_rounds(self, x0: Vector, nodes: Mapping[NodeId, Self]) -> "QGDSGDmRounds":
        """All nodes at once."""
        return QGDSGDmRounds(x0, tuple(nodes.values()))

    def initial(self, x0: Vector) -> QuasiGlobalState:
        """Every node starts from x0, at rest."""
        return QuasiGlobalState(x0)

    def adopt(self, state: QuasiGlobalState, x: Vector) -> QuasiGlobalState:
        """Go on from the neighbours' mean model, at rest."""
        return QuasiGlobalState(x)

    def resumed(self, state: QuasiGlobalState) -> QuasiGlobalState:
        """The public model and the momentum; how far the others went meanwhile is no move."""
        return QuasiGlobalState(state.x, state.momentum)

    def opening(self, state: QuasiGlobalState) -> Sequence[Outgoing]:
        """Version 0."""
        return (Outgoing(state.x),)

    def advance(
        self, state: QuasiGlobalState, local: Local, neighbours: Sequence[Neighbour]
    ) -> Advance[QuasiGlobalState]:
        """Train from z(k); how far it lies from z(k-1) goes into the momentum."""
        mixed = mix(state.x, neighbours)
        momentum = state.momentum
        if state.mixed is not None:
            momentum = self._moved(momentum, mean_gradient(state.mixed, mixed, state.step_size))
        push = None if momentum is None else frozen(momentum * np.float32(self.beta))
        return Advance(
            QuasiGlobalState(state.x, momentum, mixed),
            train=TrainPlan(mixed, correction=push),
            mixed=True,
        )

    def finish(
        self,
        state: QuasiGlobalState,
        local: Local,
        neighbours: Sequence[Neighbour],
        trained: Vector,
    ) -> Finish[QuasiGlobalState]:
        """Publish x(k+1)."""
        assert state.mixed is not None
        x = scaled(state.mixed, trained, self.scale)
        state = state._replace(x=x, step_size=local.step_size)
        return Finish(state, outgoing=(Outgoing(x),))

    def served(self, state: QuasiGlobalState, neighbours: Sequence[Neighbour]) -> Vector:
        """W x(k), over the neighbours at hand."""
        return mix(state.x, neighbours)

    def public(self, state: QuasiGlobalState) -> Vector:
        """x(k)."""
        return state.x

    def _moved(self, momentum: Vector | None, move: Vector | None) -> Vector | None:
        """Beta m + (1 - beta) move; without a step nothing moved that would say anything."""
        if move is None:
            return momentum
        move = move * np.float32(1.0 - self.beta)
        return frozen(move if momentum is None else momentum * np.float32(self.beta) + move)


class QGDSGDmRounds:
    """All nodes' x(k), m and z(k) as rows; see `Rounds`."""

    def __init__(self, x0: Vector, nodes: Sequence[QGDSGDm]) -> None:
        self._x = rows_of(x0, len(nodes))
        self._start = rows_of(x0, len(nodes))
        self._scales = [node.scale for node in nodes]
        self._keeps = column([node.beta for node in nodes])
        self._takes = column([1.0 - node.beta for node in nodes])
        self._momentum: Rows | None = None
        self._mixed: Rows | None = None
        self._step_sizes = np.zeros(len(nodes))

    def handed_out(self) -> tuple[Rows, ...]:
        """x(k)."""
        return (self._x,)

    def begin(self, held: Held, turn: Turn) -> Plan:
        """Train from z(k); how far it lies from z(k-1) goes into the momentum."""
        start = held.mix(self._x, self._start)
        if self._mixed is not None:
            self._move(self._mixed, start)
        self._mixed, self._step_sizes = start.copy(), turn.step_sizes
        push = None if self._momentum is None else self._momentum * self._keeps
        return Plan(start, push)

    def end(self, trained: Rows, turn: Turn) -> None:
        """Where training ended is x(k+1)."""
        assert self._mixed is not None
        scale_rows(self._mixed, trained, self._scales)
        self._start, self._x = self._x, trained

    def served(self, rows: Positions, held: Held) -> Rows:
        """W x(k), over the neighbours at hand."""
        return held.mix(self._x[rows])

    def public(self) -> Rows:
        """x(k)."""
        return self._x

    def _move(self, before: Rows, after: Rows) -> None:
        moved = mean_gradients(before, after, self._step_sizes) * self._takes
        if self._momentum is None:
            self._momentum = moved
            return
        # Without a step nothing moved that would say anything.
        steps = self._step_sizes[:, None] != 0.0
        self._momentum = np.where(steps, self._momentum * self._keeps + moved, self._momentum)
