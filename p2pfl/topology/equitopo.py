"""EquiTopo: averaging over random shifts of a circle, at a rate that no number of nodes slows down.

P^a is the shift by a places, and A(a) = (n-1)/n P^a + 1/n I; over all a from 1 to n-1 its mean is
exact averaging. All matrices here are doubly stochastic.

Source: Z. Song, W. Li, K. Jin, L. Shi, M. Yan, W. Yin, K. Yuan, "Communication-Efficient
Topologies for Decentralized Learning with O(1) Consensus Rate", 2022.
"""

from collections import Counter
from collections.abc import Mapping
from math import gcd
from typing import Final

from p2pfl.draws import draw_bits
from p2pfl.errors import ConfigError
from p2pfl.topology.generators import check_at_least
from p2pfl.topology.graph import numbered
from p2pfl.topology.random_graphs import MAX_ATTEMPTS
from p2pfl.topology.schedules import Schedule, WeightedEdge, from_edges_per_round
from p2pfl.topology.weights import WeightRow
from p2pfl.types import NodeId

_STEP: Final = 0.5
"""The published eta: W = (1 - eta) I + eta A contracts most, in the mean, near one half."""


def equi_static(
    nodes: int, *, degree: int, seed: int, directed: bool = False
) -> Mapping[NodeId, WeightRow]:
    """D-EquiStatic (directed) or U-EquiStatic: the weights of the mean of `degree` random A(a).

    The shifts are drawn with replacement until they join all nodes. Undirected, the matrix is
    averaged with its transpose, so a node hears up to twice as many. With probability 1 - p,
    ||W - J|| < e if degree >= 8 ln(2n / p) / (3 e^2).

    Raises:
        ConfigError: a number is out of range.
    """
    check_at_least("EquiStatic graph", "nodes", nodes, least=2)
    if not 1 <= degree < nodes:
        raise ConfigError(
            f"topology: degree = {degree}; an EquiStatic graph of {nodes} nodes needs 1 to "
            f"{nodes - 1} shifts"
        )
    for attempt in range(MAX_ATTEMPTS):
        shifts = [_shift(nodes, seed, f"equi_static/{attempt}", k) for k in range(degree)]
        if gcd(nodes, *shifts) == 1:
            return _weights(nodes, shifts, directed=directed)
    raise ConfigError(
        f"topology: no {degree} shifts join all {nodes} nodes in {MAX_ATTEMPTS} draws; take a "
        f"larger degree"
    )


def equi_dyn(nodes: int, *, rounds: int, seed: int, directed: bool = False) -> Schedule:
    """OD-EquiDyn (directed) or OU-EquiDyn: one peer per round, at a random shift that all share.

    Directed, node i hears i - a. Undirected, pairs (i, i + a) are formed around the circle from a
    random start, and who finds no free partner rests. Which shift comes is drawn from all n - 1.

    Raises:
        ConfigError: a number is out of range, or in all rounds together some are never joined.
    """
    check_at_least("EquiDyn schedule", "nodes", nodes, least=2)
    if rounds < 1:
        raise ConfigError(f"topology: rounds = {rounds}; a schedule needs at least one")
    weight = _STEP * (nodes - 1) / nodes
    pick = _shifted if directed else _paired
    return from_edges_per_round(
        nodes, (pick(nodes, seed, t, weight) for t in range(rounds)), directed=directed
    )


def _weights(nodes: int, shifts: list[int], *, directed: bool) -> Mapping[NodeId, WeightRow]:
    names = numbered(nodes)
    counts = Counter(shift % nodes for shift in shifts)
    if not directed:
        counts.update(-shift % nodes for shift in shifts)
    scale = (nodes - 1) / nodes / counts.total()
    rows = {}
    for i, node in enumerate(names):
        heard = sorted(((i - shift) % nodes, count) for shift, count in counts.items())
        rows[node] = tuple((names[j], scale * count) for j, count in heard)
    return rows


def _shift(nodes: int, seed: int, purpose: str, k: int) -> int:
    return 1 + draw_bits(seed, "", purpose, k) % (nodes - 1)


def _shifted(nodes: int, seed: int, number: int, weight: float) -> list[WeightedEdge]:
    shift = _shift(nodes, seed, "equi_dyn", number)
    return [(i, (i + shift) % nodes, weight) for i in range(nodes)]


def _paired(nodes: int, seed: int, number: int, weight: float) -> list[WeightedEdge]:
    shift = _shift(nodes, seed, "equi_dyn", number)
    start = draw_bits(seed, "", "equi_dyn/start", number) % nodes
    free = [True] * nodes
    edges = []
    for step in range(nodes):
        a = (start + step) % nodes
        b = (a + shift) % nodes
        if free[a] and free[b]:
            free[a] = free[b] = False
            edges.append((a, b, weight))
    return edges
