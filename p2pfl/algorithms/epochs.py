"""Sums over all nodes while nodes come and go: epochs, for synchronous algorithms.

Some algorithms are right because a sum over all nodes keeps its value: of trackers less gradients,
of corrections. A node that dies takes its share along; and when of two neighbours only one has
heard the other, what should cancel does not. Then everybody begins the sum anew. Headers carry the
epoch; a node that hears of a later one, or misses somebody, goes over at its next version.

Neighbours exchange what must cancel only while both are in one epoch at one version. Both read the
same two headers, so both come to the same answer, unless one has left the other out, and then that
one leaves the epoch. So within the last epoch every exchange is two-sided.
"""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from p2pfl.messages import Neighbour
from p2pfl.types import NodeId

EPOCH_MAX: Final = 2**40
"""Nobody is followed into a later epoch: no honest run comes near it, and it can still grow."""

Life = tuple[int, int]
"""One incarnation of a node: its counter and its nonce."""


class Membership(NamedTuple):
    """The epoch that a node is in, and whom it heard when it last looked for them."""

    epoch: int = 0
    lives: Mapping[NodeId, Life | None] = {}
    """By neighbour, the life that was heard; None: it was left out."""

    def after(self, neighbours: Sequence[Neighbour]) -> "Membership":
        """The membership at the next version, having seen these neighbours at this one."""
        seen = {n.peer: _life(n) for n in neighbours}
        changed = any(
            life != self.lives[peer] if peer in self.lives else life is None
            for peer, life in seen.items()
        )
        told = [n.header.epoch for n in neighbours if n.header is not None]
        newest = max([self.epoch, *(epoch for epoch in told if epoch <= EPOCH_MAX)])
        if not changed and newest == self.epoch and seen.keys() <= self.lives.keys():
            return self
        return Membership(newest + changed, {**self.lives, **seen})

    def same(self, neighbours: Sequence[Neighbour]) -> list[Neighbour]:
        """Those who were heard, and are in this node's epoch."""
        return [n for n in neighbours if n.header is not None and n.header.epoch == self.epoch]

    def anew(self) -> "Membership":
        """What a node that begins again knows: the epoch, and nobody."""
        return Membership(self.epoch)


def _life(neighbour: Neighbour) -> Life | None:
    if neighbour.header is None:
        return None
    incarnation = neighbour.header.incarnation
    return incarnation.counter, incarnation.nonce
