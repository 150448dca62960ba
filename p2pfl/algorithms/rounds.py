"""What a synchronous algorithm says to advance all nodes of a run at once, one round at a time.

It is the same algorithm a second time, as arithmetic on rows `[n, d]` with one row per node, and
each element must get the same bits as the per-node form gives it: the same operations in the
same order. The simulator takes it where nothing that happens on the way can change a result.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from p2pfl.algorithms.rows import Links, RowMix
from p2pfl.types import Positions, Rows


class Undecided(Exception):  # noqa: N818 - no error: a question that only the event path answers
    """What comes first, or what happens then, does not follow for all nodes at once."""


class Turn(NamedTuple):
    """What all nodes know of themselves at one version."""

    version: int
    local_steps: Positions
    """H of each node, `[n]`."""
    step_sizes: NDArray[np.float64]
    """gamma H of each node's update, `[n]`: `Local.step_size`."""


@dataclass(frozen=True, slots=True, eq=False)
class Held:
    """What some nodes hold of their neighbours, each at exactly its own version."""

    parts: tuple[Rows, ...]
    """What all nodes have handed out, as it comes through the wire: see `Rounds.handed_out`."""
    links: Links
    """Who hears whom."""
    there: NDArray[np.bool_] | None
    """Over which links it is there, `[links]`; None: over all."""
    row_mix: RowMix
    """The mix over what is there, of the rows that are asked about."""

    def mix(self, own: Rows, out: Rows | None = None, *, part: int = 0) -> Rows:
        """own_i + sum_j w_ij (h_j - own_i), for the rows that are asked about, in their order.

        `part` picks among what every node hands out. The result is new, or `out`.
        """
        return self.row_mix(own, self.parts[part], out)

    def pull(self, own: Rows) -> Rows:
        """sum_j w_ij (h_j - own_i) of the models, for the same rows: new ones."""
        return self.row_mix.pull(own, self.parts[0])

    def neighbours(self, row: int) -> Iterator[tuple[int, float, bool]]:
        """(row of the neighbour, w_ij, whether it is there) for one node, in order of mixing."""
        links = self.links
        mine = slice(int(links.first[row]), int(links.first[row + 1]))
        there = [True] * (mine.stop - mine.start)
        if self.there is not None:
            there = self.there[mine].tolist()
        return zip(links.sender[mine].tolist(), links.weight[mine].tolist(), there, strict=True)


class Plan(NamedTuple):
    """Where local training starts at every node, and what is added to each gradient."""

    start: Rows
    """Training works in it: it then holds where training ended. `aligned_rows` are fastest."""
    correction: Rows | None = None


class Rounds(Protocol):
    """The states of all nodes of one run, which `begin` and `end` advance by one version.

    Either raises `Undecided` where a node wants something that rounds do not have.
    """

    def handed_out(self) -> tuple[Rows, ...]:
        """What neighbours read at this version: the models, then what goes beside them."""
        ...

    def begin(self, held: Held, turn: Turn) -> Plan:
        """Every node's `advance`, with all its neighbours at its own version."""
        ...

    def end(self, trained: Rows, turn: Turn) -> None:
        """Every node's `finish`. Rows of nodes that did not train hold anything finite."""
        ...

    def served(self, rows: Positions, held: Held) -> Rows:
        """The models that these nodes serve, with what they hold: new rows, in this order."""
        ...

    def public(self) -> Rows:
        """The nodes' own x; overwritten by the next round."""
        ...
