"""FedAsync: the server mixes every client's model in when it comes, the less the staler it is.

w <- (1 - a) w + a w_k,    a = alpha s(tau)

tau is how many versions old the model is that client k started from. Whoever reports more often
counts more: for small alpha the server rests at the optimum of sum r_i s(tau_i) f_i, where r_i
is client i's rate (`theory.servers`). A discount makes that worse, as
slow clients are the stale ones.

Source: Xie, Koyejo, Gupta, "Asynchronous federated optimization", 2019.
"""

from dataclasses import dataclass

import numpy as np

from p2pfl.algorithms.discount import Discount, DiscountLaw
from p2pfl.algorithms.star_updates import Update, UpdateServer
from p2pfl.types import Vector, frozen


@dataclass(frozen=True, slots=True)
class FedAsyncServer(UpdateServer[None]):
    """Each update is a new version."""

    alpha: float = 0.6
    """The weight of a model that is not stale."""
    discount: Discount = "polynomial"
    """s."""
    discount_a: float = 0.5
    discount_b: float = 4.0

    def remembered(self, x0: Vector) -> None:
        """Nothing."""

    def applied(
        self, x: Vector, memory: None, update: Update, staleness: int
    ) -> tuple[Vector, None, bool]:
        """One mix."""
        law = DiscountLaw(self.discount, self.discount_a, self.discount_b)
        weight = min(1.0, self.alpha * law(staleness) * update.scale)
        moved = np.subtract(update.vector, x)
        np.multiply(moved, np.float32(weight), moved)
        return frozen(np.add(x, moved, moved)), None, True
