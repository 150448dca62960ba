"""The arithmetic of mixing for all nodes at once: the same bits as one node after the other."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from p2pfl.algorithms.mixing import scaled, sum_terms
from p2pfl.types import Positions, Rows, Vector, aligned_rows

_BLOCK: Final = 1 << 17
"""Floats per block of rows: it, its terms and its result stay in a core's second-level cache."""

_ROWS_LEAST: Final = 8
"""Of blocks with fewer rows, each row is worked on alone: that is as fast, and copies nothing."""


@dataclass(frozen=True, slots=True, eq=False)
class Links:
    """Who hears whom, receiver by receiver, each one's senders in the order of mixing."""

    first: Positions
    """Where each receiver's links begin, and where the last one's end, `[n + 1]`."""
    sender: Positions
    """The row of each link's sender, `[links]`."""
    weight: NDArray[np.float64]
    """w_ij s_ij, `[links]`."""

    @property
    def degree(self) -> Positions:
        """How many each receiver hears, `[n]`."""
        return np.diff(self.first)

    @property
    def receiver(self) -> Positions:
        """The row of each link's receiver, `[links]`."""
        return np.repeat(np.arange(len(self.first) - 1), self.degree)

    def among(self, receivers: Positions, present: NDArray[np.bool_]) -> "Links":
        """These receivers' links that are present (one of `[links]` each), in the same order."""
        degree = self.degree[receivers]
        starts = np.concatenate([[0], np.cumsum(degree)])
        chosen = np.repeat(self.first[receivers] - starts[:-1], degree) + np.arange(starts[-1])
        kept = present[chosen]
        counts = np.concatenate([[0], np.cumsum(kept)])
        return Links(counts[starts], self.sender[chosen[kept]], self.weight[chosen[kept]])


def links_of(neighbours: Sequence[Sequence[tuple[int, float]]]) -> Links:
    """The links of nodes that are told (row of the neighbour, w_ij), each in its order."""
    degree = [len(heard) for heard in neighbours]
    pairs = [pair for heard in neighbours for pair in heard]
    return Links(
        first=np.concatenate([[0], np.cumsum(degree, dtype=np.int64)]),
        sender=np.array([row for row, _ in pairs], dtype=np.int64),
        weight=np.array([weight for _, weight in pairs], dtype=np.float64),
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Term:
    """The k-th links of a block's rows."""

    rows: Positions | None
    """Which rows of the block have one; None: all."""
    sender: Positions
    weight: NDArray[np.float32]
    """`[rows, 1]`."""


class Spread(NamedTuple):
    """How work of several parts that do not touch each other is done."""

    parts: int
    run: Callable[[Callable[[int], None]], None]
    """Calls the given function with 0 .. parts - 1, in any order or at once."""


ALONE: Final = Spread(1, lambda work: work(0))


class RowMix:
    """x_i + sum_j w_ij s_ij (h_j - x_i) for all receivers i of some links.

    Each element has the same bits as `mixing.mix` gives: the sum runs in the order of the links.
    """

    def __init__(self, links: Links, dimension: int) -> None:
        self.spread = ALONE
        self._links = links
        self._height = max(1, _BLOCK // max(1, dimension))
        """Rows per block."""
        self._blocks: list[tuple[slice, list[_Term]]] = []
        if self._height >= _ROWS_LEAST:
            receivers = len(links.first) - 1
            self._blocks = [
                (slice(begin, begin + self._height), self._terms(begin))
                for begin in range(0, receivers, self._height)
            ]

    def __call__(self, own: Rows, heard: Rows, out: Rows | None = None) -> Rows:
        """The mixes `[m, d]` of these own rows `[m, d]` with the senders' rows `[n, d]`.

        `out` is where they are written; it must be neither of the two.
        """
        result = np.empty_like(own) if out is None else out
        return self._sum(own, heard, result, onto_own=True)

    def pull(self, own: Rows, heard: Rows) -> Rows:
        """How far the mixes move the own rows, with the bits of `mixing.pull`: new rows."""
        return self._sum(own, heard, np.empty_like(own), onto_own=False)

    def _sum(self, own: Rows, heard: Rows, result: Rows, *, onto_own: bool) -> Rows:
        if not self._blocks:
            for row in range(len(own)):
                self._sum_one(row, own, heard, result)
                if onto_own:
                    np.add(result[row], own[row], result[row])
            return result
        parts = self.spread.parts

        def mix_part(part: int) -> None:
            scratch = np.empty((self._height, own.shape[1]), np.float32)
            for block, terms in self._blocks[part::parts]:
                _sum_block(own[block], heard, terms, result[block], scratch)
                if onto_own:
                    np.add(result[block], own[block], result[block])

        self.spread.run(mix_part)
        return result

    def _terms(self, begin: int) -> list[_Term]:
        links = self._links
        first = links.first[begin : begin + self._height + 1]
        degree = np.diff(first)
        terms = []
        for k in range(int(degree.max(initial=0))):
            rows = np.flatnonzero(degree > k)
            chosen = first[rows] + k
            everybody = len(rows) == len(degree)
            terms.append(
                _Term(
                    None if everybody else rows,
                    links.sender[chosen],
                    links.weight[chosen, None].astype(np.float32),
                )
            )
        return terms

    def _sum_one(self, row: int, own: Rows, heard: Rows, result: Rows) -> None:
        links = self._links
        mine = slice(int(links.first[row]), int(links.first[row + 1]))
        senders, weights = links.sender[mine].tolist(), links.weight[mine].astype(np.float32)
        terms = [(heard[j], weight) for j, weight in zip(senders, weights, strict=True)]
        sum_terms(result[row], own[row], terms)


def _sum_block(own: Rows, heard: Rows, terms: Sequence[_Term], result: Rows, scratch: Rows) -> None:
    for k, term in enumerate(terms):
        rows = term.rows
        into = result if k == 0 and rows is None else scratch[: len(term.sender)]
        np.take(heard, term.sender, axis=0, out=into, mode="clip")
        np.subtract(into, own if rows is None else own[rows], into)
        np.multiply(into, term.weight, into)
        if rows is None:
            if into is not result:
                np.add(result, into, result)
        elif k == 0:
            result.fill(0.0)
            result[rows] = into
        else:
            result[rows] += into
    if not terms:
        result.fill(0.0)


def rows_of(x: Vector, nodes: int) -> Rows:
    """As many rows as nodes, each of them x."""
    rows = aligned_rows(nodes, x.size)
    rows[:] = x
    return rows


def column(numbers: Sequence[float] | NDArray[np.float64]) -> NDArray[np.float32]:
    """One float32 number per row, `[n, 1]`."""
    return np.array(numbers, dtype=np.float32)[:, None]


def scale_rows(start: Rows, trained: Rows, scales: Sequence[float]) -> None:
    """Let each row's update count as often as its scale says: `mixing.scaled`, in place."""
    for row, scale in enumerate(scales):
        if scale != 1.0:
            trained[row] = scaled(start[row], trained[row], scale)


def mean_gradients(start: Rows, trained: Rows, step_sizes: NDArray[np.float64]) -> Rows:
    """`mixing.mean_gradient` of each row; 0 where the step size is 0."""
    moves = step_sizes[:, None] != 0.0
    sizes = np.where(moves, column(step_sizes), np.float32(1.0))
    found: Rows = np.where(moves, (start - trained) / sizes, np.float32(0.0))
    return found
