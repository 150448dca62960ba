"""Learning rates by step: a pure function of a node's own gradient steps, the same everywhere.

Trainers step by it, and algorithms that turn an update back into a gradient are told its sum.
"""

from dataclasses import dataclass
from math import cos, fsum, pi
from typing import Literal

Schedule = Literal["constant", "step", "cosine", "linear"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LearningRate:
    """gamma(t) for the gradient steps t = 0, 1, 2, ... that a node counts for itself.

    - constant: `base`
    - step: `base` times `decay` for every step of `decay_at` that has been reached
    - cosine: half a period from `base` down to `floor` between the steps `warmup` and `length`
    - linear: a straight line between the same points

    The first `warmup` steps are smaller: step t is (t + 1) / warmup of what it would be. After
    `length` the rate stays at `floor`, which may be zero.

    Source: Loshchilov and Hutter, SGDR: stochastic gradient descent with warm restarts, 2017
    (cosine); Goyal et al., Accurate, large minibatch SGD, 2017 (warm-up, steps).
    """

    base: float
    schedule: Schedule = "constant"
    warmup: int = 0
    decay_at: tuple[int, ...] = ()
    decay: float = 0.1
    length: int = 0
    """Cosine and linear: the step at which `floor` is reached."""
    floor: float = 0.0

    @classmethod
    def of(cls, rate: "LearningRate | float") -> "LearningRate":
        """A schedule as it is, a number as the constant rate."""
        return cls(base=rate) if isinstance(rate, (float, int)) else rate

    @property
    def constant(self) -> bool:
        """Whether every step has the same rate, `base`."""
        return self.schedule == "constant" and not self.warmup

    def at(self, step: int) -> float:
        """gamma(t) of the node's gradient step t, counted from 0."""
        if step >= self.warmup:
            return self._after_warmup(step)
        return self._after_warmup(step) * (step + 1) / self.warmup

    def step_size_sum(self, first_step: int, steps: int) -> float:
        """The sum of gamma(t) over the steps `first_step .. first_step + steps - 1`.

        Under plain SGD, (start - trained) / step_size_sum is the mean gradient of the update;
        0 past the end of a schedule that ends at zero.
        """
        if self.schedule == "constant" and first_step >= self.warmup:
            return self.base * steps
        return fsum(self.at(step) for step in range(first_step, first_step + steps))

    def _after_warmup(self, step: int) -> float:
        if self.schedule == "constant":
            return self.base
        if self.schedule == "step":
            reached = sum(step >= each for each in self.decay_at)
            return self.base * self.decay**reached
        passed = (step - self.warmup) / max(1, self.length - self.warmup)
        left = 1.0 - min(max(passed, 0.0), 1.0)
        if self.schedule == "cosine":
            left = 0.5 - 0.5 * cos(pi * left)
        return self.floor + (self.base - self.floor) * left
