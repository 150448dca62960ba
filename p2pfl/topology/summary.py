"""What to know about a topology before choosing it."""

from dataclasses import dataclass
from typing import Any, Final, cast

import numpy as np

from p2pfl.topology.build import Topology
from p2pfl.topology.schedules import Schedule
from p2pfl.topology.spectrum import (
    MAX_DENSE,
    Spectrum,
    diameter,
    second_eigenvalue_of_rows,
    sparse_matrix,
    spectrum,
)
from p2pfl.topology.weights import WeightsName

EXACT: Final = 1e-9
"""A disagreement that is only rounding."""

_BEFORE: Final = 1e-3
"""Finite-time averaging ends in one round; what only shrinks was already tiny one round before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TopologySummary:
    """A topology in eleven numbers and words."""

    nodes: int
    edges: int
    directed: bool
    degree_min: int
    degree_mean: float
    """Also the models that a node receives per update; it sends one, and the broker fans out."""
    degree_max: int
    diameter: int
    """Hops that news needs from one end to the other."""
    weights: str
    second_eigenvalue: float
    spectral_gap: float
    mixing_time_rounds: float
    """Synchronous rounds that surely cut disagreement to one hundredth."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleSummary:
    """A schedule in eight numbers and words."""

    nodes: int
    rounds: int
    """Of one period."""
    directed: bool
    degree_mean: float
    """Models that a node receives per round."""
    degree_max: int
    links: int
    """Pairs (directed: one-way links) that meet in some round."""
    keeps_mean: bool
    """Whether every round is doubly stochastic."""
    contraction: float
    """||(I - J) W(L-1) ... W(0)||: what a period leaves of a disagreement at most."""
    exact: bool
    """Whether the last round of the period, and none before, gives everybody the exact mean."""

    @property
    def contraction_per_round(self) -> float:
        """The rate of a static graph that is as good over a period; compare it with lambda."""
        return float(self.contraction ** (1.0 / self.rounds))


def summarize(topology: Topology) -> TopologySummary:
    """The numbers of a connected topology; about a second for 10,000 nodes.

    Of a schedule they are those of its expected matrix on the union of all rounds.
    """
    graph = topology.graph
    degrees = graph.degrees
    found = _spectrum(topology)
    return TopologySummary(
        nodes=len(graph),
        edges=len(graph.edges),
        directed=graph.directed,
        degree_min=min(degrees),
        degree_mean=sum(degrees) / len(degrees),
        degree_max=max(degrees),
        diameter=diameter(graph),
        weights=topology.weights,
        second_eigenvalue=found.second_eigenvalue,
        spectral_gap=found.spectral_gap,
        mixing_time_rounds=found.mixing_time_rounds,
    )


def summarize_schedule(schedule: Schedule) -> ScheduleSummary:
    """The numbers of a schedule that joins all nodes."""
    rounds, count = schedule.period, len(schedule)
    entries = sum(len(row) for rows in schedule.rounds for row in rows)
    left = contraction(schedule, rounds)
    exact = left <= EXACT and contraction(schedule, rounds - 1) > _BEFORE
    return ScheduleSummary(
        nodes=count,
        rounds=rounds,
        directed=schedule.directed,
        degree_mean=entries / (rounds * count),
        degree_max=schedule.degree_max,
        links=len(schedule.union().edges),
        keeps_mean=schedule.doubly_stochastic,
        contraction=0.0 if exact else left,
        exact=exact,
    )


def contraction(schedule: Schedule, rounds: int) -> float:
    """||(I - J) W(rounds-1) ... W(0)||, the spectral norm: 1 at first, 0 once all are equal.

    For matrices that keep the mean it is ||W(rounds-1) ... W(0) - J||.
    """
    if len(schedule) <= MAX_DENSE:
        product = np.eye(len(schedule))
        for t in range(rounds):
            product = schedule.mixed(t, product)
        return float(np.linalg.norm(product - product.mean(axis=0), ord=2))
    return _contraction_of_many(schedule, rounds)


def _contraction_of_many(schedule: Schedule, rounds: int) -> float:
    from scipy.sparse.linalg import LinearOperator, svds

    matrices = [
        sparse_matrix(dict(zip(schedule.nodes, schedule.rounds[t % schedule.period], strict=True)))
        for t in range(rounds)
    ]

    def apply(x: Any) -> Any:  # noqa: ANN401 - scipy ships no types
        for matrix in matrices:
            x = matrix @ x
        return x - x.mean(axis=0)

    def transposed(x: Any) -> Any:  # noqa: ANN401 - scipy ships no types
        x = x - x.mean(axis=0)
        for matrix in reversed(matrices):
            x = matrix.T @ x
        return x

    shape = (len(schedule), len(schedule))
    operator = LinearOperator(shape, matvec=apply, rmatvec=transposed, dtype=np.float64)
    start = np.random.default_rng(0).standard_normal(len(schedule))
    if not np.abs(apply(start)).max() > EXACT * EXACT:
        return 0.0
    return float(svds(operator, k=1, v0=start, return_singular_vectors=False)[0])


def _spectrum(topology: Topology) -> Spectrum:
    if topology.schedule is None and topology.given is None:
        return spectrum(topology.graph, weights=cast("WeightsName", topology.weights))
    return Spectrum(second_eigenvalue_of_rows(topology.rows()))
