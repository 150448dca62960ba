"""D-PSGD: synchronous decentralized SGD, x(k+1) = W x(k) - gamma g(W x(k)).

Each node reads its live neighbours at exactly its own version and waits for them; the node core
matches the versions. Bit for bit the dense-matrix iteration, for any durations and delays.

Source: Lian, Zhang, Zhang, Hsieh, Zhang, Liu, "Can decentralized algorithms outperform
centralized algorithms?", NeurIPS 2017.
"""

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
from p2pfl.algorithms.mixing import mix
from p2pfl.messages import Neighbour
from p2pfl.types import Vector


@dataclass(frozen=True, slots=True)
class DPSGD(VectorAlgorithm):
    """Train from W x(k); where training ends is x(k+1)."""

    @property
    def capabilities(self) -> Capabilities:
        """Synchronous; needs a symmetric mixing matrix."""
        return Capabilities(synchronous=True)

    def advance(
        self, state: Vector, local: Local, neighbours: Sequence[Neighbour]
    ) -> Advance[Vector]:
        """Train from W x(k)."""
        return Advance(state, train=TrainPlan(mix(state, neighbours)), mixed=True)

    def finish(
        self, state: Vector, local: Local, neighbours: Sequence[Neighbour], trained: Vector
    ) -> Finish[Vector]:
        """Publish x(k+1)."""
        return Finish(trained, outgoing=(Outgoing(trained),))

    def served(self, state: Vector, neighbours: Sequence[Neighbour]) -> Vector:
        """W x(k), over the neighbours at hand."""
        return mix(state, neighbours)
