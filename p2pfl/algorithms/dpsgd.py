"""D-PSGD: synchronous decentralized SGD, x(k+1) = W x(k) - gamma g(W x(k)).

Each node reads its live neighbours at exactly its own version and waits for them; the node core
matches the versions. Bit for bit the dense-matrix iteration, for any durations and delays.

Source: Lian, Zhang, Zhang, Hsieh, Zhang, Liu, "Can decentralized algorithms outperform
centralized algorithms?", NeurIPS 2017.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, Self

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
from p2pfl.algorithms.mixing import mix, scaled
from p2pfl.algorithms.rounds import Held, Plan, Turn
from p2pfl.messages import Neighbour
from p2pfl.types import NodeId, Positions, Rows, Vector, aligned_rows


class RoundState(NamedTuple):
    """The public model x(k), and where the training under way began."""

    x: Vector
    start: Vector | None = None


@dataclass(frozen=True, slots=True)
class DPSGD(BaseAlgorithm[RoundState]):
    """Train from W x(k); where training ends is x(k+1)."""

    scale: float = 1.0
    """c_i, by which the local update counts."""

    @property
    def capabilities(self) -> Capabilities:
        """Synchronous; needs a symmetric mixing matrix, the same or another one in each round."""
        return Capabilities(synchronous=True, scheduled=True, byzantine_safe=True)

    def at(self, place: Surroundings) -> Self:
        """With the node's own c_i."""
        return replace(self, scale=place.scale)

    def in_rounds(self, x0: Vector, nodes: Mapping[NodeId, Self]) -> "DPSGDRounds":
        """All nodes at once."""
        return DPSGDRounds(x0, [node.scale for node in nodes.values()])

    def initial(self, x0: Vector) -> RoundState:
        """Every node starts from x0."""
        return RoundState(x0)

    def adopt(self, state: RoundState, x: Vector) -> RoundState:
        """Go on from the neighbours' mean model."""
        return RoundState(x)

    def resumed(self, state: RoundState) -> RoundState:
        """The public model: an update that was under way is lost."""
        return RoundState(state.x)

    def opening(self, state: RoundState) -> Sequence[Outgoing]:
        """Version 0."""
        return (Outgoing(state.x),)

    def advance(
        self, state: RoundState, local: Local, neighbours: Sequence[Neighbour]
    ) -> Advance[RoundState]:
        """Train from W x(k)."""
        start = mix(state.x, neighbours)
        return Advance(RoundState(state.x, start), train=TrainPlan(start), mixed=True)

    def finish(
        self, state: RoundState, local: Local, neighbours: Sequence[Neighbour], trained: Vector
    ) -> Finish[RoundState]:
        """Publish x(k+1)."""
        assert state.start is not None
        x = scaled(state.start, trained, self.scale)
        return Finish(RoundState(x), outgoing=(Outgoing(x),))

    def served(self, state: RoundState, neighbours: Sequence[Neighbour]) -> Vector:
        """W x(k), over the neighbours at hand."""
        return mix(state.x, neighbours)

    def public(self, state: RoundState) -> Vector:
        """x(k)."""
        return state.x


class DPSGDRounds:
    """All nodes' x(k) as rows; see `Rounds`."""

    def __init__(self, x0: Vector, scales: Sequence[float]) -> None:
        self._x = aligned_rows(len(scales), x0.size)
        self._x[:] = x0
        self._start = aligned_rows(*self._x.shape)
        self._scaled = [(row, scale) for row, scale in enumerate(scales) if scale != 1.0]
        self._begun: list[Vector] = []

    def handed_out(self) -> tuple[Rows, ...]:
        """x(k)."""
        return (self._x,)

    def begin(self, held: Held, turn: Turn) -> Plan:
        """Train from W x(k)."""
        held.mix(self._x, self._start)
        self._begun = [self._start[row].copy() for row, _ in self._scaled]
        return Plan(self._start)

    def end(self, trained: Rows, turn: Turn) -> None:
        """Where training ended is x(k+1)."""
        for (row, scale), start in zip(self._scaled, self._begun, strict=True):
            trained[row] = scaled(start, trained[row], scale)
        self._start, self._x = self._x, trained

    def served(self, rows: Positions, held: Held) -> Rows:
        """W x(k), over the neighbours at hand."""
        return held.mix(self._x[rows])

    def public(self) -> Rows:
        """x(k)."""
        return self._x
