"""How much what is stale still counts."""

from dataclasses import dataclass
from math import exp
from typing import Literal

Discount = Literal["constant", "polynomial", "hinge", "exponential"]


@dataclass(frozen=True, slots=True)
class DiscountLaw:
    """How much a model of staleness t counts: 1 when it is fresh, less and less with t.

    constant     1
    polynomial   (1 + t)^-a
    hinge        1 up to b, then 1 / (a (t - b) + 1)
    exponential  e^(-t / b)

    Source: Xie, Koyejo, Gupta, "Asynchronous federated optimization", 2019 (the first three).
    """

    kind: Discount = "polynomial"
    a: float = 0.5
    b: float = 4.0

    def __call__(self, staleness: float) -> float:
        """The factor, in (0, 1]."""
        if self.kind == "constant":
            return 1.0
        if self.kind == "polynomial":
            return float((1.0 + staleness) ** -self.a)
        if self.kind == "exponential":
            return exp(-staleness / self.b)
        late = staleness - self.b
        return 1.0 if late <= 0.0 else 1.0 / (self.a * late + 1.0)
