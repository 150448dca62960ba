"""A node in the hand: its messages, its neighbours' messages, and what it did."""

from typing import Any

import numpy as np

from p2pfl.algorithms.base import Algorithm
from p2pfl.algorithms.pull_mix import PullMix
from p2pfl.messages import (
    AnyEvent,
    Effect,
    Header,
    Incarnation,
    ModelMessage,
    Presence,
    PresenceState,
    Publish,
    Received,
    Started,
    Train,
    Trained,
    Wake,
    Woken,
)
from p2pfl.protocol.node import Node
from p2pfl.protocol.phase import Phase
from p2pfl.protocol.settings import NodeSettings, Round
from p2pfl.protocol.staleness import StalenessPolicy
from p2pfl.types import Extra, NodeId, Vector

FIRST = Incarnation(1, 7)


def vector(*values: float) -> Vector:
    return np.array(values, dtype=np.float32)


class Bench:
    """One node with neighbours n1 and n2, driven by hand."""

    def __init__(
        self,
        policy: StalenessPolicy,
        algorithm: Algorithm[Any],
        *,
        steps_max: int | None = None,
        rounds: tuple[Round, ...] = (),
        versions_kept: int = 2,
    ) -> None:
        settings = NodeSettings(
            run="run",
            schema="schema",
            node=NodeId("n0"),
            neighbours=((NodeId("n1"), 0.25), (NodeId("n2"), 0.25)),
            samples=3,
            local_steps=2,
            policy=policy,
            steps_max=steps_max,
            digest="digest",
            rounds=rounds,
            versions_kept=versions_kept,
        )
        self.settings = settings
        self.node = Node(settings, algorithm, vector(0.0))
        self.effects: list[Effect] = []
        self.sequences: dict[tuple[str, Incarnation], int] = {}

    def tell(self, event: AnyEvent, now: float) -> list[Effect]:
        """Hand in an event; what the node wants done, also kept in `effects`."""
        effects = self.node.handle(event, now)
        self.effects += effects
        return effects

    def in_phase(self, phase: Phase) -> bool:
        """Whether the node is at this place in its life."""
        return self.node.phase is phase

    def start(self, now: float = 0.0, *, rejoining: bool = False) -> list[Effect]:
        """The node comes to life."""
        return self.tell(Started(FIRST, rejoining=rejoining), now)

    def trained(self, now: float, *values: float, loss: float = 1.0) -> list[Effect]:
        """The training under way ends (at `values`, or at 1)."""
        token = self.node._training  # the token that is awaited
        return self.tell(Trained(token, vector(*(values or (1.0,))), loss), now)

    def model(
        self,
        peer: str,
        version: int,
        now: float,
        *,
        value: float = 0.0,
        sent_s: float | None = None,
        period_s: float = 0.0,
        sequence: int | None = None,
        retained: bool = False,
        incarnation: Incarnation = FIRST,
        oldest_version: int | None = None,
        run: str = "run",
        schema: str = "schema",
        dimension: int = 1,
        extra: Extra | None = None,
        words: tuple[int, ...] = (),
        trusts: tuple[tuple[NodeId, float], ...] = (),
        kind: str = "model",
    ) -> list[Effect]:
        """A model of `peer` comes in at `now`."""
        place = (peer, incarnation)
        self.sequences[place] = self.sequences.get(place, 0) + 1
        header = Header(
            run=run,
            schema=schema,
            node=NodeId(peer),
            incarnation=incarnation,
            sequence=self.sequences[place] if sequence is None else sequence,
            version=version,
            oldest_version=max(0, version - 1) if oldest_version is None else oldest_version,
            sent_s=now if sent_s is None else sent_s,
            period_s=period_s,
            words=words,
            trusts=trusts,
            kind=kind,
        )
        message = ModelMessage(header, np.full(dimension, value, dtype=np.float32), extra)
        return self.tell(Received(message, retained=retained), now)

    def beat(
        self,
        peer: str,
        now: float,
        *,
        state: PresenceState = PresenceState.TRAINING,
        version: int = 0,
        period_s: float = 0.0,
        sent_s: float | None = None,
        retained: bool = False,
        incarnation: Incarnation = FIRST,
        digest: str = "digest",
        run: str = "run",
    ) -> list[Effect]:
        """A sign of life of `peer` comes in at `now`."""
        presence = Presence(
            run=run,
            node=NodeId(peer),
            incarnation=incarnation,
            state=state,
            version=version,
            period_s=period_s,
            sent_s=now if sent_s is None else sent_s,
            digest=digest,
        )
        return self.tell(Received(presence, retained=retained), now)

    def wake(self, now: float) -> list[Effect]:
        """The newest beat falls due."""
        return self.tell(Woken(self.node._beat), now)

    def mixed(self, now: float) -> set[str]:
        """The peers that a mix at `now` would use."""
        sight = self.node.neighbourhood.look(self.node.version, now)
        return {n.peer for n in sight.neighbours if n.trust > 0.0}


def make_bench(
    policy: StalenessPolicy | None = None,
    algorithm: Algorithm[Any] | None = None,
    *,
    steps_max: int | None = None,
    rounds: tuple[Round, ...] = (),
    versions_kept: int = 2,
) -> Bench:
    """A node in the hand: by default the default policy and PullMix."""
    return Bench(
        policy or StalenessPolicy(),
        algorithm or PullMix(),
        steps_max=steps_max,
        rounds=rounds,
        versions_kept=versions_kept,
    )


def published(effects: list[Effect]) -> list[ModelMessage]:
    """The models that were handed to everybody."""
    return [
        e.message for e in effects if isinstance(e, Publish) and isinstance(e.message, ModelMessage)
    ]


def only_train(effects: list[Effect]) -> Train:
    """The one training that was begun."""
    (train,) = [e for e in effects if isinstance(e, Train)]
    return train


def beat_of(effects: list[Effect]) -> Wake:
    """The newest beat that was armed."""
    return [e for e in effects if isinstance(e, Wake) and e.token >= 0][-1]
