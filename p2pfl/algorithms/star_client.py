"""Rounds on a star, the client: it trains from each global model, and answers to the server alone.

See `star_rounds` for what a round is. An algorithm says how the client trains, what it remembers,
and what it tells beside its model.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from p2pfl.algorithms.base import (
    Advance,
    BaseAlgorithm,
    Capabilities,
    Finish,
    Local,
    Outgoing,
    TrainPlan,
)
from p2pfl.algorithms.selection import loss_word
from p2pfl.algorithms.star_rounds import FINAL, UPDATE
from p2pfl.messages import Incarnation, Neighbour
from p2pfl.types import Extra, NodeId, Vector

M = TypeVar("M")
"""What a client remembers from round to round."""


@dataclass(frozen=True, slots=True, eq=False)
class ClientState(Generic[M]):
    """The newest global model that the client took up, and its last answer, kept to repeat."""

    x: Vector
    memory: M
    answered: int = 0
    """Number of rounds up to the last one that was answered, in the life `server` of the server."""
    server: Incarnation | None = None
    beside: Extra | None = None
    """What came beside x."""
    reply: Outgoing | None = None


@dataclass(frozen=True, slots=True)
class RoundClient(BaseAlgorithm[ClientState[M]], Generic[M]):
    """Trains from each global model that it is handed, and answers to the server alone."""

    server: NodeId

    # ------------------------------------------------------------ what algorithms differ in

    def remembered(self, x0: Vector) -> M:
        """The memory before the first round."""
        raise NotImplementedError

    def plan(self, state: ClientState[M]) -> TrainPlan:
        """How to train from the global model `state.x`."""
        return TrainPlan(state.x, fresh_optimizer=True)

    def learned(self, state: ClientState[M], local: Local, trained: Vector) -> M:
        """The memory after training that went from `state.x` to `trained`."""
        return state.memory

    def told(self, memory: M) -> Extra | None:
        """What goes to the server beside the trained model."""
        return None

    # ------------------------------------------------------------ the protocol

    @property
    def capabilities(self) -> Capabilities:
        """Runs at a leaf of a star."""
        return Capabilities(undirected=False, central=True)

    def initial(self, x0: Vector) -> ClientState[M]:
        """Every node starts from x0."""
        return ClientState(x0, self.remembered(x0))

    def adopt(self, state: ClientState[M], x: Vector) -> ClientState[M]:
        """The server's model."""
        return replace(state, x=x)

    def opening(self, state: ClientState[M]) -> Sequence[Outgoing]:
        """Nothing: a client speaks when it is asked; but it asks when it comes back."""
        if state.server is None:
            return ()
        return (state.reply or self._said(state.x, state.memory),)

    def advance(
        self, state: ClientState[M], local: Local, neighbours: Sequence[Neighbour]
    ) -> Advance[ClientState[M]]:
        """Take up a round that is not answered yet."""
        server = neighbours[0]
        header, vector = server.header, server.vector
        lost = server.finished and not server.live
        if header is None or vector is None:
            return Advance(state, finished=lost)
        if header.incarnation != state.server:
            state = replace(state, server=header.incarnation, answered=0)
        state = replace(state, x=vector, beside=server.extra)
        over = lost or header.kind == FINAL
        if over or server.finished or header.version < state.answered:
            return Advance(state, finished=over)
        version = 2 * header.version + 1
        return Advance(state, train=self.plan(state), version=version, mixed=True)

    def finish(
        self,
        state: ClientState[M],
        local: Local,
        neighbours: Sequence[Neighbour],
        trained: Vector,
    ) -> Finish[ClientState[M]]:
        """Answer the round that training began in."""
        memory = self.learned(state, local, trained)
        reply = self._said(trained, memory, words=(loss_word(local.loss),))
        answered = (local.version + 1) // 2
        after = replace(state, memory=memory, answered=answered, reply=reply)
        return Finish(after, outgoing=(reply,))

    def repeat(
        self, state: ClientState[M], local: Local, neighbours: Sequence[Neighbour]
    ) -> Sequence[Outgoing]:
        """The last answer again, until the server has told of the next round.

        To a server that has finished anything may be said: it answers with the last model.
        """
        server = neighbours[0]
        if server.finished:
            return (state.reply or self._said(state.x, state.memory),)
        if state.reply is None or server.version >= state.answered:
            return ()
        return (state.reply,)

    def served(self, state: ClientState[M], neighbours: Sequence[Neighbour]) -> Vector:
        """The newest global model at hand."""
        vector = neighbours[0].vector
        return state.x if vector is None else vector

    def public(self, state: ClientState[M]) -> Vector:
        """The newest global model that was taken up."""
        return state.x

    def _said(self, vector: Vector, memory: M, *, words: tuple[int, ...] = ()) -> Outgoing:
        return Outgoing(vector, UPDATE, (self.server,), self.told(memory), words)
