"""What an algorithm is: a few pure functions on its own small state.

A researcher's new idea is one class with `advance` and `finish`; every driver, fault, baseline,
report and law test then works with it. The node owns everything else: views, staleness, liveness,
versions.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Generic, Literal, NamedTuple, Protocol, Self, TypeVar

from p2pfl.algorithms.rounds import Rounds
from p2pfl.messages import ModelMessage, Neighbour
from p2pfl.types import Extra, NodeId, Vector

S = TypeVar("S")


class Beside(NamedTuple):
    """What every message of an algorithm carries beside the model: `per_number d + more` numbers.

    A message of any other form is refused.
    """

    dtype: Literal["float32", "uint32"]
    per_number: int = 1
    more: int = 0

    def size(self, dimension: int) -> int:
        """Its length for models of this dimension."""
        return self.per_number * dimension + self.more


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What an algorithm needs and allows; an impossible combination is refused when loaded."""

    synchronous: bool = False
    """Reads each live neighbour at exactly its own version, and waits for it."""
    undirected: bool = True
    """Needs a symmetric mixing matrix, hence an undirected, constant graph."""
    conserving: bool = False
    """Keeps sums over all nodes by what neighbours exchange: needs w_ij = w_ji on every link."""
    central: bool = False
    """Runs on a star around a server."""
    column_stochastic: bool = False
    """Reads with which share each neighbour pushes (columns sum to 1), not with w_ij."""
    rewirable: bool = False
    """Looks at its neighbours and their weights anew each time: the graph may change under it."""
    tree: bool = False
    """Needs a graph without cycles: whoever dies cuts it, and each piece goes on for itself."""
    acknowledged: bool = False
    """Needs to hear from whom it speaks to, also where the graph's link is one-way."""
    scheduled: bool = False
    """May have other neighbours in every round."""
    reacts: bool = False
    """Wants to `hear` each new model at once, also while it trains."""
    selective: bool = False
    """Looks at single neighbours by `Local.look`, and is shown none: what a message costs does not
    grow with their number."""
    plain_sgd: bool = False
    """Reads the gradient off what training has moved: the local optimizer must be plain SGD."""
    compressible: bool = True
    """Neighbours' models may be rounded on the way (bfloat16)."""
    byzantine_safe: bool = False
    """Reads whole models of its neighbours, so that a robust mean can replace the mean."""
    beside: Beside | None = None
    """What every message carries beside the model."""
    words: int | None = None
    """How many whole numbers every message carries in its header; None: as it comes."""


class Surroundings(NamedTuple):
    """What a node's algorithm is told once, when the node is made."""

    node: NodeId
    neighbours: tuple[tuple[NodeId, float], ...] = ()
    """(whom it hears, w_ij); with `column_stochastic`, the share that they push to this node."""
    hearers: tuple[NodeId, ...] = ()
    """Who hears it."""
    seed: int = 0
    scale: float = 1.0
    """c_i by which its local update counts: n p_i of the weighted objective, times FedNova's
    mean H / H_i where nodes take unequal numbers of local steps."""
    update_s: float = 1.0
    """Seconds that the experiment file makes of a plain node's update: the same at all nodes."""


NOWHERE: Final = Surroundings(NodeId(""))
"""Of a rule that has not been told where it stands."""


class TrainPlan(NamedTuple):
    """Where local training starts, and what is added to each gradient."""

    start: Vector
    correction: Vector | None = None
    fresh_optimizer: bool = False
    proximal: float = 0.0
    """mu: mu (x - start) is added to each gradient (FedProx)."""
    steps: int | None = None
    """Gradient steps of this update; None: the node's own H."""


class Outgoing(NamedTuple):
    """A vector to hand out: to every neighbour (`to` is empty) or to those named only."""

    vector: Vector
    kind: str = "model"
    to: tuple[NodeId, ...] = ()
    extra: Extra | None = None
    words: tuple[int, ...] = ()
    epoch: int = 0


class Advance(NamedTuple, Generic[S]):
    """What to do next: train, hand something out, finish, or (all empty) wait for news."""

    state: S
    train: TrainPlan | None = None
    outgoing: Sequence[Outgoing] = ()
    version: int | None = None
    """The node's version from now on (a server's round); None: as it is."""
    finished: bool = False
    mixed: bool | frozenset[NodeId] = False
    """The neighbours' models were used, or those of these only: the node records this mix with its
    staleness."""


class Finish(NamedTuple, Generic[S]):
    """The state after a local update (the node's version grows by one), and what to hand out."""

    state: S
    outgoing: Sequence[Outgoing]
    mixed: bool | frozenset[NodeId] = False
    """As in `Advance`."""


class Heard(NamedTuple, Generic[S]):
    """The state after one message, and what to answer."""

    state: S
    outgoing: Sequence[Outgoing] = ()
    mixed: bool = False
    """The sender's model was used: the node records this mix with its staleness."""


def no_steps(_first: int, _count: int) -> float:
    """The step sizes of a node that does not train."""
    return 0.0


def stranger(node: NodeId) -> Neighbour:
    """A neighbour of whom nothing is known."""
    return Neighbour(
        node, 0.0, trust=0.0, live=False, finished=False, version=-1, header=None, vector=None
    )


class Local(NamedTuple):
    """What an algorithm knows of its own node when it is asked."""

    node: NodeId
    version: int
    samples: int
    steps: int
    """Gradient steps done so far."""
    local_steps: int = 1
    """Gradient steps of the update that ends now; before an update: the node's own H."""
    now_s: float = 0.0
    """The time on the node's own clock."""
    step_sizes: Callable[[int, int], float] = no_steps
    """(first step, count) -> sum of their learning rates."""

    look: Callable[[NodeId], Neighbour] = stranger
    """One neighbour as it may be seen now; for `selective` algorithms."""
    loss: float = 0.0
    """The mean training loss of the update that has just ended, in `finish`."""

    @property
    def step_size(self) -> float:
        """gamma H: the sum of the learning rates of the update that begins or ends now."""
        return self.step_sizes(self.steps, self.local_steps)


class Algorithm(Protocol[S]):
    """How models combine at one node. Frozen parameters outside, state inside `S`."""

    @property
    def capabilities(self) -> Capabilities:
        """What this algorithm needs and allows."""
        ...

    def at(self, place: Surroundings) -> Self:
        """This algorithm as one node follows it."""
        ...

    def in_rounds(self, x0: Vector, nodes: Mapping[NodeId, Self]) -> Rounds | None:
        """The same algorithm for all these nodes at once; None: only event by event.

        Asked of synchronous algorithms only, and only of a class that defines it itself: what
        derives from it may change the rule.
        """
        ...

    def initial(self, x0: Vector) -> S:
        """The state before anything happened; every node starts from the same `x0`."""
        ...

    def adopt(self, state: S, x: Vector) -> S:
        """The state of a node that rejoins with its neighbours' mean model `x`."""
        ...

    def resumed(self, state: S) -> S:
        """What a node goes on with after a restart from a checkpoint of `state`.

        Made of arrays, numbers, texts, None, tuples, mappings with text keys, and of tuples and
        dataclasses with names: checkpoints hold nothing else.
        """
        ...

    def opening(self, state: S) -> Sequence[Outgoing]:
        """What is handed out once, at the start."""
        ...

    def greeting(self, state: S) -> Outgoing | None:
        """What a node that comes to the run is told where models go to single receivers.

        It makes its first model of its neighbours' greetings; whoever hears one in the middle of
        the run must not be harmed. None: all hear all, or a newcomer need not be told.
        """
        ...

    def advance(self, state: S, local: Local, neighbours: Sequence[Neighbour]) -> Advance[S]:
        """Called when no training is under way and something may have changed."""
        ...

    def finish(
        self, state: S, local: Local, neighbours: Sequence[Neighbour], trained: Vector
    ) -> Finish[S]:
        """Called when local training ended at `trained` `[d]`."""
        ...

    def hear(self, state: S, local: Local, message: ModelMessage, *, usable: bool) -> Heard[S]:
        """Called at each new model, if the algorithm `reacts`, whatever is under way.

        Not `usable`: the model is older than the policy allows, and must not be mixed. What is
        cumulative may be absorbed all the same.
        """
        ...

    def repeat(self, state: S, local: Local, neighbours: Sequence[Neighbour]) -> Sequence[Outgoing]:
        """What to hand out again when the node has waited long and heard nothing new."""
        ...

    def served(self, state: S, neighbours: Sequence[Neighbour]) -> Vector:
        """The model that is evaluated, saved and handed to users; reads, changes nothing."""
        ...

    def public(self, state: S) -> Vector:
        """The node's own `x`: what the consensus distance is measured on."""
        ...


class BaseAlgorithm(Generic[S]):
    """Defaults that suit most algorithms, whatever their state."""

    __slots__ = ()

    @property
    def capabilities(self) -> Capabilities:
        """Asynchronous, on an undirected graph."""
        return Capabilities()

    def at(self, place: Surroundings) -> Self:
        """The same at every node."""
        return self

    def resumed(self, state: S) -> S:
        """All of it."""
        return state

    def in_rounds(self, x0: Vector, nodes: Mapping[NodeId, Self]) -> Rounds | None:
        """Event by event."""
        return None

    def greeting(self, state: S) -> Outgoing | None:
        """Everybody hears every model, and the newest is kept for those who come."""
        return None

    def hear(self, state: S, local: Local, message: ModelMessage, *, usable: bool) -> Heard[S]:
        """Nothing is done before the node's own turn."""
        return Heard(state)

    def repeat(self, state: S, local: Local, neighbours: Sequence[Neighbour]) -> Sequence[Outgoing]:
        """Nothing is handed out twice."""
        return ()


class VectorAlgorithm(BaseAlgorithm[Vector]):
    """Defaults for an algorithm whose whole state is its model x `[d]`: override what differs."""

    __slots__ = ()

    def initial(self, x0: Vector) -> Vector:
        """Every node starts from x0."""
        return x0

    def adopt(self, state: Vector, x: Vector) -> Vector:
        """Go on from the neighbours' mean model."""
        return x

    def opening(self, state: Vector) -> Sequence[Outgoing]:
        """Version 0, so that the neighbours have a model of this node."""
        return (Outgoing(state),)

    def served(self, state: Vector, neighbours: Sequence[Neighbour]) -> Vector:
        """x."""
        return state

    def public(self, state: Vector) -> Vector:
        """x."""
        return state
