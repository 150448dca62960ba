"""FedAvgM: FedAvg with momentum at the server.

v(r+1) = beta v(r) - sum_k p_k (w_k - w(r)),    w(r+1) = w(r) - eta v(r+1)

Source: Hsu, Qi, Brown, "Measuring the effects of non-identical data distribution for federated
visual classification", 2019.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from p2pfl.algorithms.base import Local
from p2pfl.algorithms.star_rounds import Answer, RoundServer, ServerState, mean_update
from p2pfl.types import Vector, frozen


@dataclass(frozen=True, slots=True)
class FedAvgMServer(RoundServer[Vector]):
    """Its memory is the velocity v."""

    server_learning_rate: float = 1.0
    """eta."""
    server_momentum: float = 0.9
    """beta."""

    def remembered(self, x0: Vector) -> Vector:
        """v(0) = 0."""
        return frozen(np.zeros_like(x0))

    def combined(
        self, state: ServerState[Vector], local: Local, answers: Sequence[Answer]
    ) -> tuple[Vector, Vector]:
        """One step of the heavy ball."""
        velocity = np.multiply(state.memory, np.float32(self.server_momentum))
        velocity -= mean_update(state.x, answers, normalise=bool(self.weights))
        moved = np.multiply(velocity, np.float32(self.server_learning_rate))
        return frozen(state.x - moved), frozen(velocity)
