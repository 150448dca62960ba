"""Gradient tracking (DSGT): no bias by unequal data, whatever the graph and the step.

z(k) = W x(k),  y(k+1) = W y(k) + g(z(k)) - g(z(k-1)),  x(k+1) = z(k) - gamma y(k+1).

y tracks the mean gradient of all nodes: the sum of y equals the sum of the newest gradients, at
every version. So all rest only where all agree and the mean gradient is zero. x and y travel
together, twice the numbers of D-PSGD; a form that mixes the new gradient at once, too, would need a
second exchange in every round.

When somebody dies or is missed, trackers start anew from the gradients (`epochs.py`), and the
survivors go on to the optimum of what they hold.

With H local steps g is the sum of the gradients of an update, and the correction W y(k) - g(z(k-1))
is spread over its steps: nodes drift towards their own optima neither within updates nor between.

Sources: Pu, Nedic, "Distributed stochastic gradient tracking methods", Mathematical Programming
2021 (DSGT); Nedic, Olshevsky, Shi, "Achieving geometric convergence for distributed optimization
over time-varying graphs", SIAM J. Optim. 2017 (DIGing).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, Self, cast

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
from p2pfl.algorithms.epochs import Membership
from p2pfl.algorithms.mixing import mean_gradient, mix, scaled
from p2pfl.algorithms.rounds import Held, Plan, Turn
from p2pfl.algorithms.rows import column, mean_gradients, rows_of, scale_rows
from p2pfl.messages import Neighbour
from p2pfl.types import NodeId, Positions, Rows, Vector, frozen


class TrackState(NamedTuple):
    """The public model x(k) and tracker y(k), the gradient in it, and the training under way."""

    x: Vector
    tracker: Vector
    gradient: Vector
    members: Membership = Membership()
    start: Vector | None = None
    correction: Vector | None = None


@dataclass(frozen=True, slots=True)
class GradientTracking(BaseAlgorithm[TrackState]):
    """Train from W x(k) with W y(k) - g added to the gradients, so that the step is y(k+1)."""

    scale: float = 1.0
    """c_i, by which the local update counts: the tracked mean is that of c_i g_i."""

    @property
    def capabilities(self) -> Capabilities:
        """Synchronous; the tracker travels exactly, beside the model."""
        return Capabilities(
            synchronous=True,
            scheduled=True,
            conserving=True,
            plain_sgd=True,
            beside=Beside("float32"),
        )

    def at(self, place: Surroundings) -> Self:
        """With the node's own c_i."""
        return replace(self, scale=place.scale)

    def in_rounds(self, x0: Vector, nodes: Mapping[NodeId, Self]) -> "GradientTrackingRounds":
        """All nodes at once: nobody is missed, and all stay in the first epoch."""
        return GradientTrackingRounds(x0, [node.scale for node in nodes.values()])

    def initial(self, x0: Vector) -> TrackState:
        """Every node starts from x0, and has seen no gradient."""
        nothing = frozen(np.zeros_like(x0))
        return TrackState(x0, nothing, nothing)

    def adopt(self, state: TrackState, x: Vector) -> TrackState:
        """Go on from the neighbours' mean model, with a tracker anew."""
        return self.initial(x)._replace(members=state.members.anew())

    def resumed(self, state: TrackState) -> TrackState:
        """The public model: the others track without this node's gradients by then."""
        return self.adopt(state, state.x)

    def opening(self, state: TrackState) -> Sequence[Outgoing]:
        """Version 0."""
        return (_published(state),)

    def advance(
        self, state: TrackState, local: Local, neighbours: Sequence[Neighbour]
    ) -> Advance[TrackState]:
        """Train from W x(k)."""
        start = mix(state.x, neighbours)
        members = state.members.after(neighbours)
        if members.epoch != state.members.epoch:
            nothing = self.initial(start).tracker
            state = state._replace(tracker=nothing, gradient=nothing, members=members)
        else:
            # Admission has seen to it that what lies beside a model is float32 here.
            same = members.same(neighbours)
            tracked = [n._replace(vector=cast("Vector", n.extra)) for n in same]
            state = state._replace(tracker=mix(state.tracker, tracked), members=members)
        missing = state.tracker - state.gradient
        correction = frozen(missing / np.float32(self.scale * local.local_steps))
        plan = TrainPlan(start, correction=correction)
        return Advance(state._replace(start=start, correction=correction), train=plan, mixed=True)

    def finish(
        self, state: TrackState, local: Local, neighbours: Sequence[Neighbour], trained: Vector
    ) -> Finish[TrackState]:
        """Publish x(k+1) and y(k+1)."""
        start, correction = state.start, state.correction
        assert start is not None
        assert correction is not None
        followed = mean_gradient(start, trained, local.step_size)
        gradient = state.gradient
        if followed is not None:
            gradient = (followed - correction) * np.float32(self.scale * local.local_steps)
        # The difference of two gradients that are nearly equal is exact in floating point: what is
        # rounded in the sum of the trackers is of the size of y, which fades, and not of g.
        state = TrackState(
            x=scaled(start, trained, self.scale),
            tracker=frozen(state.tracker + (gradient - state.gradient)),
            gradient=frozen(gradient),
            members=state.members,
        )
        return Finish(state, outgoing=(_published(state),))

    def served(self, state: TrackState, neighbours: Sequence[Neighbour]) -> Vector:
        """W x(k), over the neighbours at hand."""
        return mix(state.x, neighbours)

    def public(self, state: TrackState) -> Vector:
        """x(k)."""
        return state.x


def _published(state: TrackState) -> Outgoing:
    return Outgoing(state.x, extra=state.tracker, epoch=state.members.epoch)


class GradientTrackingRounds:
    """All nodes' models, trackers and gradients as rows; see `Rounds`."""

    def __init__(self, x0: Vector, scales: Sequence[float]) -> None:
        nodes = len(scales)
        self._x, self._start = rows_of(x0, nodes), rows_of(x0, nodes)
        self._tracker = np.zeros_like(self._x)
        self._gradient = np.zeros_like(self._x)
        self._begun = self._correction = self._x
        self._scales = scales

    def handed_out(self) -> tuple[Rows, ...]:
        """x(k) and y(k)."""
        return self._x, self._tracker

    def begin(self, held: Held, turn: Turn) -> Plan:
        """Train from W x(k), with W y(k) - g added to the gradients."""
        start = held.mix(self._x, self._start)
        self._tracker = held.mix(self._tracker, part=1)
        self._correction = (self._tracker - self._gradient) / self._counts(turn)
        self._begun = start.copy()
        return Plan(start, self._correction)

    def end(self, trained: Rows, turn: Turn) -> None:
        """Where training ended is x(k+1); the new gradients go into the trackers."""
        followed = mean_gradients(self._begun, trained, turn.step_sizes)
        steps = turn.step_sizes[:, None] != 0.0
        newest = (followed - self._correction) * self._counts(turn)
        gradient: Rows = np.where(steps, newest, self._gradient)
        self._tracker = self._tracker + (gradient - self._gradient)
        self._gradient = gradient
        scale_rows(self._begun, trained, self._scales)
        self._start, self._x = self._x, trained

    def served(self, rows: Positions, held: Held) -> Rows:
        """W x(k), over the neighbours at hand."""
        return held.mix(self._x[rows])

    def public(self) -> Rows:
        """x(k)."""
        return self._x

    def _counts(self, turn: Turn) -> Rows:
        """How often each node's mean gradient counts, `[n, 1]`."""
        return column(np.array(self._scales) * turn.local_steps)
