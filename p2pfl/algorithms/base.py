"""What an algorithm is: four pure functions on its own small state.

A researcher's new idea is one class with these four; every driver, fault, baseline, report and
law test then works with it. The node owns everything else: views, staleness, liveness, versions.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, NamedTuple, Protocol, TypeVar

from p2pfl.messages import Neighbour
from p2pfl.types import NodeId, Vector

S = TypeVar("S")


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What an algorithm needs and allows; an impossible combination is refused when loaded."""

    synchronous: bool = False
    """Reads each live neighbour at exactly its own version, and waits for it."""
    undirected: bool = True
    """Needs a symmetric mixing matrix, hence an undirected, constant graph."""
    central: bool = False
    """Runs on a star around a server."""


class TrainPlan(NamedTuple):
    """Where local training starts, and what is added to each gradient."""

    start: Vector
    correction: Vector | None = None
    fresh_optimizer: bool = False


class Outgoing(NamedTuple):
    """A vector to hand out: to every neighbour (`to` is empty) or to those named only."""

    vector: Vector
    kind: str = "model"
    to: tuple[NodeId, ...] = ()


class Advance(NamedTuple, Generic[S]):
    """What to do next: train, hand something out, finish, or (all empty) wait for news."""

    state: S
    train: TrainPlan | None = None
    outgoing: Sequence[Outgoing] = ()
    version: int | None = None
    """The node's version from now on (a server's round); None: as it is."""
    finished: bool = False
    mixed: bool = False
    """The neighbours' models were used: the node records this mix with its staleness."""


class Finish(NamedTuple, Generic[S]):
    """The state after a local update (the node's version grows by one), and what to hand out."""

    state: S
    outgoing: Sequence[Outgoing]
    mixed: bool = False


class Local(NamedTuple):
    """What an algorithm knows of its own node when it is asked."""

    node: NodeId
    version: int
    samples: int
    steps: int
    """Gradient steps done so far."""


class Algorithm(Protocol[S]):
    """How models combine at one node. Frozen parameters outside, state inside `S`."""

    @property
    def capabilities(self) -> Capabilities:
        """What this algorithm needs and allows."""
        ...

    def initial(self, x0: Vector) -> S:
        """The state before anything happened; every node starts from the same `x0`."""
        ...

    def adopt(self, state: S, x: Vector) -> S:
        """The state of a node that rejoins with its neighbours' mean model `x`."""
        ...

    def opening(self, state: S) -> Sequence[Outgoing]:
        """What is handed out once, at the start."""
        ...

    def advance(self, state: S, local: Local, neighbours: Sequence[Neighbour]) -> Advance[S]:
        """Called when no training is under way and something may have changed."""
        ...

    def finish(
        self, state: S, local: Local, neighbours: Sequence[Neighbour], trained: Vector
    ) -> Finish[S]:
        """Called when local training ended at `trained` `[d]`."""
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


class VectorAlgorithm:
    """Defaults for an algorithm whose whole state is its model x `[d]`: override what differs."""

    __slots__ = ()

    @property
    def capabilities(self) -> Capabilities:
        """Asynchronous, on an undirected graph."""
        return Capabilities()

    def initial(self, x0: Vector) -> Vector:
        """Every node starts from x0."""
        return x0

    def adopt(self, state: Vector, x: Vector) -> Vector:
        """Go on from the neighbours' mean model."""
        return x

    def opening(self, state: Vector) -> Sequence[Outgoing]:
        """Version 0, so that the neighbours have a model of this node."""
        return (Outgoing(state),)

    def repeat(
        self, state: Vector, local: Local, neighbours: Sequence[Neighbour]
    ) -> Sequence[Outgoing]:
        """Nothing is handed out twice."""
        return ()

    def served(self, state: Vector, neighbours: Sequence[Neighbour]) -> Vector:
        """x."""
        return state

    def public(self, state: Vector) -> Vector:
        """x."""
        return state
