"""SGP: stochastic gradient push, synchronous push-sum on directed graphs.

Each node pushes equal shares of (x_i, y_i) to those who hear it, and keeps one:
    x = p_ii x_i + sum_j p_ij x_j,   y likewise,   z = x / y,   x(k+1) = x - gamma g(z).
Columns of p sum to 1, so that sum x and sum y are kept, and z is unbiased where rows do not sum
to 1. Each version says its share, which leaves out the hearers that are known to be dead: what was
pushed to them before that is known is lost. A lost message is asked for again.

Source: Assran, Loizou, Ballas, Rabbat, "Stochastic gradient push for distributed deep learning",
ICML 2019.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, Self

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
from p2pfl.algorithms.node_by_node import NodeByNode
from p2pfl.algorithms.rounds import Rounds
from p2pfl.messages import Neighbour
from p2pfl.types import NodeId, Vector, frozen


class Under(NamedTuple):
    """A round under way: what had been pushed by its beginning, and where training began."""

    x: Vector
    y: float
    start: Vector


class Mass(NamedTuple):
    """The numerator x(k), its weight y(k) and the share of both that is kept; and the round.

    y and the share have float32 precision: they are what receivers read.
    """

    x: Vector
    y: float
    share: float
    under_way: Under | None = None


@dataclass(frozen=True, slots=True)
class SGP(BaseAlgorithm[Mass]):
    """Trains from z; what training moved is added to x."""

    hearers: tuple[NodeId, ...] = ()
    scale: float = 1.0
    """c_i, by which the local update counts."""

    @property
    def capabilities(self) -> Capabilities:
        """Synchronous, on a constant graph of one-way or two-way links; y and share go beside x."""
        return Capabilities(
            synchronous=True,
            undirected=False,
            column_stochastic=True,
            acknowledged=True,
            compressible=False,
            beside=Beside("float32", per_number=0, more=2),
        )

    def at(self, place: Surroundings) -> Self:
        """With those who hear this node."""
        return replace(self, hearers=place.hearers, scale=place.scale)

    def in_rounds(self, x0: Vector, nodes: Mapping[NodeId, Self]) -> Rounds:
        """All nodes in a row."""
        return NodeByNode(x0, nodes)

    def initial(self, x0: Vector) -> Mass:
        """Every node starts from x0, with weight 1."""
        return Mass(x0, 1.0, self._share(()))

    def adopt(self, state: Mass, x: Vector) -> Mass:
        """The neighbours' mean model, with weight 1."""
        return Mass(x, 1.0, self._share(()))

    def resumed(self, state: Mass) -> Mass:
        """x and y: an update that was under way is lost."""
        return Mass(state.x, state.y, state.share)

    def opening(self, state: Mass) -> Sequence[Outgoing]:
        """Version 0."""
        return (_outgoing(state),)

    def advance(self, state: Mass, local: Local, neighbours: Sequence[Neighbour]) -> Advance[Mass]:
        """Take what was pushed, and train from z."""
        x, y = np.multiply(state.x, np.float32(state.share)), state.share * state.y
        for n in neighbours:
            if n.vector is not None and n.extra is not None and n.extra[0] > 0.0:
                share = np.float32(np.clip(n.extra[1], 0.0, 1.0))
                x += n.vector * share
                y += float(share) * float(n.extra[0])
        y = float(np.float32(y))
        z: Vector = np.divide(x, np.float32(y), dtype=np.float32)
        under_way = Under(frozen(x), y, frozen(z))
        after = Mass(state.x, state.y, state.share, under_way)
        return Advance(after, train=TrainPlan(under_way.start), mixed=True)

    def finish(
        self, state: Mass, local: Local, neighbours: Sequence[Neighbour], trained: Vector
    ) -> Finish[Mass]:
        """Publish x(k+1), y(k+1) and the share that each hearer takes of them."""
        under_way = state.under_way
        assert under_way is not None
        moved = np.float32(self.scale) * (trained - under_way.start)
        after = Mass(frozen(under_way.x + moved), under_way.y, self._share(neighbours))
        return Finish(after, (_outgoing(after),))

    def served(self, state: Mass, neighbours: Sequence[Neighbour]) -> Vector:
        """z, the newest that is whole."""
        return self.public(state)

    def public(self, state: Mass) -> Vector:
        """z(k) = x(k) / y(k)."""
        z: Vector = state.x / np.float32(state.y)
        return frozen(z)

    def _share(self, neighbours: Sequence[Neighbour]) -> float:
        """1 / (1 + hearers), without those that are known to be dead."""
        dead = {n.peer for n in neighbours if not n.live}
        return float(np.float32(1.0 / (1 + sum(peer not in dead for peer in self.hearers))))


def _outgoing(state: Mass) -> Outgoing:
    return Outgoing(state.x, extra=np.array([state.y, state.share], np.float32))
