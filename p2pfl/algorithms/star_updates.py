"""Updates on a star, without rounds: what FedAsync and FedBuff share, server and client.

A client trains from the newest global model that it was sent, sends its update with the version
it started from, and is sent the newest model in return; nobody waits for anybody else. An
algorithm says what a client sends and what the server makes of it. The staleness of an update is
how many versions the server has gone on since the one that it started from.

Each update has a number, which the server's answer repeats: lost or doubled messages cost time,
and no update counts twice. Words of an update: (number, version it started from); of an answer:
(number of the client's last update that counted,). Number 0 is no update: the client asks.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Generic, NamedTuple, TypeVar

from p2pfl.algorithms.base import (
    Advance,
    BaseAlgorithm,
    Capabilities,
    Finish,
    Heard,
    Local,
    Outgoing,
    TrainPlan,
)
from p2pfl.algorithms.star_rounds import FINAL, GLOBAL, UPDATE
from p2pfl.messages import Incarnation, ModelMessage, Neighbour
from p2pfl.types import NodeId, Vector

M = TypeVar("M")
"""What a server remembers besides its model."""


class Update(NamedTuple):
    """What one client sent."""

    node: NodeId
    vector: Vector
    number: int
    base: int
    """The server's version that it started from."""
    local_steps: int
    scale: float
    """c_i by which it counts."""


class Counted(NamedTuple):
    """The last update of a client that counted, by its number in one of the client's lives."""

    life: Incarnation
    number: int


@dataclass(frozen=True, slots=True, eq=False)
class QueueState(Generic[M]):
    """The global model, and what is to be made of the updates that have come."""

    x: Vector
    memory: M
    counted: Mapping[NodeId, Counted] = field(default_factory=dict)
    queue: tuple[Update, ...] = ()
    steps: int = 0
    """Gradient steps in all the updates that counted."""
    done: bool = False


@dataclass(frozen=True, slots=True)
class UpdateServer(BaseAlgorithm[QueueState[M]], Generic[M]):
    """The star's centre; it answers every client at once."""

    steps_max: int | None = None
    """Gradient steps of all clients together until it is finished; None: until the run ends."""
    scales: Mapping[NodeId, float] = field(default_factory=dict)
    """c_i by which updates count; 1 for whoever is not named."""

    # ------------------------------------------------------------ what algorithms differ in

    def remembered(self, x0: Vector) -> M:
        """The memory before the first update."""
        raise NotImplementedError

    def applied(
        self, x: Vector, memory: M, update: Update, staleness: int
    ) -> tuple[Vector, M, bool]:
        """The next model, read-only, the next memory, and whether this is a new version."""
        raise NotImplementedError

    # ------------------------------------------------------------ the protocol

    @property
    def capabilities(self) -> Capabilities:
        """Runs at the centre of a star."""
        return Capabilities(undirected=False, central=True, reacts=True, selective=True)

    def initial(self, x0: Vector) -> QueueState[M]:
        """Every node starts from x0."""
        return QueueState(x0, self.remembered(x0))

    def adopt(self, state: QueueState[M], x: Vector) -> QueueState[M]:
        """Go on from the mean of what the clients sent last."""
        return self.initial(x)

    def opening(self, state: QueueState[M]) -> Sequence[Outgoing]:
        """The model, for everybody."""
        return (Outgoing(state.x, kind=FINAL if state.done else GLOBAL),)

    def advance(
        self, state: QueueState[M], local: Local, neighbours: Sequence[Neighbour]
    ) -> Advance[QueueState[M]]:
        """Apply what has come, and answer who sent it."""
        if state.done or not state.queue:
            return Advance(state, finished=state.done)
        x, memory, version, steps = state.x, state.memory, local.version, state.steps
        for update in state.queue:
            staleness = max(0, version - update.base)
            x, memory, is_new = self.applied(x, memory, update, staleness)
            version += is_new
            steps += update.local_steps
        done = self.steps_max is not None and steps >= self.steps_max
        after = QueueState(x, memory, state.counted, steps=steps, done=done)
        if done:
            return Advance(after, outgoing=self.opening(after), version=version, finished=True)
        answers = [_answer(x, update.node, update.number) for update in state.queue]
        return Advance(after, outgoing=answers, version=version)

    def finish(
        self,
        state: QueueState[M],
        local: Local,
        neighbours: Sequence[Neighbour],
        trained: Vector,
    ) -> Finish[QueueState[M]]:
        """A server does not train."""
        raise AssertionError

    def hear(
        self, state: QueueState[M], local: Local, message: ModelMessage, *, usable: bool
    ) -> Heard[QueueState[M]]:
        """Queue a new update; who repeats one or asks is answered with the newest model."""
        header = message.header
        node = header.node
        if header.kind != UPDATE or not usable:
            return Heard(state)
        if state.done:
            return Heard(state, (Outgoing(state.x, FINAL, (node,)),))
        number, base = (*header.words, 0, 0)[:2]
        known = state.counted.get(node)
        last = known.number if known is not None and known.life == header.incarnation else 0
        if number <= last:
            return Heard(state, (_answer(state.x, node, last),))
        scale, steps = self.scales.get(node, 1.0), max(1, header.local_steps)
        update = Update(node, message.vector, number, base, steps, scale)
        after = replace(
            state,
            queue=(*state.queue, update),
            counted={**state.counted, node: Counted(header.incarnation, number)},
        )
        return Heard(after, mixed=True)

    def served(self, state: QueueState[M], neighbours: Sequence[Neighbour]) -> Vector:
        """The global model."""
        return state.x

    def public(self, state: QueueState[M]) -> Vector:
        """The global model."""
        return state.x


def _answer(x: Vector, node: NodeId, number: int) -> Outgoing:
    return Outgoing(x, GLOBAL, (node,), words=(number,))


@dataclass(frozen=True, slots=True, eq=False)
class ClientState:
    """The global model that the client trains from, and its last update, kept to repeat."""

    x: Vector
    number: int = 0
    """Updates sent in this life."""
    base: int = 0
    """The version of x."""
    reply: Outgoing | None = None
    asks: bool = False
    """It came back, and knows nothing of the newest model."""


@dataclass(frozen=True, slots=True)
class UpdateClient(BaseAlgorithm[ClientState]):
    """Trains from the newest global model whenever its last update has been counted."""

    server: NodeId
    proximal: float = 0.0
    """mu, which holds the client near the model that it started from."""

    def sent(self, start: Vector, trained: Vector) -> Vector:
        """What goes to the server after training from `start` to `trained`: where it ended."""
        return trained

    @property
    def capabilities(self) -> Capabilities:
        """Runs at a leaf of a star."""
        return Capabilities(undirected=False, central=True)

    def initial(self, x0: Vector) -> ClientState:
        """Every node starts from x0."""
        return ClientState(x0)

    def adopt(self, state: ClientState, x: Vector) -> ClientState:
        """The server's model, which may be an old one: ask for the newest."""
        return ClientState(x, asks=True)

    def resumed(self, state: ClientState) -> ClientState:
        """The model: numbers begin anew in every life."""
        return ClientState(state.x, asks=True)

    def opening(self, state: ClientState) -> Sequence[Outgoing]:
        """Nothing in the first life: the server speaks first."""
        return (self._ask(state),) if state.asks else ()

    def advance(
        self, state: ClientState, local: Local, neighbours: Sequence[Neighbour]
    ) -> Advance[ClientState]:
        """Train from a model that answers the last update."""
        server = neighbours[0]
        header, vector = server.header, server.vector
        lost = server.finished and not server.live
        if header is None or vector is None:
            return Advance(state, finished=lost)
        if lost or header.kind == FINAL:
            return Advance(replace(state, x=vector), finished=True)
        counted = header.words[0] if header.words else 0
        if server.finished or counted < state.number:
            return Advance(state)
        after = replace(state, x=vector, base=header.version, asks=False)
        plan = TrainPlan(vector, fresh_optimizer=True, proximal=self.proximal)
        return Advance(after, train=plan, mixed=True)

    def finish(
        self, state: ClientState, local: Local, neighbours: Sequence[Neighbour], trained: Vector
    ) -> Finish[ClientState]:
        """Send the update."""
        number = state.number + 1
        words = (number, state.base)
        reply = Outgoing(self.sent(state.x, trained), UPDATE, (self.server,), words=words)
        return Finish(replace(state, number=number, reply=reply), outgoing=(reply,))

    def repeat(
        self, state: ClientState, local: Local, neighbours: Sequence[Neighbour]
    ) -> Sequence[Outgoing]:
        """The last update again, or a question: this client waits for the server in vain."""
        return (state.reply or self._ask(state),)

    def served(self, state: ClientState, neighbours: Sequence[Neighbour]) -> Vector:
        """The newest global model at hand."""
        vector = neighbours[0].vector
        return state.x if vector is None else vector

    def public(self, state: ClientState) -> Vector:
        """The newest global model that was taken up."""
        return state.x

    def _ask(self, state: ClientState) -> Outgoing:
        return Outgoing(state.x, UPDATE, (self.server,), words=(0, 0))
