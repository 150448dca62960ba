"""Weights that need the whole graph: the best single one, and the best of all.

All are symmetric. Where the degrees alone must do, `weights` has metropolis and its like.
Source: L. Xiao, S. Boyd, "Fast linear iterations for distributed averaging", 2004; S. Boyd, P.
Diaconis, L. Xiao, "Fastest mixing Markov chain on a graph", 2004 (no weight below 0).
"""

from collections.abc import Mapping
from typing import Final

import numpy as np

from p2pfl.errors import ConfigError
from p2pfl.topology.barrier import GAP, Numbers, log_determinant, minimize
from p2pfl.topology.graph import Graph
from p2pfl.topology.spectrum import laplacian_extremes
from p2pfl.topology.weights import WeightRow, check_weights
from p2pfl.types import Array, Matrix, NodeId

MAX_OPTIMIZED: Final = 1_000
"""Edges for which a solution takes seconds: each step solves as many equations as there are."""


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


def _rows(graph: Graph, weights: Numbers) -> Mapping[NodeId, WeightRow]:
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


def _optimized(graph: Graph, *, positive: bool) -> Numbers:
    """The barrier's solution, or a constant one where that is just as good (a ring, a star)."""
    check_weights(graph, "metropolis")
    if len(graph.edges) > MAX_OPTIMIZED:
        raise ConfigError(
            f"topology: {len(graph.edges):,} edges; optimal weights are found for up to "
            f'{MAX_OPTIMIZED:,}; take weights = "best_constant" or "metropolis"'
        )
    if len(graph) == 1:
        return np.zeros(0)
    problem = _LeastNorm(graph, positive=positive)
    constant = _best_constant(graph)
    if positive:
        constant = min(constant, 1.0 / max(graph.degrees))
    same = np.full(len(graph.edges), constant)
    found = minimize(problem)[:-1]
    return same if problem.norm(same) <= problem.norm(found) + GAP else found


class _LeastNorm:
    """min s with -s I < W - J < s I; W = I - sum_e w_e b_e b_e', b_e = unit_i - unit_j.

    The unknowns are the weights w of all edges, then s.
    """

    def __init__(self, graph: Graph, *, positive: bool) -> None:
        count, edges = len(graph), len(graph.edges)
        self._count = count
        self._positive = positive
        self._a, self._b = np.array(graph.edges).T
        self._degrees = np.array(graph.degrees)
        self._touching = np.zeros((count, edges))
        """Which edges end at a node: own weights are 1 - touching w."""
        self._touching[self._a, range(edges)] = 1.0
        self._touching[self._b, range(edges)] = 1.0
        self.cost = np.append(np.zeros(edges), 1.0)

    @property
    def barriers(self) -> int:
        return 2 * self._count + (self._count + len(self._a) if self._positive else 0)

    def start(self) -> Numbers:
        """Metropolis weights: connected, hence ||W - J|| < 1, and every entry above 0."""
        larger = np.maximum(self._degrees[self._a], self._degrees[self._b])
        return np.append(1.0 / (1.0 + larger), 1.0)

    def norm(self, weights: Numbers) -> float:
        """||W - J||."""
        return float(np.abs(np.linalg.eigvalsh(self._error(weights))).max())

    def logs(self, z: Numbers) -> float | None:
        weights, bound = z[:-1], float(z[-1])
        error, total = self._error(weights), 0.0
        if self._positive:
            kept = np.append(weights, 1.0 - self._touching @ weights)
            if kept.min() <= 0.0:
                return None
            total += float(np.log(kept).sum())
        for sign in (-1.0, 1.0):
            log = log_determinant(bound * np.eye(self._count) + sign * error)
            if log is None:
                return None
            total += log
        return total

    def derivatives(self, z: Numbers) -> tuple[Numbers, Matrix]:
        weights, bound, edges = z[:-1], float(z[-1]), len(self._a)
        error, eye = self._error(weights), np.eye(self._count)
        upper: Array = np.linalg.inv(bound * eye - error)
        lower: Array = np.linalg.inv(bound * eye + error)
        above, below = self._along(upper), self._along(lower)
        twice_upper, twice_lower = upper @ upper, lower @ lower
        gradient = np.empty(edges + 1)
        hessian = np.empty((edges + 1, edges + 1))
        gradient[:-1] = np.diag(below) - np.diag(above)
        gradient[-1] = -np.trace(upper) - np.trace(lower)
        hessian[:-1, :-1] = above**2 + below**2
        mixed = np.diag(self._along(twice_upper)) - np.diag(self._along(twice_lower))
        hessian[:-1, -1] = hessian[-1, :-1] = mixed
        hessian[-1, -1] = np.trace(twice_upper) + np.trace(twice_lower)
        if self._positive:
            own = 1.0 - self._touching @ weights
            gradient[:-1] += self._touching.T @ (1.0 / own) - 1.0 / weights
            hessian[:-1, :-1] += (self._touching.T / own**2) @ self._touching
            hessian[np.arange(edges), np.arange(edges)] += weights**-2
        return gradient, hessian

    def _error(self, weights: Numbers) -> Matrix:
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
