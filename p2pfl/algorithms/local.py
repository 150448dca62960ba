"""No mixing at all: each node alone; with the pooled data at one node, centralized SGD."""

from collections.abc import Sequence
from dataclasses import dataclass

from p2pfl.algorithms.base import (
    Advance,
    Capabilities,
    Finish,
    Local,
    Outgoing,
    TrainPlan,
    VectorAlgorithm,
)
from p2pfl.messages import Neighbour
from p2pfl.types import Vector


@dataclass(frozen=True, slots=True)
class LocalOnly(VectorAlgorithm):
    """Nothing is handed out and nothing is read."""

    @property
    def capabilities(self) -> Capabilities:
        """Any graph will do."""
        return Capabilities(undirected=False)

    def adopt(self, state: Vector, x: Vector) -> Vector:
        """A node that learns alone has nothing to adopt."""
        return state

    def opening(self, state: Vector) -> Sequence[Outgoing]:
        """Nothing."""
        return ()

    def advance(
        self, state: Vector, local: Local, neighbours: Sequence[Neighbour]
    ) -> Advance[Vector]:
        """Train on from x."""
        return Advance(state, train=TrainPlan(state))

    def finish(
        self, state: Vector, local: Local, neighbours: Sequence[Neighbour], trained: Vector
    ) -> Finish[Vector]:
        """Keep where training ended."""
        return Finish(trained, outgoing=())
