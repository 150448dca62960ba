"""MATCHA: of any graph, in each round only some of its links, chosen to keep it well connected.

The links are put into matchings, which can talk at the same time. Each is active with its own
probability; these are chosen so that the expected graph is connected best for the communication
that is allowed, and so critical links are used more often.

Source: J. Wang, A. K. Sahu, Z. Yang, G. Joshi, S. Kar, "MATCHA: Speeding Up Decentralized SGD via
Matching Decomposition Sampling", 2019.
"""

from math import floor
from typing import Final

import numpy as np

from p2pfl.draws import draw
from p2pfl.errors import ConfigError
from p2pfl.topology.barrier import Numbers, log_determinant, minimize
from p2pfl.topology.graph import Graph
from p2pfl.topology.schedules import Schedule, rows_of_edges
from p2pfl.types import Array, Matrix

Matching = tuple[tuple[int, int], ...]
"""Edges without common ends."""

MAX_NODES: Final = 1_000
"""Dense matrices of this size are inverted some hundred times."""

_DIGITS: Final = 6
"""Probabilities are rounded, so that every machine compares the same numbers with its draws."""

_GOLDEN: Final = (5**0.5 - 1) / 2


def matcha(graph: Graph, *, budget: float, rounds: int, seed: int) -> Schedule:
    """So many rounds in which each matching is active by chance, at most `budget` on average.

    Every active link has the same weight, that of the least expected disagreement (at most 1 over
    the largest degree, so that no own weight falls below 0).

    Raises:
        ConfigError: a number is out of range, or the graph is directed or too large.
    """
    if graph.directed or len(graph) > MAX_NODES:
        raise ConfigError(
            f"topology: {graph}; MATCHA needs an undirected graph of at most {MAX_NODES:,} nodes"
        )
    if not 0.0 < budget <= 1.0:
        raise ConfigError(f"topology: budget = {budget}; allowed: above 0 and at most 1")
    if rounds < 1:
        raise ConfigError(f"topology: rounds = {rounds}; a schedule needs at least one")
    found = matchings(graph)
    chances = activation_probabilities(graph, budget=budget)
    weight = best_weight(graph, chances)
    return Schedule(
        graph.nodes,
        tuple(
            rows_of_edges(
                graph.nodes,
                [
                    (a, b, weight)
                    for m, (matching, chance) in enumerate(zip(found, chances, strict=True))
                    if draw(seed, str(m), "matcha", t) < chance
                    for a, b in matching
                ],
            )
            for t in range(rounds)
        ),
    )


def matchings(graph: Graph) -> tuple[Matching, ...]:
    """All edges in at most 2 d - 1 matchings (d: the largest degree): each takes the first free.

    Edges between nodes of many links choose first.
    """
    degrees, taken = graph.degrees, [set[int]() for _ in graph.nodes]
    order = sorted(graph.edges, key=lambda edge: (-degrees[edge[0]] - degrees[edge[1]], edge))
    found: list[list[tuple[int, int]]] = []
    for a, b in order:
        number = next(k for k in range(len(found) + 1) if k not in taken[a] | taken[b])
        if number == len(found):
            found.append([])
        found[number].append((a, b))
        taken[a].add(number)
        taken[b].add(number)
    return tuple(tuple(sorted(matching)) for matching in found)


def activation_probabilities(graph: Graph, *, budget: float) -> tuple[float, ...]:
    """For each of the graph's `matchings` how often it is active, at most `budget` on average.

    They maximize the second smallest eigenvalue of the expected Laplacian.
    """
    found = matchings(graph)
    if budget == 1.0 or len(graph) == 1:
        return (1.0,) * len(found)
    unknowns = minimize(_BestConnected(len(graph), found, budget))
    return tuple(round(float(p), _DIGITS) for p in unknowns[:-1])


def best_weight(graph: Graph, chances: tuple[float, ...]) -> float:
    """The weight of active links for which ||E[W'W] - J|| is least, by golden section.

    With W = I - w L and matchings active independently, E[L^2] is the square of the mean Laplacian
    plus 2 sum p_m (1 - p_m) L_m. The norm is convex in w.
    """
    if len(graph) == 1:
        return 1.0
    laplacians = _laplacians(len(graph), matchings(graph))
    p = np.array(chances)
    mean = np.tensordot(p, laplacians, axes=1)
    spread = np.tensordot(p * (1.0 - p), laplacians, axes=1)
    square = mean @ mean + 2.0 * spread
    rest = np.eye(len(graph)) - 1.0 / len(graph)

    def norm(weight: float) -> float:
        return float(
            np.abs(np.linalg.eigvalsh(rest - 2 * weight * mean + weight**2 * square)).max()
        )

    low, high = 0.0, 1.0 / max(graph.degrees)
    while high - low > 10.0**-_DIGITS / 2:
        left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
        if norm(left) <= norm(right):
            high = right
        else:
            low = left
    return floor(high * 10**_DIGITS) / 10**_DIGITS


def _laplacians(count: int, found: tuple[Matching, ...]) -> Array:
    """Of each matching, `[m, n, n]`."""
    laplacians = np.zeros((len(found), count, count))
    for laplacian, matching in zip(laplacians, found, strict=True):
        for a, b in matching:
            laplacian[[a, b], [a, b]] += 1.0
            laplacian[[a, b], [b, a]] -= 1.0
    return laplacians


class _BestConnected:
    """max s with sum_m p_m L_m > s (I - J), 0 < p < 1 and sum p < budget x matchings.

    The unknowns are the probabilities p, then s.
    """

    def __init__(self, count: int, found: tuple[Matching, ...], budget: float) -> None:
        self._laplacians = _laplacians(count, found)
        self._mean = np.full((count, count), 1.0 / count)
        self._rest = np.eye(count) - self._mean
        self._budget = budget
        self._allowed = budget * len(found)
        self.cost = np.append(np.zeros(len(found)), -1.0)

    @property
    def barriers(self) -> int:
        return len(self._mean) + 2 * len(self._laplacians) + 1

    def start(self) -> Numbers:
        """Half of what is allowed for each; the graph is connected, so s = 0 is below."""
        return np.append(np.full(len(self._laplacians), self._budget / 2), 0.0)

    def logs(self, z: Numbers) -> float | None:
        kept = self._kept(z[:-1])
        if kept.min() <= 0.0:
            return None
        log = log_determinant(self._matrix(z))
        return None if log is None else log + float(np.log(kept).sum())

    def derivatives(self, z: Numbers) -> tuple[Numbers, Matrix]:
        inverse = np.linalg.inv(self._matrix(z))
        turned = [inverse @ each for each in (*self._laplacians, -self._rest)]
        chances, slack = z[:-1], self._allowed - float(z[:-1].sum())
        gradient = -np.array([np.trace(each) for each in turned])
        gradient[:-1] += 1.0 / (1.0 - chances) - 1.0 / chances + 1.0 / slack
        hessian = np.array([[float((a * b.T).sum()) for b in turned] for a in turned])
        hessian[:-1, :-1] += slack**-2
        places = np.arange(len(chances))
        hessian[places, places] += chances**-2 + (1.0 - chances) ** -2
        return gradient, hessian

    def _kept(self, chances: Numbers) -> Numbers:
        return np.concatenate([chances, 1.0 - chances, [self._allowed - chances.sum()]])

    def _matrix(self, z: Numbers) -> Matrix:
        expected = np.tensordot(z[:-1], self._laplacians, axes=1)
        result: Matrix = expected + self._mean - z[-1] * self._rest
        return result
