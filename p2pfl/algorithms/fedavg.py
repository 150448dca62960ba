"""FedAvg with partial participation, as a client and a server on the same drivers.

A round r: the server hands model version r to its cohort, waits for the update of every member
that is alive, and averages them by their numbers of samples to version r + 1.

The server's version is its round. A client's version counts half rounds, so that its beats tell
the server what it has got: 2r + 1 while it trains in round r, 2r + 2 once it has answered.

Source: McMahan, Moore, Ramage, Hampson, Arcas, "Communication-efficient learning of deep networks
from decentralized data", AISTATS 2017.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from p2pfl.algorithms.base import (
    Advance,
    BaseAlgorithm,
    Capabilities,
    Finish,
    Local,
    Outgoing,
    TrainPlan,
    VectorAlgorithm,
)
from p2pfl.algorithms.mixing import weighted_mean
from p2pfl.draws import draw_sample
from p2pfl.messages import Neighbour
from p2pfl.types import NodeId, Vector

GLOBAL: Final = "global"
UPDATE: Final = "update"
FINAL: Final = "final"
"""The last global model: taken up, not trained from."""


@dataclass(frozen=True, slots=True)
class FedAvgServer(VectorAlgorithm):
    """The star's centre; its version is the round, its state the global model `[d]`."""

    clients: tuple[NodeId, ...]
    seed: int
    participation: float = 1.0
    """The fraction of clients in each round, C."""
    rounds: int | None = None
    """Rounds until it is finished; None: until the run ends."""
    weights: tuple[tuple[NodeId, float], ...] = ()
    """How much each client counts; empty: as much as it has samples."""

    @property
    def capabilities(self) -> Capabilities:
        """Runs at the centre of a star."""
        return Capabilities(undirected=False, central=True)

    def cohort(self, round_: int) -> tuple[NodeId, ...]:
        """The clients of this round: max(C K, 1) of them, drawn by the seed."""
        size = max(1, round(self.participation * len(self.clients)))
        chosen = draw_sample(
            self.seed, "server", "cohort", round_, among=len(self.clients), size=size
        )
        return tuple(self.clients[i] for i in chosen)

    def opening(self, state: Vector) -> Sequence[Outgoing]:
        """The first round's model."""
        return (self._handed(state, self.cohort(0)),)

    def advance(
        self, state: Vector, local: Local, neighbours: Sequence[Neighbour]
    ) -> Advance[Vector]:
        """Average when every living member of the cohort has answered; else wait."""
        cohort = set(self.cohort(local.version))
        members = [n for n in neighbours if n.peer in cohort]
        answered = [n for n in members if _has_answered(n, local.version)]
        waiting = any(n.live and not _has_answered(n, local.version) for n in members)
        if waiting or not answered:
            return Advance(state)
        vectors = [n.vector for n in answered if n.vector is not None]
        given = dict(self.weights)
        weights = [
            given.get(n.peer, float(n.header.samples)) for n in answered if n.header is not None
        ]
        model = weighted_mean(vectors, weights)
        version = local.version + 1
        done = self.rounds is not None and version >= self.rounds
        handed = Outgoing(model, kind=FINAL) if done else self._handed(model, self.cohort(version))
        return Advance(model, outgoing=(handed,), version=version, finished=done, mixed=True)

    def finish(
        self, state: Vector, local: Local, neighbours: Sequence[Neighbour], trained: Vector
    ) -> Finish[Vector]:
        """A server does not train."""
        raise AssertionError

    def repeat(
        self, state: Vector, local: Local, neighbours: Sequence[Neighbour]
    ) -> Sequence[Outgoing]:
        """The round's model again, to members that have not told of it."""
        cohort = set(self.cohort(local.version))
        told = 2 * local.version + 1
        silent = tuple(
            n.peer for n in neighbours if n.peer in cohort and n.live and n.version < told
        )
        return (Outgoing(state, kind=GLOBAL, to=silent),) if silent else ()

    def _handed(self, model: Vector, cohort: tuple[NodeId, ...]) -> Outgoing:
        """One multicast where everybody takes part, else one message a member."""
        everybody = len(cohort) == len(self.clients)
        return Outgoing(model, kind=GLOBAL, to=() if everybody else cohort)


def _has_answered(neighbour: Neighbour, round_: int) -> bool:
    header = neighbour.header
    if header is None or neighbour.vector is None:
        return False
    return header.kind == UPDATE and header.version == 2 * round_ + 2


@dataclass(frozen=True, slots=True, eq=False)
class ClientState:
    """The newest global model that the client took up, and its last answer, kept to repeat."""

    x: Vector
    answered: int = 0
    """Number of rounds up to the last one that was answered."""
    update: Vector | None = None


@dataclass(frozen=True, slots=True)
class FedAvgClient(BaseAlgorithm[ClientState]):
    """Trains from each global model that it is handed, and answers to the server alone."""

    server: NodeId

    @property
    def capabilities(self) -> Capabilities:
        """Runs at a leaf of a star."""
        return Capabilities(undirected=False, central=True)

    def initial(self, x0: Vector) -> ClientState:
        """Every node starts from x0."""
        return ClientState(x0)

    def adopt(self, state: ClientState, x: Vector) -> ClientState:
        """The server's model."""
        return replace(state, x=x)

    def opening(self, state: ClientState) -> Sequence[Outgoing]:
        """Nothing: a client speaks when it is asked."""
        return ()

    def advance(
        self, state: ClientState, local: Local, neighbours: Sequence[Neighbour]
    ) -> Advance[ClientState]:
        """Take up a round that is not answered yet."""
        server = neighbours[0]
        if server.vector is None or server.header is None:
            return Advance(state, finished=server.finished)
        round_ = server.header.version
        state = replace(state, x=server.vector)
        over = server.finished or server.header.kind == FINAL
        if over or round_ < state.answered:
            return Advance(state, finished=over)
        plan = TrainPlan(server.vector, fresh_optimizer=True)
        return Advance(state, train=plan, version=2 * round_ + 1, mixed=True)

    def finish(
        self, state: ClientState, local: Local, neighbours: Sequence[Neighbour], trained: Vector
    ) -> Finish[ClientState]:
        """Answer the round that training began in."""
        after = ClientState(state.x, answered=(local.version + 1) // 2, update=trained)
        return Finish(after, outgoing=(Outgoing(trained, kind=UPDATE, to=(self.server,)),))

    def repeat(
        self, state: ClientState, local: Local, neighbours: Sequence[Neighbour]
    ) -> Sequence[Outgoing]:
        """The last answer again, if the server has not told of the next round."""
        if state.update is None or neighbours[0].version >= state.answered:
            return ()
        return (Outgoing(state.update, kind=UPDATE, to=(self.server,)),)

    def served(self, state: ClientState, neighbours: Sequence[Neighbour]) -> Vector:
        """The newest global model at hand."""
        vector = neighbours[0].vector
        return state.x if vector is None else vector

    def public(self, state: ClientState) -> Vector:
        """The newest global model that was taken up."""
        return state.x
