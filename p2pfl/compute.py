"""How long a local update takes: a pure function of (seed, node, update).

The simulator's clock follows this law, and real nodes that are to be slower than their machine.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Final

from p2pfl.config.schema import ComputeConfig
from p2pfl.draws import draw_block, draw_normal, draw_normal_block
from p2pfl.types import NodeId

STEP_S_DEFAULT: Final = 0.01

_BLOCK: Final = 16
"""Durations that are drawn together. Part of what they are; never change it."""


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
        self._factors: dict[NodeId, tuple[int, list[float]]] = {}
        """Of each node, the block drawn last: its number, and what steps take longer in it."""

    def duration_s(self, node: NodeId, steps: int, k: int) -> float:
        """Seconds of this node's k-th update of so many gradient steps."""
        pace_s = self._pace.get(node)
        if pace_s is None:
            pace_s = self._step_s * self._slowdown.get(node, 1.0) * self._spread(node)
            self._pace[node] = pace_s
        if self._sigma > 0.0 or self._alpha > 0.0:
            number, place = divmod(k, _BLOCK)
            block = self._factors.get(node)
            if block is None or block[0] != number:
                block = self._factors[node] = number, self._drawn(node, number)
            return pace_s * steps * block[1][place]
        return pace_s * steps

    def durations_s(self, nodes: Sequence[NodeId], steps: Sequence[int], k: int) -> list[float]:
        """The same of many nodes, each with its number of steps."""
        return [self.duration_s(node, each, k) for node, each in zip(nodes, steps, strict=True)]

    def pace(self, node: NodeId) -> float:
        """How many times as long as a plain node's this node's steps take in the mean."""
        return self._slowdown.get(node, 1.0) * self._spread(node)

    def factor(self, node: NodeId, k: int) -> float:
        """How much longer this node's k-th update takes than a plain node's mean update."""
        return self.duration_s(node, 1, k) / self._step_s

    def _drawn(self, node: NodeId, block: int) -> list[float]:
        if self._sigma > 0.0:
            normal = draw_normal_block(self._seed, node, "duration", block, size=_BLOCK)
            return [lognormal_factor(self._sigma, one) for one in normal]
        uniform = draw_block(self._seed, node, "duration", block, size=_BLOCK)
        return [pareto_factor(self._alpha, one) for one in uniform]

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
