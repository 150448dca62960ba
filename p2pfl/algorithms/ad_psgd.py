"""AD-PSGD: after each update a node averages with one random neighbour; nobody waits.

    i asks j, with its x_i         j:  d = (x_i - x_j) / 2,  x_j += d,  answers with its sum of d
    i, when the answer comes:      x_i -= d

The pair's sum is conserved to the last bit, whatever is lost, doubled or in disorder: d is a whole
number of steps, and what is told is the sum of all d so far (`fixed_point.py`). A node serves while
it waits for an answer itself, and trains on meanwhile: no pair can block another, whatever the
graph. An ask whose answer is lost is repeated with the next update.

Where all edges are used alike, each node's data counts as often as it makes an update: slow nodes'
data is forgotten in part. Steps by `elapsed` time even that out.

Source: Lian, Zhang, Zhang, Liu, "Asynchronous decentralized parallel stochastic gradient descent",
ICML 2018. There averaging is atomic, and a bipartite graph keeps it from blocking.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
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
    in_wire_steps,
    mass_of,
    no_sums,
    vector_of,
)
from p2pfl.draws import draw
from p2pfl.messages import Incarnation, ModelMessage, Neighbour
from p2pfl.types import NodeId, Vector

ASK: Final = "ask"
ANSWER: Final = "answer"

_FARTHEST: Final = 2.0**10
"""A d beyond it (per number) is cut: the sum of two could not be told apart from a wrap-around."""


class Account(NamedTuple):
    """What one node has with another: asks and sums, each counted since both began."""

    life: Incarnation
    """Of the other: a new one has begun its sums anew."""
    flow: Sums
    """Sum of the d that this node took in serving the other."""
    seen: Sums
    """The other's sum of d, as far as this node has given them."""
    asks: int = 0
    answered: int = 0
    served: int = 0


class Pairing(NamedTuple):
    """The model in whole steps and as numbers, where training began, and the accounts."""

    mass: Mass
    x: Vector
    start: Vector | None = None
    accounts: Mapping[NodeId, Account] = {}
    asked: NodeId | None = None
    """Whose answer is awaited."""
    since_s: float | None = None
    """When the update before ended, on the own clock."""
    back: bool = False
    """This life is not the first: what others have taken before it began is not its own."""


@dataclass(frozen=True, slots=True)
class ADPSGD(BaseAlgorithm[Pairing]):
    """Pairwise averaging over directed messages."""

    step: Literal["x", "elapsed"] = "x"
    """x: updates count as they were trained; elapsed: by the time that they took."""
    reference_s: float | None = None
    """Elapsed: seconds of an update that counts once; None: a plain node's update."""
    step_max: float = STEP_MAX
    """Elapsed: the most that an update may count."""
    place: Surroundings = NOWHERE

    @property
    def capabilities(self) -> Capabilities:
        """An undirected graph; sums travel beside the model."""
        return Capabilities(reacts=True, beside=Beside("uint32"))

    def at(self, place: Surroundings) -> Self:
        """With the run's seed, and how long an update is."""
        return replace(self, place=place)

    def initial(self, x0: Vector) -> Pairing:
        """Every node starts from x0."""
        return Pairing(mass_of(x0), x0)

    def adopt(self, state: Pairing, x: Vector) -> Pairing:
        """The neighbours' mean model; accounts begin anew."""
        return Pairing(mass_of(x), x, back=True)

    def resumed(self, state: Pairing) -> Pairing:
        """The model; accounts begin anew."""
        return Pairing(state.mass, state.x, back=True)

    def opening(self, state: Pairing) -> Sequence[Outgoing]:
        """Nothing: everybody has x0."""
        return ()

    def greeting(self, state: Pairing) -> Outgoing:
        """Its model, with no sums: it asks for nothing and answers nothing."""
        return Outgoing(state.x, extra=no_sums(state.x.size))

    def hear(
        self, state: Pairing, local: Local, message: ModelMessage, *, usable: bool
    ) -> Heard[Pairing]:
        """Give what the other has taken, and serve its ask."""
        header = message.header
        if len(header.words) < 2 or message.extra is None:  # noqa: PLR2004 - asks, and asks served
            return Heard(state)
        asks, served = header.words[:2]
        account = self._account(state, message)
        given = difference(_sums(message), account.seen) << BITS
        account = account._replace(seen=_sums(message), answered=max(account.answered, served))
        asked = state.asked
        if asked == header.node and account.answered >= account.asks:
            asked = None
        mass = state.mass - given
        if header.kind != ASK or not usable:
            return Heard(_with(state, mass, header.node, account, asked))
        mixed = asks > account.served
        if mixed:
            taken = in_wire_steps(_half_way(message.vector, vector_of(mass)))
            mass = mass + (taken << BITS)
            account = account._replace(flow=added(account.flow, taken), served=asks)
        after = _with(state, mass, header.node, account, asked)
        return Heard(after, (_outgoing(after, header.node, ANSWER),), mixed=mixed)

    def advance(
        self, state: Pairing, local: Local, neighbours: Sequence[Neighbour]
    ) -> Advance[Pairing]:
        """Train on from x."""
        since_s = local.now_s if state.since_s is None else state.since_s
        return Advance(state._replace(start=state.x, since_s=since_s), train=TrainPlan(state.x))

    def finish(
        self, state: Pairing, local: Local, neighbours: Sequence[Neighbour], trained: Vector
    ) -> Finish[Pairing]:
        """Add the update to x, and ask a random neighbour, or the same one again."""
        assert state.start is not None
        moved = trained - state.start
        if self.step == "elapsed":
            moved *= np.float32(
                update_counts(
                    local, state.since_s, self.reference_s, self.place, most=self.step_max
                )
            )
        mass = state.mass + mass_of(moved)
        after = state._replace(mass=mass, x=vector_of(mass), start=None, since_s=local.now_s)
        living = [n.peer for n in neighbours if n.live]
        asked = state.asked if state.asked in living else None
        if asked is None and living:
            chosen = draw(self.place.seed, local.node, "pair", local.version) * len(living)
            asked = living[int(chosen)]
            account = after.accounts.get(asked, self._first(after, asked))
            account = account._replace(asks=account.asks + 1)
            after = after._replace(accounts={**after.accounts, asked: account})
        after = after._replace(asked=asked)
        return Finish(after, () if asked is None else (_outgoing(after, asked, ASK),))

    def served(self, state: Pairing, neighbours: Sequence[Neighbour]) -> Vector:
        """x."""
        return state.x

    def public(self, state: Pairing) -> Vector:
        """x."""
        return state.x

    def _first(self, state: Pairing, peer: NodeId) -> Account:
        """The account with a node that has not been heard yet."""
        nothing = no_sums(state.x.size)
        return Account(Incarnation(0, 0), nothing, nothing)

    def _account(self, state: Pairing, message: ModelMessage) -> Account:
        """The account with the sender, as its life and this one's allow."""
        header = message.header
        account = state.accounts.get(header.node, self._first(state, header.node))
        if account.life == header.incarnation:
            return account
        unknown = account.life == Incarnation(0, 0)
        seen = _sums(message) if unknown and state.back else no_sums(state.x.size)
        # Asks are numbered by this node's life, what was served by the other's.
        return account._replace(life=header.incarnation, seen=seen, served=0, answered=0)


def _half_way(theirs: Vector, own: Vector) -> Mass:
    half = np.clip(0.5 * (theirs - own), -_FARTHEST, _FARTHEST)
    return mass_of(half.astype(np.float32))


def _sums(message: ModelMessage) -> Sums:
    assert message.extra is not None
    return message.extra.view(np.uint32)


def _with(
    state: Pairing, mass: Mass, peer: NodeId, account: Account, asked: NodeId | None
) -> Pairing:
    accounts = {**state.accounts, peer: account}
    return state._replace(mass=mass, x=vector_of(mass), accounts=accounts, asked=asked)


def _outgoing(state: Pairing, peer: NodeId, kind: str) -> Outgoing:
    account = state.accounts[peer]
    words = (account.asks, account.served)
    return Outgoing(state.x, kind=kind, to=(peer,), extra=account.flow, words=words)
