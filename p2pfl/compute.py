"""How long a local update takes: a pure function of (seed, node, update).

The simulator's clock follows this law, and real nodes that are to be slower than their machine.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Final

from p2pfl.config.schema import ComputeConfig
from p2pfl.draws import draw, draw_normal
from p2pfl.types import NodeId

STEP_S_DEFAULT: Final = 0.01


class ComputeLaw:
    """Durations of local updates; the k-th of a node is the same under every algorithm."""

    def __init__(self, config: ComputeConfig, *, seed: int) -> None:
        self._seed = seed
        self._sigma = config.sigma if config.distribution == "lognormal" else 0.0
        self._alpha = config.alpha if config.distribution == "pareto" else 0.0
        self._node_sigma = config.node_sigma
        self._step_s = STEP_S_DEFAULT if config.step_s is None else config.step_s
        self._slowdown: Mapping[str, float] = config.slowdown
        self._pace: dict[NodeId, float] = {}

    def duration_s(self, node: NodeId, steps: int, k: int) -> float:
        """Seconds of this node's k-th update of so many gradient steps."""
        pace_s = self._pace_s(node)
        if self._sigma > 0.0:
            normal = draw_normal(self._seed, node, "duration", k)
            return pace_s * steps * lognormal_factor(self._sigma, normal)
        if self._alpha > 0.0:
            uniform = draw(self._seed, node, "duration", k)
            return pace_s * steps * pareto_factor(self._alpha, uniform)
        return pace_s * steps

    def durations_s(self, nodes: Sequence[NodeId], steps: Sequence[int], k: int) -> list[float]:
        """The same of many nodes, each with its number of steps."""
        pairs = zip(nodes, steps, strict=True)
        sigma = self._sigma
        if sigma == 0.0:
            return [self.duration_s(node, each, k) for node, each in pairs]
        seed, pace_s, exp, less = self._seed, self._pace_s, math.exp, sigma * sigma / 2.0
        return [
            pace_s(node) * each * exp(sigma * draw_normal(seed, node, "duration", k) - less)
            for node, each in pairs
        ]

    def pace(self, node: NodeId) -> float:
        """How many times as long as a plain node's this node's steps take in the mean."""
        return self._slowdown.get(node, 1.0) * self._spread(node)

    def factor(self, node: NodeId, k: int) -> float:
        """How much longer this node's k-th update takes than a plain node's mean update."""
        return self.duration_s(node, 1, k) / self._step_s

    def _pace_s(self, node: NodeId) -> float:
        """Mean seconds of one of this node's steps."""
        pace_s = self._pace.get(node)
        if pace_s is None:
            pace_s = self._step_s * self._slowdown.get(node, 1.0) * self._spread(node)
            self._pace[node] = pace_s
        return pace_s

    def _spread(self, node: NodeId) -> float:
        """The node's own factor, of mean 1 over the nodes."""
        return lognormal_factor(self._node_sigma, draw_normal(self._seed, node, "pace", 0))


def lognormal_factor(sigma: float, normal: float) -> float:
    """A lognormal factor of mean 1 from a standard normal number."""
    return math.exp(sigma * normal - sigma * sigma / 2.0)


def pareto_factor(alpha: float, uniform: float) -> float:
    """A Pareto factor of mean 1 from a uniform number in [0, 1): at least (alpha - 1) / alpha.

    It exceeds x with probability ((alpha - 1) / (alpha x))^alpha; at alpha = 2 and below, the
    variance is infinite and a few updates take as long as all the others.

    Source: Arnold, "Pareto distributions", 1983.
    """
    return (alpha - 1.0) / alpha * math.pow(1.0 - uniform, -1.0 / alpha)
