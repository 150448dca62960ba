"""D-Cliques: small complete groups that together see the labels in the proportions of all.

Source: A. Bellet, A.-M. Kermarrec, E. Lavoie, "D-Cliques: Compensating for Data Heterogeneity with
Topology in Decentralized Federated Learning", 2021.
"""

from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from p2pfl.draws import draw_bits
from p2pfl.errors import ConfigError
from p2pfl.topology.generators import check_at_least
from p2pfl.topology.graph import Graph, numbered
from p2pfl.types import Array

Between = Literal["ring", "small_world", "complete"]

Shares = NDArray[np.float64]
"""`[n, classes]`: each node's proportions of labels."""

SWAPS: Final = 1_000
"""Random pairs of cliques that are looked at; the published number."""

_BETTER: Final = 1e-9
"""What counts as an improvement; less is rounding, which another machine may see otherwise."""


class Cliques(NamedTuple):
    """The graph, and who sits in which clique."""

    graph: Graph
    members: tuple[tuple[int, ...], ...]
    """Positions, clique by clique."""


def d_cliques(
    label_counts: Array, *, clique_size: int, between: Between = "ring", seed: int
) -> Cliques:
    """Cliques by greedy swaps of nodes, joined by one edge per pair that `between` names.

    `label_counts` `[n, classes]` says how many samples of each label every node holds. The skew of
    a clique is the L1 distance of its mean proportions from everybody's. Start from random cliques
    of (nearly) `clique_size`; look at two random ones, and swap a random pair of nodes among those
    that lessen the sum of both skews. Links between cliques: around a ring; small_world adds two
    random ones to each span of doubling distance; complete joins all. They begin and end at the
    members with the fewest links.

    Raises:
        ConfigError: a number is out of range, or a node holds nothing.
    """
    nodes = len(label_counts)
    check_at_least("D-Cliques graph", "nodes", nodes, least=2)
    if not 1 <= clique_size <= nodes:
        raise ConfigError(f"topology: clique_size = {clique_size}; allowed are 1 to {nodes}")
    totals = np.asarray(label_counts, dtype=np.float64).sum(axis=1)
    if (totals <= 0).any():
        raise ConfigError(
            f"topology: node n{int(totals.argmin())} holds no sample, so its labels have no "
            "proportions; take a partition that leaves nobody empty"
        )
    shares = np.asarray(label_counts, dtype=np.float64) / totals[:, None]
    members = _random_cliques(nodes, clique_size, seed)
    _swap(members, shares, seed)
    inner = [pair for clique in members for pair in combinations(clique, 2)]
    outer = _join(members, _pairs_of_cliques(len(members), between, seed))
    graph = Graph(numbered(nodes), (*inner, *outer)).validate()
    return Cliques(graph, tuple(tuple(sorted(clique)) for clique in members))


def skew(label_counts: Array, clique: Sequence[int]) -> float:
    """How far a clique's mean proportions of labels are from everybody's: 0 to 2 (L1)."""
    counts = np.asarray(label_counts, dtype=np.float64)
    shares = counts / counts.sum(axis=1, keepdims=True)
    return float(np.abs(shares[list(clique)].mean(axis=0) - shares.mean(axis=0)).sum())


def _random_cliques(nodes: int, size: int, seed: int) -> list[list[int]]:
    keys = [draw_bits(seed, "", "d_cliques", k) for k in range(nodes)]
    order = [node for _, node in sorted(zip(keys, range(nodes), strict=True))]
    count = -(-nodes // size)
    return [order[k::count] for k in range(count)]


def _swap(members: list[list[int]], shares: Shares, seed: int) -> None:
    """The greedy swaps, in place."""
    if len(members) == 1:
        return
    everybody = shares.mean(axis=0)
    sums = [shares[clique].sum(axis=0) for clique in members]
    for turn in range(SWAPS):
        a = draw_bits(seed, "first", "d_cliques/pick", turn) % len(members)
        b = draw_bits(seed, "second", "d_cliques/pick", turn) % (len(members) - 1)
        b += b >= a
        one, other = members[a], members[b]
        # [i, j, class]: what clique a gains, and b loses, if their i-th and j-th members swap.
        moved = shares[other][None, :, :] - shares[one][:, None, :]
        after = _distance(sums[a] + moved, len(one), everybody)
        after += _distance(sums[b] - moved, len(other), everybody)
        before = _distance(sums[a], len(one), everybody) + _distance(sums[b], len(other), everybody)
        better = np.argwhere(after < before - _BETTER)
        if not len(better):
            continue
        i, j = better[draw_bits(seed, "swap", "d_cliques/pick", turn) % len(better)]
        sums[a], sums[b] = sums[a] + moved[i, j], sums[b] - moved[i, j]
        one[i], other[j] = other[j], one[i]


def _distance(sums: Shares, size: int, everybody: Shares) -> Shares:
    distance: Shares = np.abs(sums / size - everybody).sum(axis=-1)
    return distance


def _pairs_of_cliques(count: int, between: Between, seed: int) -> Iterator[tuple[int, int]]:
    if between == "complete":
        yield from combinations(range(count), 2)
        return
    seen: set[tuple[int, int]] = set()
    for a in range(count):
        ahead = [1]
        if between == "small_world":
            spans = [(1 << k, min(1 << k + 1, count)) for k in range((count - 1).bit_length())]
            ahead += [
                low + draw_bits(seed, f"{a}/{low}", "d_cliques/far", k) % (high - low)
                for low, high in spans
                for k in range(2)
            ]
        for steps in ahead:
            b = (a + steps) % count
            pair = (min(a, b), max(a, b))
            if a != b and pair not in seen:
                seen.add(pair)
                yield pair


def _join(
    members: Sequence[Sequence[int]], pairs: Iterator[tuple[int, int]]
) -> Iterator[tuple[int, int]]:
    """One edge for each pair of cliques, where the fewest links end so far."""
    links = [0] * sum(len(clique) for clique in members)
    for a, b in pairs:
        ends = [min(members[clique], key=lambda node: (links[node], node)) for clique in (a, b)]
        for end in ends:
            links[end] += 1
        yield ends[0], ends[1]
