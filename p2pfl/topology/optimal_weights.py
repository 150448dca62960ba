"""Weights that need the whole graph: the best single one, and the best of all.

All are symmetric. Where the degrees alone must do, `weights` has metropolis and its like.
Source: L. Xiao, S. Boyd, "Fast linear iterations for distributed averaging", 2004; S. Boyd, P.
Diaconis, L. Xiao, "Fastest mixing Markov chain on a graph", 2004 (no weight below 0).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from p2pfl.errors import ConfigError
from p2pfl.topology.graph import Graph
from p2pfl.topology.spectrum import laplacian_extremes
from p2pfl.topology.weights import WeightRow, check_weights
from p2pfl.types import Matrix, NodeId

Weights = NDArray[np.float64]
"""`[m]`: one for each edge of the graph, in its order."""

MAX_OPTIMIZED: Final = 1_000
"""Edges for which a solution takes seconds: each step solves as many equations as there are."""

_GAP: Final = 1e-7
"""How far the found norm may be from the least possible one."""
_GROWTH: Final = 20.0
"""By how much the barrier recedes each time."""
_STEPS: Final = 60
_HALVINGS: Final = 40
_CENTRED: Final = 1e-8
"""Half the squared Newton decrement at which a centre counts as reached."""


def best_constant_rows(graph: Graph) -> Mapping[NodeId, WeightRow]:
    """The same weight for all edges that contracts most.

    It is 2 / (lambda_2 + lambda_n) of the Laplacian. A hub's own weight may fall below 0 (a star's
    does): no weights for asynchronous algorithms.

    Raises:
        ConfigError: the graph is directed.
    """
    check_weights(graph, "metropolis")
    return _rows(graph, np.full(len(graph.edges), _best_constant(graph)))


def fdla_rows(graph: Graph) -> Mapping[NodeId, WeightRow]:
    """Fastest distributed linear averaging: the symmetric W of least ||W - J||, to 1e-7.

    Weights may fall below 0: not for asynchronous algorithms.

    Raises:
        ConfigError: the graph is directed, or has more than MAX_OPTIMIZED edges.
    """
    return _rows(graph, _optimized(graph, positive=False))


def fmmc_rows(graph: Graph) -> Mapping[NodeId, WeightRow]:
    """The fastest mixing Markov chain: the least ||W - J|| of symmetric W with no entry below 0.

    Raises:
        ConfigError: the graph is directed, or has more than MAX_OPTIMIZED edges.
    """
    return _rows(graph, _optimized(graph, positive=True))


def _rows(graph: Graph, weights: Weights) -> Mapping[NodeId, WeightRow]:
    rows: list[list[tuple[int, float]]] = [[] for _ in graph.nodes]
    for (a, b), weight in zip(graph.edges, weights.tolist(), strict=True):
        rows[a].append((b, weight))
        rows[b].append((a, weight))
    return {
        node: tuple((graph.nodes[j], weight) for j, weight in sorted(row))
        for node, row in zip(graph.nodes, rows, strict=True)
    }


def _best_constant(graph: Graph) -> float:
    if len(graph) == 1:
        return 0.0
    second, largest = laplacian_extremes(graph)
    return 2.0 / (second + largest)


def _optimized(graph: Graph, *, positive: bool) -> Weights:
    """The barrier's solution, or a constant one where that is just as good (a ring, a star)."""
    check_weights(graph, "metropolis")
    if len(graph.edges) > MAX_OPTIMIZED:
        raise ConfigError(
            f"topology: {len(graph.edges):,} edges; optimal weights are found for up to "
            f'{MAX_OPTIMIZED:,}; take weights = "best_constant" or "metropolis"'
        )
    if len(graph) == 1:
        return np.zeros(0)
    problem = _Problem(graph, positive=positive)
    constant = _best_constant(graph)
    if positive:
        constant = min(constant, 1.0 / max(graph.degrees))
    same = np.full(len(graph.edges), constant)
    found = _minimize(problem)
    return same if problem.norm(same) <= problem.norm(found) + _GAP else found


@dataclass(frozen=True, slots=True)
class _Point:
    """Strictly feasible weights, a bound s above ||W - J||, and what Newton's step needs there."""

    weights: Weights
    bound: float
    above: Matrix
    """(s I - (W - J))^-1"""
    below: Matrix
    """(s I + (W - J))^-1"""
    logs: float
    """The sum of all barriers."""


class _Problem:
    """min s with -s I < W - J < s I; W = I - sum_e w_e b_e b_e', b_e = unit_i - unit_j."""

    def __init__(self, graph: Graph, *, positive: bool) -> None:
        self._count = len(graph)
        self._positive = positive
        self._a, self._b = np.array(graph.edges).T
        self._degrees = np.array(graph.degrees)
        incidence = np.zeros((len(graph), len(graph.edges)))
        incidence[self._a, range(len(graph.edges))] = 1.0
        incidence[self._b, range(len(graph.edges))] = 1.0
        self._touching = incidence
        """Which edges end at a node: own weights are 1 - touching w."""

    @property
    def barriers(self) -> int:
        """How many numbers the logarithms keep above 0: the gap is that over the steepness."""
        return 2 * self._count + (self._count + len(self._a) if self._positive else 0)

    def start(self) -> Weights:
        """Metropolis weights: connected, hence ||W - J|| < 1, and every entry above 0."""
        larger = np.maximum(self._degrees[self._a], self._degrees[self._b])
        start: Weights = 1.0 / (1.0 + larger)
        return start

    def norm(self, weights: Weights) -> float:
        return float(np.abs(np.linalg.eigvalsh(self._error(weights))).max())

    def at(self, weights: Weights, bound: float) -> _Point | None:
        """The point, if it is strictly feasible."""
        error, eye = self._error(weights), np.eye(self._count)
        own = 1.0 - self._touching @ weights
        if self._positive and (weights.min() <= 0.0 or own.min() <= 0.0):
            return None
        logs = float(np.log(weights).sum() + np.log(own).sum()) if self._positive else 0.0
        inverses = []
        for sign in (-1.0, 1.0):
            values, vectors = np.linalg.eigh(bound * eye + sign * error)
            if values[0] <= 0.0:
                return None
            inverses.append((vectors / values) @ vectors.T)
            logs += float(np.log(values).sum())
        return _Point(weights, bound, inverses[0], inverses[1], logs)

    def step(self, point: _Point, steepness: float) -> tuple[Weights, float]:
        """Newton's step (of the weights, then s) for steepness x s - logs, and its decrement^2."""
        gradient, hessian = self._derivatives(point, steepness)
        step: Weights = np.asarray(np.linalg.solve(hessian, -gradient), dtype=np.float64)
        return step, float(-gradient @ step)

    def _error(self, weights: Weights) -> Matrix:
        """W - J."""
        matrix = np.full((self._count, self._count), -1.0 / self._count)
        matrix[self._a, self._b] += weights
        matrix[self._b, self._a] += weights
        matrix[np.diag_indices(self._count)] += 1.0 - self._touching @ weights
        return matrix

    def _along(self, matrix: Matrix) -> Matrix:
        """b_e' M b_f for all pairs of edges `[m, m]`."""
        half = matrix[:, self._a] - matrix[:, self._b]
        return np.asarray(half[self._a] - half[self._b])

    def _derivatives(self, point: _Point, steepness: float) -> tuple[Weights, Matrix]:
        edges = len(self._a)
        above, below = self._along(point.above), self._along(point.below)
        twice_above, twice_below = point.above @ point.above, point.below @ point.below
        gradient = np.empty(edges + 1)
        hessian = np.empty((edges + 1, edges + 1))
        gradient[:-1] = np.diag(below) - np.diag(above)
        gradient[-1] = steepness - np.trace(point.above) - np.trace(point.below)
        hessian[:-1, :-1] = above**2 + below**2
        mixed = np.diag(self._along(twice_above)) - np.diag(self._along(twice_below))
        hessian[:-1, -1] = hessian[-1, :-1] = mixed
        hessian[-1, -1] = np.trace(twice_above) + np.trace(twice_below)
        if self._positive:
            own = 1.0 - self._touching @ point.weights
            gradient[:-1] += self._touching.T @ (1.0 / own) - 1.0 / point.weights
            hessian[:-1, :-1] += (self._touching.T / own**2) @ self._touching
            hessian[np.arange(edges), np.arange(edges)] += point.weights**-2
        return gradient, hessian


def _minimize(problem: _Problem) -> Weights:
    """Newton's method along the central path (S. Boyd, L. Vandenberghe, "Convex Optimization")."""
    point = problem.at(problem.start(), 1.0)
    assert point is not None
    steepness = float(problem.barriers)
    while True:
        point = _centred(problem, point, steepness)
        if problem.barriers / steepness <= _GAP:
            return point.weights
        steepness *= _GROWTH


def _centred(problem: _Problem, point: _Point, steepness: float) -> _Point:
    """The least of steepness x s - logs; each step is halved until it is feasible and lower."""
    for _ in range(_STEPS):
        step, decrement = problem.step(point, steepness)
        if decrement / 2.0 <= _CENTRED:
            break
        now = steepness * point.bound - point.logs
        for halvings in range(_HALVINGS):
            length = 0.5**halvings
            tried = problem.at(point.weights + length * step[:-1], point.bound + length * step[-1])
            if tried is not None:
                then = steepness * tried.bound - tried.logs
                if then <= now - 0.1 * length * decrement:
                    point = tried
                    break
        else:
            # Rounding hides any further descent.
            return point
    return point
