"""D2, also known as exact diffusion: no bias by unequal data, with nothing more to send.

X(k+1) = W~ (2 X(k) - X(k-1) - gamma (G(k) - G(k-1))),  X(1) = W~ (X(0) - gamma G(0)),
with W~ = (I + W) / 2. Here as each node sees it:

    psi = LocalTrain(z),  h = psi + phi,  z+ = h + 1/2 sum_j w_ij (h_j - h),
                                          phi+ = phi + 1/2 sum_j w_ij (h_j - h)

h is what travels and phi what mixing has moved so far; the sum of phi over all nodes is zero and
stays so, since w_ij = w_ji. All rest where all agree and phi cancels each node's own update, hence
where the updates of all nodes cancel: with one local step, at the optimum. With more, it is the
point where FedAvg's clients cancel, which their drift moves away from the optimum.

W~ and not W: the recursion needs eigenvalues above -1/3, and Metropolis weights on a ring of an
even number of nodes have just -1/3.

When somebody dies or is missed, phi starts anew from zero (`epochs.py`). What the dead have left in
the others' phi would keep everybody at the optimum of all, the dead included.

Sources: Tang, Lian, Yan, Zhang, Liu, "D2: decentralized training over decentralized data", ICML
2018; Yuan, Ying, Zhao, Sayed, "Exact diffusion for distributed optimization and learning", IEEE
Trans. Signal Processing 2019 (the primal-dual form).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, NamedTuple, Self

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
from p2pfl.algorithms.mixing import mix, pull, scaled
from p2pfl.algorithms.rounds import Held, Plan, Turn
from p2pfl.algorithms.rows import rows_of, scale_rows
from p2pfl.messages import Neighbour
from p2pfl.types import NodeId, Positions, Rows, Vector, frozen

HALF: Final = np.float32(0.5)


class CorrectedState(NamedTuple):
    """The public model h, what mixing has moved so far, and where the training under way began."""

    x: Vector
    moved: Vector
    members: Membership = Membership()
    start: Vector | None = None


@dataclass(frozen=True, slots=True)
class D2(BaseAlgorithm[CorrectedState]):
    """Train from the lazy mix; add what mixing has moved so far to where training ends."""

    scale: float = 1.0
    """c_i, by which the local update counts."""

    @property
    def capabilities(self) -> Capabilities:
        """Synchronous, on a constant graph, and what travels must arrive as it was sent."""
        return Capabilities(synchronous=True, conserving=True, compressible=False)

    def at(self, place: Surroundings) -> Self:
        """With the node's own c_i."""
        return replace(self, scale=place.scale)

    def in_rounds(self, x0: Vector, nodes: Mapping[NodeId, Self]) -> "D2Rounds":
        """All nodes at once: nobody is missed, and all stay in the first epoch."""
        return D2Rounds(x0, [node.scale for node in nodes.values()])

    def initial(self, x0: Vector) -> CorrectedState:
        """Every node starts from x0, and nothing has moved."""
        return CorrectedState(x0, frozen(np.zeros_like(x0)))

    def adopt(self, state: CorrectedState, x: Vector) -> CorrectedState:
        """Go on from the neighbours' mean model."""
        return self.initial(x)._replace(members=state.members.anew())

    def resumed(self, state: CorrectedState) -> CorrectedState:
        """The public model: the others have begun anew without this node."""
        return self.adopt(state, state.x)

    def opening(self, state: CorrectedState) -> Sequence[Outgoing]:
        """Version 0."""
        return (_published(state),)

    def advance(
        self, state: CorrectedState, local: Local, neighbours: Sequence[Neighbour]
    ) -> Advance[CorrectedState]:
        """Train from W~ h."""
        move = pull(state.x, neighbours) * HALF
        start = frozen(state.x + move)
        members = state.members.after(neighbours)
        same = members.same(neighbours)
        if members.epoch != state.members.epoch:
            moved = np.zeros_like(move)
        elif len(same) == sum(n.vector is not None for n in neighbours):
            moved = state.moved + move
        else:
            moved = state.moved + pull(state.x, same) * HALF
        state = CorrectedState(state.x, frozen(moved), members, start)
        return Advance(state, train=TrainPlan(start), mixed=True)

    def finish(
        self, state: CorrectedState, local: Local, neighbours: Sequence[Neighbour], trained: Vector
    ) -> Finish[CorrectedState]:
        """Publish h of the next version."""
        assert state.start is not None
        x = frozen(scaled(state.start, trained, self.scale) + state.moved)
        state = CorrectedState(x, state.moved, state.members)
        return Finish(state, outgoing=(_published(state),))

    def served(self, state: CorrectedState, neighbours: Sequence[Neighbour]) -> Vector:
        """W h, over the neighbours at hand."""
        return mix(state.x, neighbours)

    def public(self, state: CorrectedState) -> Vector:
        """h."""
        return state.x


def _published(state: CorrectedState) -> Outgoing:
    return Outgoing(state.x, epoch=state.members.epoch)


class D2Rounds:
    """All nodes' h, and what mixing has moved so far, as rows; see `Rounds`."""

    def __init__(self, x0: Vector, scales: Sequence[float]) -> None:
        self._x, self._start = rows_of(x0, len(scales)), rows_of(x0, len(scales))
        self._moved = np.zeros_like(self._x)
        self._scales = scales
        self._begun: Rows | None = None

    def handed_out(self) -> tuple[Rows, ...]:
        """h."""
        return (self._x,)

    def begin(self, held: Held, turn: Turn) -> Plan:
        """Train from W~ h."""
        move = held.pull(self._x)
        move *= HALF
        start = np.add(self._x, move, self._start)
        self._moved += move
        weighed = any(scale != 1.0 for scale in self._scales)
        self._begun = start.copy() if weighed else None
        return Plan(start)

    def end(self, trained: Rows, turn: Turn) -> None:
        """h of the next version."""
        if self._begun is not None:
            scale_rows(self._begun, trained, self._scales)
        trained += self._moved
        self._start, self._x = self._x, trained

    def served(self, rows: Positions, held: Held) -> Rows:
        """W h, over the neighbours at hand."""
        return held.mix(self._x[rows])

    def public(self) -> Rows:
        """h."""
        return self._x
