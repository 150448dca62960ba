"""FedBuff: the server moves by the mean of every K updates, whoever they come from.

w <- w + eta / K sum s(tau) D,    s(tau) = 1 / sqrt(1 + tau)

D is how far a client moved from the model that it started from, tau how many versions of the
model have come since that one. Its weights are those of `fedasync`; its steps are steadier.

A server that restarts without a checkpoint begins anew from x0: updates do not tell models.

Source: Nguyen, Malik, Zhan, Yousefpour, Rabbat, Malek, Huba, "Federated learning with buffered
asynchronous aggregation", AISTATS 2022.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from p2pfl.algorithms.discount import Discount, DiscountLaw
from p2pfl.algorithms.star_updates import QueueState, Update, UpdateClient, UpdateServer
from p2pfl.types import Vector, frozen


class Buffer(NamedTuple):
    """The updates since the last version."""

    total: Vector
    """sum s(tau) D."""
    filled: int = 0


@dataclass(frozen=True, slots=True)
class FedBuffServer(UpdateServer[Buffer]):
    """Every K updates are a new version."""

    buffer_size: int = 10
    """K."""
    server_learning_rate: float = 1.0
    """eta."""
    discount: Discount = "polynomial"
    """s."""
    discount_a: float = 0.5
    discount_b: float = 4.0

    def remembered(self, x0: Vector) -> Buffer:
        """Nothing yet."""
        return Buffer(frozen(np.zeros_like(x0)))

    def adopt(self, state: QueueState[Buffer], x: Vector) -> QueueState[Buffer]:
        """Begin anew: what clients sent last are differences."""
        return state

    def applied(
        self, x: Vector, memory: Buffer, update: Update, staleness: int
    ) -> tuple[Vector, Buffer, bool]:
        """Into the buffer; when it is full, one step."""
        law = DiscountLaw(self.discount, self.discount_a, self.discount_b)
        total = np.multiply(update.vector, np.float32(law(staleness) * update.scale))
        np.add(total, memory.total, total)
        filled = memory.filled + 1
        if filled < self.buffer_size:
            return x, Buffer(frozen(total), filled), False
        np.multiply(total, np.float32(self.server_learning_rate / filled), total)
        return frozen(np.add(x, total, total)), self.remembered(x), True


@dataclass(frozen=True, slots=True)
class FedBuffClient(UpdateClient):
    """Sends how far it moved."""

    def sent(self, start: Vector, trained: Vector) -> Vector:
        """The difference."""
        return frozen(np.subtract(trained, start))
