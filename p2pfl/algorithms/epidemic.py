"""Epidemic learning: each update goes to s random nodes, and is averaged with what has come in.

The peers change with every update; on a complete graph anybody may be chosen (EL-Local). Here
nobody waits: a node begins its next update from the mean of its own model and of all that came
since it began the last one. The synchronous EL-Oracle is D-PSGD on the schedule "el_oracle".

A model is averaged once. Fast nodes send more, so that their data counts more than a slow one's.

Source: de Vos, Farhadkhani, Guerraoui, Kermarrec, Pires, Sharma, "Epidemic learning: boosting
decentralized learning with randomized communication", NeurIPS 2023.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, Self

from p2pfl.algorithms.base import (
    Advance,
    BaseAlgorithm,
    Capabilities,
    Finish,
    Heard,
    Local,
    Outgoing,
    Surroundings,
    TrainPlan,
)
from p2pfl.algorithms.mixing import mix
from p2pfl.draws import draw_sample
from p2pfl.messages import ModelMessage, Neighbour
from p2pfl.types import NodeId, Vector


class Inbox(NamedTuple):
    """The model, and whose newest model has not been averaged yet."""

    x: Vector
    fresh: tuple[NodeId, ...] = ()


@dataclass(frozen=True, slots=True)
class Epidemic(BaseAlgorithm[Inbox]):
    """Sends to `fanout` of those who hear it, drawn anew for each update."""

    fanout: int = 4
    """s, receivers of each update."""
    hearers: tuple[NodeId, ...] = ()
    seed: int = 0

    @property
    def capabilities(self) -> Capabilities:
        """Any graph."""
        return Capabilities(undirected=False, reacts=True)

    def at(self, place: Surroundings) -> Self:
        """With those who hear this node."""
        return replace(self, hearers=place.hearers, seed=place.seed)

    def initial(self, x0: Vector) -> Inbox:
        """Every node starts from x0."""
        return Inbox(x0)

    def adopt(self, state: Inbox, x: Vector) -> Inbox:
        """The neighbours' mean model."""
        return Inbox(x)

    def resumed(self, state: Inbox) -> Inbox:
        """The model alone: what had come in is lost."""
        return Inbox(state.x)

    def opening(self, state: Inbox) -> Sequence[Outgoing]:
        """Nothing: everybody has x0."""
        return ()

    def greeting(self, state: Inbox) -> Outgoing:
        """Its model."""
        return Outgoing(state.x)

    def hear(
        self, state: Inbox, local: Local, message: ModelMessage, *, usable: bool
    ) -> Heard[Inbox]:
        """Remember that this one's model is new; whether it may be mixed is asked when it is."""
        sender = message.header.node
        if sender in state.fresh:
            return Heard(state)
        return Heard(Inbox(state.x, (*state.fresh, sender)))

    def advance(
        self, state: Inbox, local: Local, neighbours: Sequence[Neighbour]
    ) -> Advance[Inbox]:
        """Train from the mean of x and of what has come in since the last update began."""
        came = [n for n in neighbours if n.peer in state.fresh and n.vector is not None]
        if not came:
            return Advance(Inbox(state.x), train=TrainPlan(state.x))
        weight = 1.0 / (1 + len(came))
        start = mix(state.x, [n._replace(weight=weight, trust=1.0) for n in came])
        mixed = frozenset(n.peer for n in came)
        return Advance(Inbox(start), train=TrainPlan(start), mixed=mixed)

    def finish(
        self, state: Inbox, local: Local, neighbours: Sequence[Neighbour], trained: Vector
    ) -> Finish[Inbox]:
        """Send where training ended to s of those who hear this node."""
        after = Inbox(trained, state.fresh)
        size = min(self.fanout, len(self.hearers))
        if not size:
            return Finish(after, ())
        chosen = draw_sample(
            self.seed,
            local.node,
            "epidemic",
            local.version,
            among=len(self.hearers),
            size=size,
        )
        to = tuple(self.hearers[i] for i in chosen)
        return Finish(after, (Outgoing(trained, to=to),))

    def served(self, state: Inbox, neighbours: Sequence[Neighbour]) -> Vector:
        """x."""
        return state.x

    def public(self, state: Inbox) -> Vector:
        """x."""
        return state.x
