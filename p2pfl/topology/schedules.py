"""Graphs that change from round to round, for synchronous algorithms, as plain frozen data.

In round t every node mixes with the peers of row t only, x(t+1) = W(t) x(t), and after the last
round the first one follows again. The classic ones are here; longer families have their own file.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from p2pfl.errors import ConfigError
from p2pfl.topology.generators import check_at_least
from p2pfl.topology.graph import MAX_EDGES, Graph, numbered
from p2pfl.topology.weights import WeightRow
from p2pfl.types import Array, Matrix, NodeId

Round = tuple[WeightRow, ...]
"""One round: for every node, in the order of the nodes, (peer it hears, w_ij); idle: ()."""

WeightedEdge = tuple[int, int, float]
"""(a, b, w): both hear each other with weight w, or, on one-way links, b hears a."""

_ROUNDING: Final = 1e-9


@dataclass(frozen=True, slots=True, repr=False)
class Schedule:
    """Who hears whom with which weight in each round; a node's own weight is what is left of 1.

    Raises:
        ConfigError: no round, a row of an unknown node, a weight outside (0, 1], weights of more
            than 1 together, or more than MAX_EDGES entries.
    """

    nodes: tuple[NodeId, ...]
    rounds: tuple[Round, ...]
    _position: dict[NodeId, int] = field(init=False, compare=False)
    _hearing: tuple[tuple[tuple[NodeId, ...], ...], ...] = field(init=False, compare=False)

    def __post_init__(self) -> None:
        position = {node: i for i, node in enumerate(self.nodes)}
        _check_size(self.nodes, self.rounds)
        object.__setattr__(self, "_position", position)
        object.__setattr__(
            self, "_hearing", tuple(_hearing(self.nodes, position, rows) for rows in self.rounds)
        )

    def __repr__(self) -> str:
        kind = "directed" if self.directed else "undirected"
        return f"Schedule({len(self.nodes)} nodes, {self.period} rounds, {kind})"

    def __len__(self) -> int:
        return len(self.nodes)

    @property
    def period(self) -> int:
        """How many rounds there are before the first one comes again."""
        return len(self.rounds)

    def row(self, number: int, node: NodeId) -> WeightRow:
        """Whom `node` hears in round `number` (0, 1, ... without end), and with which weight."""
        return self.rounds[number % self.period][self._place(node)]

    def rows(self, node: NodeId) -> tuple[WeightRow, ...]:
        """One node's row in each round of a period: what the core is given."""
        place = self._place(node)
        return tuple(rows[place] for rows in self.rounds)

    def heard_by(self, number: int, node: NodeId) -> tuple[NodeId, ...]:
        """Who hears `node` in round `number`, in the order of the nodes."""
        return self._hearing[number % self.period][self._place(node)]

    @property
    def directed(self) -> bool:
        """Whether in some round a node hears one that does not hear it."""
        return any(
            {peer for peer, _ in row} != set(hearing)
            for rows, of_round in zip(self.rounds, self._hearing, strict=True)
            for row, hearing in zip(rows, of_round, strict=True)
        )

    @property
    def doubly_stochastic(self) -> bool:
        """Whether every round keeps the mean: each column of each W(t) sums to 1, up to 1e-9."""
        ones = np.ones((len(self), 1))
        return all(
            float(np.abs(self.mixed(t, ones, transposed=True) - 1.0).max()) <= _ROUNDING
            for t in range(self.period)
        )

    @property
    def degree_max(self) -> int:
        """The most peers that any node hears in any round."""
        return max(len(row) for rows in self.rounds for row in rows)

    def mixed(self, number: int, x: Array, *, transposed: bool = False) -> Array:
        """W(t) x (or its transpose times x) for x `[n, d]`, without a dense matrix."""
        rows = self.rounds[number % self.period]
        into = [i for i, row in enumerate(rows) for _ in row]
        of = [self._position[peer] for row in rows for peer, _ in row]
        weights = np.array([weight for row in rows for _, weight in row])
        own = np.array([1.0 - sum(weight for _, weight in row) for row in rows])
        result = own[:, None] * x
        if transposed:
            into, of = of, into
        np.add.at(result, into, weights[:, None] * x[of])
        return result

    def matrix(self, number: int) -> Matrix:
        """The dense mixing matrix W(t) `[n, n]` of round `number`, for small graphs."""
        return self.mixed(number, np.eye(len(self)))

    def product(self) -> Matrix:
        """W(L-1) ... W(1) W(0) `[n, n]` over one period of L rounds: 1/n everywhere if exact."""
        result: Matrix = np.eye(len(self))
        for t in range(self.period):
            result = self.mixed(t, result)
        return result

    def lead_max(self) -> int:
        """By how many rounds a node can at most be ahead of one that is to hear it, and waits.

        While i waits for the model of round t that j sends it, j goes on until, by a chain of
        later rounds, it would need what i makes after round t. On a link that comes each round
        it is 1.
        """
        return max((self._lead(t) for t in range(self.period)), default=1)

    def _lead(self, number: int) -> int:
        waits = [
            (self._position[peer], i)
            for i, row in enumerate(self.rounds[number])
            for peer, _ in row
        ]
        # Bit i of needs[j]: what j can make now depends on what i made after the round.
        needs = [1 << i for i in range(len(self))]
        lead = 0
        while any(not needs[j] >> i & 1 for j, i in waits):
            lead += 1
            before = list(needs)
            for i, row in enumerate(self.rounds[(number + lead) % self.period]):
                for peer, _ in row:
                    needs[i] |= before[self._position[peer]]
        return max(lead, 1)

    def mean_rows(self) -> Mapping[NodeId, WeightRow]:
        """Every node's weights, averaged over a period: the expected mixing matrix, sparse."""
        totals: list[dict[int, float]] = [{} for _ in self.nodes]
        for rows in self.rounds:
            for total, row in zip(totals, rows, strict=True):
                for peer, weight in row:
                    place = self._position[peer]
                    total[place] = total.get(place, 0.0) + weight
        return {
            node: tuple((self.nodes[j], total[j] / self.period) for j in sorted(total))
            for node, total in zip(self.nodes, totals, strict=True)
        }

    def union(self) -> Graph:
        """The graph of all links that some round uses, connected.

        Raises:
            ConfigError: some node's model would never reach another.
        """
        edges = {
            (self._position[peer], i)
            for rows in self.rounds
            for i, row in enumerate(rows)
            for peer, _ in row
        }
        return Graph(self.nodes, tuple(edges), directed=self.directed).validate()

    def _place(self, node: NodeId) -> int:
        if node not in self._position:
            raise ConfigError(f"topology: there is no node {node!r} in this schedule")
        return self._position[node]


def from_edges_per_round(
    nodes: int, rounds: Iterable[Sequence[WeightedEdge]], *, directed: bool = False
) -> Schedule:
    """The schedule of these weighted edges between positions; one edge joins a pair per round."""
    names = numbered(nodes)
    return Schedule(
        names, tuple(rows_of_edges(names, edges, directed=directed) for edges in rounds)
    )


def rows_of_edges(
    nodes: Sequence[NodeId], edges: Iterable[WeightedEdge], *, directed: bool = False
) -> Round:
    """One round of these weighted edges between positions in `nodes`."""
    rows: list[list[tuple[int, float]]] = [[] for _ in nodes]
    for a, b, weight in edges:
        rows[b].append((a, weight))
        if not directed:
            rows[a].append((b, weight))
    return tuple(tuple((nodes[j], weight) for j, weight in sorted(row)) for row in rows)


def one_peer_exponential(nodes: int) -> Schedule:
    """In round k node i hears the one 2^k places behind, both count half; one-way links.

    ceil(log2 n) rounds; they average exactly if, and only if, n is a power of two.

    Source: B. Ying, K. Yuan, Y. Chen, H. Hu, P. Pan, W. Yin, "Exponential Graph is Provably
    Efficient for Decentralized Deep Training", 2021.
    """
    check_at_least("one-peer exponential schedule", "nodes", nodes, least=2)
    hops = [1 << k for k in range((nodes - 1).bit_length())]
    return from_edges_per_round(
        nodes,
        ([(i, (i + hop) % nodes, 0.5) for i in range(nodes)] for hop in hops),
        directed=True,
    )


def one_peer_hypercube(nodes: int) -> Schedule:
    """In round k node i meets the one whose number differs in bit k; n = 2^D, exact after D rounds.

    Source: G. Shi, B. Li, M. Johansson, K. H. Johansson, "Finite-time convergent gossiping", 2016.
    """
    check_at_least("one-peer hypercube schedule", "nodes", nodes, least=2)
    if nodes & (nodes - 1):
        raise ConfigError(
            f"topology: nodes = {nodes}; a one-peer hypercube needs a power of two; for any other "
            'number take kind = "base", degree = 1'
        )
    bits = range(nodes.bit_length() - 1)
    return from_edges_per_round(
        nodes,
        ([(i, i ^ 1 << bit, 0.5) for i in range(nodes) if not i >> bit & 1] for bit in bits),
    )


def _check_size(nodes: Sequence[NodeId], rounds: Sequence[Round]) -> None:
    if not rounds:
        raise ConfigError("topology: a schedule needs at least one round")
    if any(len(rows) != len(nodes) for rows in rounds):
        raise ConfigError(f"topology: every round of this schedule needs {len(nodes)} rows")
    entries = sum(len(row) for rows in rounds for row in rows)
    if entries > MAX_EDGES:
        raise ConfigError(
            f"topology: a schedule of {len(rounds):,} rounds has {entries:,} links, more than "
            f"{MAX_EDGES:,}; take fewer rounds or a smaller degree"
        )


def _hearing(
    nodes: Sequence[NodeId], position: Mapping[NodeId, int], rows: Round
) -> tuple[tuple[NodeId, ...], ...]:
    """For each node who hears it; the rows are checked on the way."""
    hearing: list[list[NodeId]] = [[] for _ in nodes]
    for node, row in zip(nodes, rows, strict=True):
        for peer, weight in row:
            if peer not in position or peer == node:
                raise ConfigError(f"topology: in this schedule {node} cannot hear {peer!r}")
            if not 0.0 < weight <= 1.0:
                raise ConfigError(
                    f"topology: in this schedule {node} hears {peer} with weight {weight:g}; "
                    "allowed: above 0 and at most 1"
                )
            hearing[position[peer]].append(node)
        if sum(weight for _, weight in row) > 1.0 + _ROUNDING:
            raise ConfigError(f"topology: in this schedule {node}'s weights sum to more than 1")
    return tuple(tuple(each) for each in hearing)
