"""How stale a model is, whether it may still be mixed, and how much it counts.

Four metrics of one view (ALGORITHMS 1.3), all from headers, none from a common clock:

lag     max(0, k_i - k_j), versions
reads   own mixes since the view was refreshed
age     seconds since the model left its sender, queueing included
missed  age in units of the sender's own publish period

The default, `drop` at 3 missed periods, is a bound on liveness: a live slow node keeps its full
weight, a dead node's frozen model is left out. Dropping by lag silently removes slow nodes' data.
"""

from dataclasses import dataclass, field
from math import inf
from typing import Final, Literal

from p2pfl.algorithms.discount import DiscountLaw

LIVENESS_PERIODS: Final = 3.0
"""A peer that has been silent for so many of its own periods counts as dead."""

Metric = Literal["missed", "age", "reads", "lag"]


@dataclass(frozen=True, slots=True)
class StalenessPolicy:
    """`none`: use whatever is held. `wait`: hold training back. `drop`: leave the stale out.

    `discount`: whoever is alive counts, the less the staler. Which slow nodes' data that forgets is
    smallest if both ends of a link take the smaller of their factors (`reciprocal`).
    """

    policy: Literal["none", "wait", "drop", "discount"] = "drop"
    bound: float = 3.0
    metric: Metric = "missed"
    liveness_floor_s: float = 5.0
    """Nobody is dropped for missing periods before this age, and an unknown period means it."""
    suspect_grace_s: float = 2.0
    """A peer whose connection broke counts as dead only after as long."""
    discount: DiscountLaw = field(default_factory=DiscountLaw)
    reciprocal: bool = True
    least_period_s: float = field(init=False)
    """The period below which the floor decides: floor / bound."""
    limit: float = field(init=False)
    """The largest staleness that may ever be mixed; inf: no bound."""

    def __post_init__(self) -> None:
        periods = self.bound if self.bound > 0.0 else LIVENESS_PERIODS
        object.__setattr__(self, "least_period_s", self.liveness_floor_s / periods)
        unbounded = self.policy in ("none", "discount")
        object.__setattr__(self, "limit", inf if unbounded else self.bound)

    def missed(self, age_s: float, period_s: float) -> float:
        """Age in the sender's periods, scaled so that `missed <= bound` is the liveness bound.

        With the bound B it holds that missed <= B exactly if age <= max(B x period, floor).
        """
        least_s = self.least_period_s
        return age_s / (max(least_s, period_s))

    def staleness(self, lag: int, reads: int, age_s: float, missed: float) -> float:
        """The metric that this policy bounds; without a bound: `missed`, for the record."""
        if self.policy == "wait":
            return float(lag)
        if self.policy == "none" or self.metric == "missed":
            return missed
        if self.metric == "age":
            return age_s
        return float(reads if self.metric == "reads" else lag)

    def silence_max_s(self, period_s: float) -> float:
        """How long a peer of this period may be silent and still count as alive."""
        return max(LIVENESS_PERIODS * period_s, self.liveness_floor_s)

    def silent_too_long(self, silent_s: float, period_s: float) -> bool:
        """True once a peer that shows no sign of life counts as dead."""
        return silent_s > self.silence_max_s(period_s)
