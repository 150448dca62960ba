"""FedAdam: an adaptive server. The clients' mean update is its pseudo-gradient.

D = sum_k p_k (w_k - w(r))
m(r+1) = beta1 m(r) + (1 - beta1) D,    v(r+1) = beta2 v(r) + (1 - beta2) D^2,    v(0) = tau^2
w(r+1) = w(r) + eta m(r+1) / (sqrt(v(r+1)) + tau)

Nothing corrects the moments' beginning, as in the paper.

Source: Reddi, Charles, Zaheer, Garrett, Rush, Konecny, Kumar, McMahan, "Adaptive federated
optimization", ICLR 2021, algorithm 2.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from p2pfl.algorithms.base import Local
from p2pfl.algorithms.star_rounds import Answer, RoundServer, ServerState, mean_update
from p2pfl.types import Vector, frozen


class Moments(NamedTuple):
    """The running means of the pseudo-gradient and of its square."""

    first: Vector
    second: Vector


@dataclass(frozen=True, slots=True)
class FedAdamServer(RoundServer[Moments]):
    """Its memory is Adam's moments."""

    server_learning_rate: float = 0.01
    """eta."""
    server_betas: tuple[float, ...] = (0.9, 0.99)
    """beta1 and beta2."""
    adaptivity: float = 1e-3
    """tau: coordinates whose updates are much smaller than it all move alike."""

    def remembered(self, x0: Vector) -> Moments:
        """m(0) = 0, v(0) = tau^2."""
        start = np.full_like(x0, self.adaptivity**2)
        return Moments(frozen(np.zeros_like(x0)), frozen(start))

    def combined(
        self, state: ServerState[Moments], local: Local, answers: Sequence[Answer]
    ) -> tuple[Vector, Moments]:
        """One step of Adam."""
        update = mean_update(state.x, answers, normalise=bool(self.weights))
        first_beta, second_beta = self.server_betas
        first = _decayed(state.memory.first, update, first_beta)
        second = _decayed(state.memory.second, np.square(update), second_beta)
        moved = np.sqrt(second) + np.float32(self.adaptivity)
        np.divide(first, moved, moved)
        np.multiply(moved, np.float32(self.server_learning_rate), moved)
        return frozen(state.x + moved), Moments(first, second)


def _decayed(mean: Vector, news: Vector, beta: float) -> Vector:
    """beta mean + (1 - beta) news, read-only."""
    result = np.multiply(mean, np.float32(beta))
    result += np.multiply(news, np.float32(1.0 - beta))
    return frozen(result)
