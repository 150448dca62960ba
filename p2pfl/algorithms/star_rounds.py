"""Rounds on a star, the server: what FedAvg and its kin share (`star_client` is its other half).

A round r: the server hands model version r to its cohort, waits for the answer of every member
that is alive, and combines the answers to version r + 1. An algorithm says how it combines them,
how its clients train, and what goes beside the models.

The server's version is its round. A client's version counts half rounds, so that its beats tell
the server what it has got: 2r + 1 while it trains in round r, 2r + 2 once it has answered. Each
answer counts once, however often it comes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Generic, Literal, NamedTuple, TypeVar

import numpy as np

from p2pfl.algorithms.base import (
    Advance,
    BaseAlgorithm,
    Capabilities,
    Finish,
    Heard,
    Local,
    Outgoing,
)
from p2pfl.algorithms.selection import choose, drawn, loss_of
from p2pfl.messages import ModelMessage, Neighbour
from p2pfl.types import Extra, NodeId, Vector

GLOBAL: Final = "global"
UPDATE: Final = "update"
FINAL: Final = "final"
"""The last global model: taken up, not trained from."""

M = TypeVar("M")
"""What an algorithm remembers from round to round."""


class Answer(NamedTuple):
    """What one client answered in a round."""

    node: NodeId
    vector: Vector
    """Where its training ended."""
    weight: float
    """How much it counts, in proportion to the others': by default its number of samples."""
    local_steps: int
    extra: Extra | None = None


@dataclass(frozen=True, slots=True, eq=False)
class ServerState(Generic[M]):
    """The global model and the round under way."""

    x: Vector
    memory: M
    cohort: tuple[NodeId, ...]
    answers: Mapping[NodeId, Answer] = field(default_factory=dict)
    losses: Mapping[NodeId, float] = field(default_factory=dict)
    """The last training loss that each client has told of."""
    done: bool = False


@dataclass(frozen=True, slots=True)
class RoundServer(BaseAlgorithm[ServerState[M]], Generic[M]):
    """The star's centre; its version is the round."""

    clients: tuple[NodeId, ...]
    seed: int
    participation: float = 1.0
    """The fraction of clients in each round, C."""
    selection: Literal["random", "loss"] = "random"
    """loss: of `candidates` drawn clients, those with the highest last training loss."""
    candidates: int | None = None
    """d, the clients drawn of which those of the highest loss are chosen; None: twice a cohort."""
    rounds: int | None = None
    """Rounds until it is finished; None: until the run ends."""
    weights: Mapping[NodeId, float] = field(default_factory=dict)
    """p_i of the objective; empty: clients count by their samples."""

    # ------------------------------------------------------------ what algorithms differ in

    def remembered(self, x0: Vector) -> M:
        """The memory before the first round."""
        raise NotImplementedError

    def combined(
        self, state: ServerState[M], local: Local, answers: Sequence[Answer]
    ) -> tuple[Vector, M]:
        """The next global model, read-only, and the next memory."""
        raise NotImplementedError

    def beside(self, state: ServerState[M]) -> Extra | None:
        """What goes out beside the global model."""
        return None

    # ------------------------------------------------------------ the protocol

    @property
    def capabilities(self) -> Capabilities:
        """Runs at the centre of a star."""
        return Capabilities(undirected=False, central=True, reacts=True, selective=True)

    @property
    def cohort_size(self) -> int:
        """The clients of a round, max(C K, 1)."""
        return max(1, round(self.participation * len(self.clients)))

    def initial(self, x0: Vector) -> ServerState[M]:
        """The first round's cohort is drawn before anyone's life or loss is known."""
        cohort = drawn(self.seed, 0, self.clients)[: self.cohort_size]
        return ServerState(x0, self.remembered(x0), self._ordered(cohort))

    def adopt(self, state: ServerState[M], x: Vector) -> ServerState[M]:
        """Go on from the mean of the clients' models; the memory begins anew."""
        return self.initial(x)

    def opening(self, state: ServerState[M]) -> Sequence[Outgoing]:
        """The round's model; after a restart that of the round that was saved."""
        return self._round(state)

    def advance(
        self, state: ServerState[M], local: Local, neighbours: Sequence[Neighbour]
    ) -> Advance[ServerState[M]]:
        """Combine when every living member of the cohort has answered; else wait."""
        answers = state.answers
        if state.done:
            return Advance(state, finished=True)
        if any(local.look(node).live for node in state.cohort if node not in answers):
            return Advance(state)
        if not answers:
            return self._another_cohort(state, local)
        given = [answers[node] for node in self.clients if node in answers]
        x, memory = self.combined(state, local, given)
        version = local.version + 1
        done = self.rounds is not None and version >= self.rounds
        cohort = () if done else self._cohort(version, local, state.losses)
        after = ServerState(x, memory, cohort, losses=state.losses, done=done)
        return Advance(after, outgoing=self._round(after), version=version, finished=done)

    def finish(
        self,
        state: ServerState[M],
        local: Local,
        neighbours: Sequence[Neighbour],
        trained: Vector,
    ) -> Finish[ServerState[M]]:
        """A server does not train."""
        raise AssertionError

    def hear(
        self, state: ServerState[M], local: Local, message: ModelMessage, *, usable: bool
    ) -> Heard[ServerState[M]]:
        """Keep the first answer of each client to this round.

        Who is owed an answer of its own and says anything else is told the round again; after the
        end everybody is told the last model.
        """
        header = message.header
        node = header.node
        if header.kind != UPDATE:
            return Heard(state)
        if state.done:
            return Heard(state, (self._final(state, to=(node,)),))
        if not usable or node in state.answers:
            return Heard(state)
        if header.version != 2 * local.version + 2:
            asks = node in state.cohort
            return Heard(state, (self._handed(state)._replace(to=(node,)),) if asks else ())
        weight = self.weights.get(node, float(max(1, header.samples)))
        steps = max(1, header.local_steps)
        answer = Answer(node, message.vector, weight, steps, message.extra)
        after = replace(
            state,
            answers={**state.answers, node: answer},
            losses={**state.losses, node: loss_of(header.words)},
        )
        return Heard(after, mixed=True)

    def repeat(
        self, state: ServerState[M], local: Local, neighbours: Sequence[Neighbour]
    ) -> Sequence[Outgoing]:
        """The round's model again, to members that have not told of it."""
        told = (2 * local.version + 1, 2 * local.version + 2)
        missing = [local.look(node) for node in state.cohort if node not in state.answers]
        silent = tuple(each.peer for each in missing if each.live and each.version not in told)
        return (self._handed(state)._replace(to=silent),) if silent else ()

    def served(self, state: ServerState[M], neighbours: Sequence[Neighbour]) -> Vector:
        """The global model."""
        return state.x

    def public(self, state: ServerState[M]) -> Vector:
        """The global model."""
        return state.x

    def _cohort(
        self, version: int, local: Local, losses: Mapping[NodeId, float]
    ) -> tuple[NodeId, ...]:
        """Living clients; nobody if nobody lives."""
        order = (n for n in drawn(self.seed, version, self.clients) if local.look(n).live)
        if self.selection == "random":
            return self._ordered(choose(order, self.cohort_size))
        candidates = choose(order, max(self.candidates or 2 * self.cohort_size, self.cohort_size))
        return self._ordered(choose(candidates, self.cohort_size, losses=losses))

    def _another_cohort(self, state: ServerState[M], local: Local) -> Advance[ServerState[M]]:
        """All members died before they answered: the same round with others."""
        cohort = self._cohort(local.version, local, state.losses)
        after = replace(state, cohort=cohort)
        return Advance(after, outgoing=self._round(after) if cohort else ())

    def _round(self, state: ServerState[M]) -> tuple[Outgoing, ...]:
        if state.done:
            return (self._final(state, to=()),)
        return (self._handed(state),) if state.cohort else ()

    def _handed(self, state: ServerState[M]) -> Outgoing:
        """One multicast where everybody takes part, else one message a member."""
        everybody = len(state.cohort) == len(self.clients)
        to = () if everybody else state.cohort
        return Outgoing(state.x, kind=GLOBAL, to=to, extra=self.beside(state))

    def _final(self, state: ServerState[M], *, to: tuple[NodeId, ...]) -> Outgoing:
        return Outgoing(state.x, kind=FINAL, to=to, extra=self.beside(state))

    def _ordered(self, chosen: Sequence[NodeId]) -> tuple[NodeId, ...]:
        members = frozenset(chosen)
        return tuple(node for node in self.clients if node in members)


def mean_update(x: Vector, answers: Sequence[Answer], *, normalise: bool = False) -> Vector:
    """The clients' mean update sum_k p_k (y_k - x), a new vector `[d]`.

    Shares p_k are the answers' weights over their sum. `normalise` divides each update by its
    number of local steps and multiplies by the mean one, sum p_k H_k (FedNova).
    """
    total = sum(each.weight for each in answers)
    shares = [each.weight / total for each in answers]
    if normalise:
        mean = sum(p * each.local_steps for p, each in zip(shares, answers, strict=True))
        shares = [p * mean / each.local_steps for p, each in zip(shares, answers, strict=True)]
    result, moved = np.zeros_like(x), np.empty_like(x)
    for share, each in zip(shares, answers, strict=True):
        np.subtract(each.vector, x, moved)
        np.multiply(moved, np.float32(share), moved)
        np.add(result, moved, result)
    return result
