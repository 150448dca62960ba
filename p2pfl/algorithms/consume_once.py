"""Consume-once mixing: a neighbour's model is mixed at most once, then forgotten.

end:     x = x + sum_j w_ij (x_j - x) + delta      over the j whose model is new since the last mix
         publish x

Nobody waits, and a node need not keep a model longer than until its next update. But a fast node
mixes a slow one only as often as that publishes: what flows along a link is min(r_i, r_j) w_ij both
ways, so each node's data counts as often as it makes an update, and slow nodes' is forgotten in
part. Steps by `elapsed` time even that out.

Source: Bornstein, Rabbani, Wang, Bedi, Huang, "SWIFT: rapid decentralized federated learning via
wait-free model communication", ICLR 2023 (the form that saves memory; here the weight of whoever
has sent nothing new goes to the node's own model).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple, Self

import numpy as np

from p2pfl.algorithms.base import (
    NOWHERE,
    Advance,
    BaseAlgorithm,
    Capabilities,
    Finish,
    Local,
    Outgoing,
    Surroundings,
    TrainPlan,
)
from p2pfl.algorithms.elapsed import STEP_MAX, update_counts
from p2pfl.algorithms.mixing import pull
from p2pfl.messages import Neighbour
from p2pfl.types import NodeId, Vector, frozen

Seen = tuple[int, int, int]
"""Incarnation (counter and nonce) and sequence of a model."""


class Consumed(NamedTuple):
    """The model, and which models of others are in it already."""

    x: Vector
    seen: Mapping[NodeId, Seen] = {}
    since_s: float | None = None
    """When the update before ended, on the own clock."""


@dataclass(frozen=True, slots=True)
class ConsumeOnce(BaseAlgorithm[Consumed]):
    """Mix what is new at the end of each update, with constant symmetric weights."""

    step: Literal["x", "elapsed"] = "x"
    """x: updates count as they were trained; elapsed: by the time that they took."""
    reference_s: float | None = None
    """Elapsed: seconds of an update that counts once; None: a plain node's update."""
    step_max: float = STEP_MAX
    """Elapsed: the most that an update may count."""
    scale: float = 1.0
    """c_i, by which the local update counts."""
    place: Surroundings = NOWHERE

    @property
    def capabilities(self) -> Capabilities:
        """Asynchronous; needs an undirected, constant graph."""
        return Capabilities(rewirable=True)

    def at(self, place: Surroundings) -> Self:
        """With the node's own c_i."""
        return replace(self, scale=place.scale, place=place)

    def initial(self, x0: Vector) -> Consumed:
        """Every node starts from x0."""
        return Consumed(x0)

    def adopt(self, state: Consumed, x: Vector) -> Consumed:
        """Go on from the neighbours' mean model."""
        return Consumed(x)

    def resumed(self, state: Consumed) -> Consumed:
        """The model alone: clocks and incarnations are those of another life."""
        return Consumed(state.x)

    def opening(self, state: Consumed) -> Sequence[Outgoing]:
        """The first model, so that neighbours have one to mix."""
        return (Outgoing(state.x),)

    def advance(
        self, state: Consumed, local: Local, neighbours: Sequence[Neighbour]
    ) -> Advance[Consumed]:
        """Train from x at once: nobody waits."""
        since_s = local.now_s if state.since_s is None else state.since_s
        return Advance(state._replace(since_s=since_s), train=TrainPlan(state.x))

    def finish(
        self, state: Consumed, local: Local, neighbours: Sequence[Neighbour], trained: Vector
    ) -> Finish[Consumed]:
        """Mix in what has come since, put the update on top, and publish."""
        found = {n.peer: _seen(n) for n in neighbours if n.vector is not None}
        new = [n for n in neighbours if n.peer in found and found[n.peer] != state.seen.get(n.peer)]
        counts = self.scale
        if self.step == "elapsed":
            counts *= update_counts(
                local, state.since_s, self.reference_s, self.place, most=self.step_max
            )
        x = frozen(state.x + pull(state.x, new) + np.float32(counts) * (trained - state.x))
        after = Consumed(x, {**state.seen, **found}, local.now_s)
        return Finish(after, (Outgoing(x),), mixed=frozenset(n.peer for n in new))

    def served(self, state: Consumed, neighbours: Sequence[Neighbour]) -> Vector:
        """x."""
        return state.x

    def public(self, state: Consumed) -> Vector:
        """x."""
        return state.x


def _seen(neighbour: Neighbour) -> Seen:
    assert neighbour.header is not None
    life, sequence = neighbour.header.incarnation, neighbour.header.sequence
    return life.counter, life.nonce, sequence
