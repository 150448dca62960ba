"""RobustPushSum: push-sum by running sums for each link, which no loss can bring out of balance.

Node i holds a mass x_i `[d]` and a mass y_i (at first 1); its model is z_i = x_i / y_i. At the end
of an update, which has moved z_i to z_i + delta:

    x_i <- x_i + s_i delta                        s_i: see `step`
    for each hearer j with fewer than `window` pushes that it has not acknowledged:
        E_ij <- E_ij + w_i (x_i, y_i);            w_i = 1 / (1 + number of hearers)
        (x_i, y_i) gives up as much
    send each hearer its sum E_ij, how many pushes it holds, and how many of theirs have come

What comes in counts by its difference to what had come before. Sum x + what is on the links changes
by the updates alone, sum y + what is on the links never, to the last bit (`fixed_point.py`),
whatever is lost, doubled or in disorder. Links may be one-way.

Mass is conserved, so nodes count by how far they step in all: with steps as trained, `x`, fast ones
count more. `elapsed` steps by the time that the update took, `y` by the mass y, which slow nodes
gather.

Without the window a fast node gives its mass away between two receipts, and to the dead for good:
y shrinks towards 0, and an update of x would move the model by its 1 / y. So s_i / y_i is bounded,
and what `elapsed` loses by that counts at the next update.

Source: Hadjicostis, Vaidya, Dominguez-Garcia, "Robust distributed average consensus via exchange
of running sums", 2016; Spiridonoff, Olshevsky, Paschalidis, "Robust asynchronous stochastic
gradient-push", JMLR 2020 (the elapsed-time step). The window is p2pfl's own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import inf
from typing import Final, Literal, NamedTuple, Self

import numpy as np

from p2pfl.algorithms.base import (
    NOWHERE,
    Advance,
    BaseAlgorithm,
    Beside,
    Capabilities,
    Finish,
    Heard,
    Local,
    Outgoing,
    Surroundings,
    TrainPlan,
)
from p2pfl.algorithms.elapsed import STEP_MAX, update_counts
from p2pfl.algorithms.fixed_point import (
    BITS,
    Mass,
    Sums,
    added,
    difference,
    in_own_steps,
    mass_of,
    no_sums,
    share,
    share_of,
)
from p2pfl.messages import Incarnation, ModelMessage, Neighbour
from p2pfl.types import NodeId, Vector, frozen

_PUSHED_MAX: Final = 1 << (BITS + 10)
"""A push is cut at 1,024, half the range of the differences; what is cut stays where it is."""
_HELD_MAX: Final = 1 << (2 * BITS + 21)
"""|x| is cut at 2 million: beyond it lie a learning rate that is too large, or sums that somebody
has made up."""


class Out(NamedTuple):
    """A link to a hearer."""

    sums: Sums
    """Everything that was ever pushed, `[d + 1]`, y last."""
    pushes: int = 0
    acknowledged: int = 0


class In(NamedTuple):
    """A link from someone who pushes."""

    life: tuple[int, int]
    """Whose sums these are: a sender that starts anew begins at 0."""
    sums: Sums
    pushes: int
    fresh: bool = True
    """Something came that was not acknowledged yet."""


@dataclass(frozen=True, slots=True, eq=False)
class PushState:
    """One node's masses, and both ends of its links."""

    mass: Mass
    """x and, last, y, `[d + 1]`, in steps of 2^-40."""
    start: Vector
    """z, from which the training under way began."""
    out: Mapping[NodeId, Out] = field(default_factory=dict)
    into: Mapping[NodeId, In] = field(default_factory=dict)
    since_s: float | None = None
    """When the update before ended, on the own clock."""
    owed: float = 0.0
    """Elapsed: what y has not allowed of the updates before."""


@dataclass(frozen=True, slots=True)
class RobustPushSum(BaseAlgorithm[PushState]):
    """Push shares of one's mass to the hearers, step, and take in what comes at once."""

    window: int | None = None
    """Pushes to one hearer that may be unacknowledged; 0: any number. None: 1, with step "y" 0."""
    step: Literal["x", "elapsed", "y"] = "elapsed"
    """s_i: 1, the update's time over `reference_s`, or y."""
    reference_s: float | None = None
    """Elapsed: seconds of an update that counts once, the same at all nodes; None: what the
    experiment file makes of a plain node's update."""
    step_max: float = STEP_MAX
    """The largest s_i, and the largest s_i / y_i: what one update may count for the model."""
    scale: float = 1.0
    """c_i, by which the local update counts."""
    place: Surroundings = NOWHERE

    @property
    def capabilities(self) -> Capabilities:
        """Directed graphs too, but every hearer must be heard for its acknowledgements."""
        return Capabilities(
            undirected=False,
            column_stochastic=True,
            acknowledged=True,
            reacts=True,
            beside=Beside("uint32", more=1),
        )

    def at(self, place: Surroundings) -> Self:
        """With the node's own hearers and c_i."""
        return replace(self, place=place, scale=place.scale)

    def initial(self, x0: Vector) -> PushState:
        """Every node starts from x0 with a mass of 1."""
        return PushState(mass_of(np.append(x0, np.float32(1.0))), x0)

    def adopt(self, state: PushState, x: Vector) -> PushState:
        """Go on from the neighbours' mean model, with a mass of 1."""
        return self.initial(x)

    def resumed(self, state: PushState) -> PushState:
        """The model, with a mass of 1: that of an earlier life is lost."""
        return self.initial(_model(state.mass))

    def opening(self, state: PushState) -> Sequence[Outgoing]:
        """Nothing: there is nothing to push before the first update."""
        return ()

    def advance(
        self, state: PushState, local: Local, neighbours: Sequence[Neighbour]
    ) -> Advance[PushState]:
        """Train from z: nobody waits."""
        since_s = local.now_s if state.since_s is None else state.since_s
        start = _model(state.mass)
        return Advance(replace(state, start=start, since_s=since_s), train=TrainPlan(start))

    def hear(
        self, state: PushState, local: Local, message: ModelMessage, *, usable: bool
    ) -> Heard[PushState]:
        """Take in what the sender has pushed since, and how much it has acknowledged."""
        sender, words = message.header.node, message.header.words
        if len(words) != len(_words(Out(no_sums(0)), None)):
            return Heard(state)
        pushes, came, acknowledged = words
        link = state.out.get(sender)
        if link is not None and link.acknowledged < came <= link.pushes:
            state = replace(state, out={**state.out, sender: link._replace(acknowledged=came)})
        if all(sender != peer for peer, _ in self.place.neighbours):
            return Heard(state)
        assert message.extra is not None
        sums = message.extra.view(np.uint32)
        life = _life(message.header.incarnation)
        before = state.into.get(sender)
        into = {**state.into, sender: In(life, sums, pushes)}
        if before is None and acknowledged:
            # This node has forgotten what it once acknowledged: that mass is gone with it.
            return Heard(replace(state, into=into))
        known = no_sums(sums.size) if before is None or before.life != life else before.sums
        received = difference(sums, known)
        if received[-1] < 0:
            return Heard(state)
        mass = np.clip(state.mass + in_own_steps(received), -_HELD_MAX, _HELD_MAX)
        return Heard(replace(state, mass=mass, into=into), mixed=usable)

    def finish(
        self, state: PushState, local: Local, neighbours: Sequence[Neighbour], trained: Vector
    ) -> Finish[PushState]:
        """Step, push, tell."""
        owed, y = self._owed(state, local), float(state.mass[-1]) / (1 << 2 * BITS)
        size = min(owed, y if self.step == "y" else self.step_max * y)
        mass = state.mass.copy()
        mass[:-1] += mass_of((trained - state.start) * np.float32(self.scale * size))
        np.clip(mass, -_HELD_MAX, _HELD_MAX, out=mass)
        pushed = share(mass, share_of(1.0 / (1 + len(self.place.hearers))))
        np.clip(pushed, -_PUSHED_MAX, _PUSHED_MAX, out=pushed)
        there = {each.peer for each in neighbours if each.live}
        out = {}
        for hearer in self.place.hearers:
            link = state.out.get(hearer, Out(no_sums(mass.size)))
            if hearer in there and self._may_push(link):
                link = link._replace(sums=added(link.sums, pushed), pushes=link.pushes + 1)
                mass -= in_own_steps(pushed)
            out[hearer] = link
        told = {peer: link._replace(fresh=False) for peer, link in state.into.items()}
        left = owed - size if self.step == "elapsed" else 0.0
        after = replace(state, mass=mass, out=out, into=told, since_s=local.now_s, owed=left)
        return Finish(after, self._messages(state.into, after, there))

    def served(self, state: PushState, neighbours: Sequence[Neighbour]) -> Vector:
        """z."""
        return _model(state.mass)

    def public(self, state: PushState) -> Vector:
        """z."""
        return _model(state.mass)

    def _owed(self, state: PushState, local: Local) -> float:
        """s_i, before it is held to what y allows."""
        if self.step == "x":
            return 1.0
        if self.step == "y":
            return inf
        elapsed = update_counts(
            local, state.since_s, self.reference_s, self.place, most=self.step_max
        )
        return min(state.owed + elapsed, self.step_max)

    @property
    def pushes_max(self) -> int:
        """Pushes to one hearer that may be unacknowledged; 0: any number."""
        return (0 if self.step == "y" else 1) if self.window is None else self.window

    def _may_push(self, link: Out) -> bool:
        window = self.pushes_max
        return window == 0 or link.pushes - link.acknowledged < window

    def _messages(
        self, came: Mapping[NodeId, In], state: PushState, there: set[NodeId]
    ) -> list[Outgoing]:
        """To each hearer its sums, and to those who only push that their pushes have come."""
        z = _model(state.mass)
        messages = [
            Outgoing(z, to=(peer,), extra=link.sums, words=_words(link, came.get(peer)))
            for peer, link in state.out.items()
            if peer in there
        ]
        nothing = Out(no_sums(z.size + 1))
        messages += [
            Outgoing(z, to=(peer,), extra=nothing.sums, words=_words(nothing, link))
            for peer, link in came.items()
            if peer in there and peer not in state.out and link.fresh
        ]
        return messages


def _words(link: Out, back: In | None) -> tuple[int, int, int]:
    """(pushes in the sum, pushes that have come from there, pushes that have arrived there)."""
    return link.pushes, 0 if back is None else back.pushes, link.acknowledged


def _life(incarnation: Incarnation) -> tuple[int, int]:
    return incarnation.counter, incarnation.nonce


def _model(mass: Mass) -> Vector:
    """z = x / y, a new read-only vector `[d]`."""
    return frozen((mass[:-1] / np.float64(mass[-1])).astype(np.float32))
