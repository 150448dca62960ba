"""One node as a pure state machine: `handle(event, now) -> effects`.

It owns no clock, socket, thread, file or random source. Both drivers, real and virtual, hand it
the same events and perform the same effects.

    new --Started--> waiting <--> training --(steps reached)--> finished --Ended--> ended

A node that rejoins first waits a moment for its neighbours' models and adopts their mean. A
finished node goes on hearing and answering until the driver ends the run.
"""

from collections import Counter
from enum import StrEnum
from math import isfinite
from typing import Any, Final, assert_never

import numpy as np

from p2pfl.algorithms.base import Algorithm, Local
from p2pfl.algorithms.mixing import weighted_mean
from p2pfl.messages import (
    Effect,
    Ended,
    Event,
    ModelMessage,
    PeerLost,
    Presence,
    PresenceState,
    Received,
    Record,
    Send,
    Started,
    Stop,
    Train,
    Trained,
    VersionRequest,
    Wake,
    Woken,
)
from p2pfl.protocol.neighbourhood import Neighbourhood, Sight
from p2pfl.protocol.peers import Peer
from p2pfl.protocol.settings import NodeSettings
from p2pfl.protocol.voice import Voice
from p2pfl.types import Vector, frozen

BEATS_PER_FLOOR: Final = 4
"""A silent node beats so often within the liveness floor: three lost beats kill nobody."""


class Phase(StrEnum):
    """Where a node is in its life."""

    NEW = "new"
    REJOINING = "rejoining"
    WAITING = "waiting"
    TRAINING = "training"
    FINISHED = "finished"
    ENDED = "ended"


class Node:
    """The state machine. Raises nothing a peer could cause: bad messages are counted in `refused`.

    After `handle`, the caller performs all effects in order; `Train` results come back as
    `Trained` with the same token, and a token that is no longer awaited is ignored.
    """

    def __init__(self, settings: NodeSettings, algorithm: Algorithm[Any], x0: Vector) -> None:
        self.settings = settings
        self.algorithm = algorithm
        self.state = algorithm.initial(frozen(x0))
        policy = settings.policy
        exact = algorithm.capabilities.synchronous or (
            policy.policy == "wait" and policy.bound == 0.0
        )
        self.neighbourhood = Neighbourhood(settings.neighbours, policy, exact=exact)
        self.phase = Phase.NEW
        self.version = 0
        self.steps = 0
        self.refused: Counter[tuple[str, str]] = Counter()
        self.staleness_max = 0.0
        self._dimension = x0.size
        self._voice = Voice(settings)
        self._training = 0
        self._beat = 0
        self._rejoin_until_s = 0.0

    def __repr__(self) -> str:
        """Phase, version and how many neighbours are held."""
        held = sum(p.newest is not None for p in self.neighbourhood.peers.values())
        return (
            f"<Node {self.settings.node} {self.phase} version={self.version} steps={self.steps} "
            f"held={held}/{len(self.neighbourhood.peers)}>"
        )

    # ------------------------------------------------------------ events

    def handle(self, event: Event, now: float) -> list[Effect]:
        """Take one event at `now` seconds on a clock that never runs back; what to do about it."""
        effects: list[Effect] = []
        match event:
            case Trained():
                self._on_trained(event, now, effects)
            case Received():
                self._on_received(event, now, effects)
            case Woken(token):
                self._on_woken(token, now, effects)
            case PeerLost(peer, incarnation):
                record = self.neighbourhood.peers.get(peer)
                self.neighbourhood.changed()
                if record is not None and record.lose(incarnation, now):
                    grace_s = self.settings.policy.suspect_grace_s
                    effects.append(Wake(now + grace_s * 1.001, token=-1))
            case Started():
                self._on_started(event, now, effects)
            case Ended(reason):
                if self.phase not in (Phase.FINISHED, Phase.ENDED):
                    effects.append(Stop(reason))
                self.phase = Phase.ENDED
            case _:
                assert_never(event)
        return effects

    def served(self, now: float) -> Vector:
        """The model to evaluate, save and hand out at `now`, `[d]`; changes nothing."""
        sight = self.neighbourhood.look(self.version, now)
        return self.algorithm.served(self.state, sight.neighbours)

    def public(self) -> Vector:
        """The node's own x, `[d]`: what the consensus distance is measured on."""
        return self.algorithm.public(self.state)

    def _on_started(self, event: Started, now: float, effects: list[Effect]) -> None:
        assert self.phase is Phase.NEW
        self._voice.incarnation = event.incarnation
        self.neighbourhood.since_s = now
        effects.append(self._voice.sign(PresenceState.TRAINING, self.version, now))
        self._arm_beat(effects)
        if event.rejoining:
            self.phase = Phase.REJOINING
            self._rejoin_until_s = now + self.settings.policy.suspect_grace_s
            effects.append(Wake(self._rejoin_until_s, token=-1))
            return
        self._begin(now, effects)

    def _on_trained(self, event: Trained, now: float, effects: list[Effect]) -> None:
        if self.phase is not Phase.TRAINING or event.token != self._training:
            return
        if not isfinite(event.loss) or not _is_finite(event.vector):
            self._finish("diverged: the loss is not finite, lower the learning rate", now, effects)
            return
        sight = self.neighbourhood.look(self.version, now)
        done = self.algorithm.finish(
            self.state, self._local(), sight.neighbours, frozen(event.vector)
        )
        if done.mixed:
            self._record(sight, effects)
        self.state = done.state
        self.version += 1
        self.steps += self.settings.local_steps
        self.phase = Phase.WAITING
        effects.extend(self._voice.hand_out(done.outgoing, self.version, now))
        steps_max = self.settings.steps_max
        if steps_max is not None and self.steps >= steps_max:
            self._finish("steps", now, effects)
        else:
            self._advance(now, effects)

    def _on_received(self, event: Received, now: float, effects: list[Effect]) -> None:
        message = event.message
        if isinstance(message, ModelMessage):
            sender, reason = message.header.node, self._fault_of_model(message)
        else:
            sender, reason = message.node, self._fault_of_word(message)
        peer = self.neighbourhood.peers.get(sender)
        if peer is None or reason:
            self.refused[(sender, "stranger" if peer is None else reason)] += 1
            return
        if isinstance(message, ModelMessage):
            exact = self.version if self.neighbourhood.exact else None
            news = peer.take(message, now, retained=event.retained, exact=exact)
        elif isinstance(message, Presence):
            news = peer.hear(message, now, retained=event.retained)
        else:
            effects.extend(self._voice.answer(message))
            return
        self.neighbourhood.changed()
        if not news:
            self.refused[(sender, "old")] += 1
        elif self.phase is not Phase.TRAINING:
            self._advance(now, effects)

    def _on_woken(self, token: int, now: float, effects: list[Effect]) -> None:
        if self.phase in (Phase.NEW, Phase.ENDED):
            return
        if token == self._beat:
            beat_s = self.settings.policy.liveness_floor_s / BEATS_PER_FLOOR
            if now - self._voice.signed_s >= beat_s * 0.999:
                done = self.phase is Phase.FINISHED
                state = PresenceState.FINISHED if done else PresenceState.TRAINING
                effects.append(self._voice.sign(state, self.version, now))
                self._repeat(now, effects)
            self._arm_beat(effects)
        self._advance(now, effects)

    # ------------------------------------------------------------ the node's own course

    def _begin(self, now: float, effects: list[Effect]) -> None:
        self.phase = Phase.WAITING
        effects.extend(self._voice.hand_out(self.algorithm.opening(self.state), self.version, now))
        self._advance(now, effects)

    def _advance(self, now: float, effects: list[Effect]) -> None:
        """Go on if nothing is under way and nobody must be waited for."""
        if self.phase is Phase.REJOINING:
            self._rejoin(now, effects)
        if self.phase is not Phase.WAITING:
            return
        if self._blocked(now, effects):
            return
        sight = self.neighbourhood.look(self.version, now)
        step = self.algorithm.advance(self.state, self._local(), sight.neighbours)
        if step.mixed:
            self._record(sight, effects)
        self.state = step.state
        if step.version is not None:
            self.version = step.version
        effects.extend(self._voice.hand_out(step.outgoing, self.version, now))
        if step.finished:
            self._finish("finished", now, effects)
        elif step.train is not None:
            plan = step.train
            self.phase = Phase.TRAINING
            self._training += 1
            effects.append(
                Train(
                    token=self._training,
                    start=frozen(plan.start),
                    first_step=self.steps,
                    steps=self.settings.local_steps,
                    correction=plan.correction,
                    fresh_optimizer=plan.fresh_optimizer,
                )
            )

    def _blocked(self, now: float, effects: list[Effect]) -> bool:
        """True while a live neighbour must be waited for; a version it skipped is asked for."""
        blockers = self.neighbourhood.blockers(self.version, now)
        for peer in blockers if self.neighbourhood.exact else ():
            skipped = peer.newest is not None and peer.newest.header.version > self.version
            if skipped and peer.asked != self.version:
                self._ask(peer, effects)
        return bool(blockers)

    def _ask(self, peer: Peer, effects: list[Effect]) -> None:
        peer.asked = self.version
        request = VersionRequest(self.settings.run, self.settings.node, self.version)
        effects.append(Send(peer.node, request))

    def _rejoin(self, now: float, effects: list[Effect]) -> None:
        """Adopt the neighbours' mean model as soon as all are held, or the wait is over."""
        held = [p.newest for p in self.neighbourhood.peers.values() if p.newest is not None]
        if len(held) < len(self.neighbourhood.peers) and now < self._rejoin_until_s:
            return
        if held:
            mean = weighted_mean([m.vector for m in held], [1.0] * len(held))
            self.state = self.algorithm.adopt(self.state, mean)
            self.version = max(m.header.version for m in held)
        self._begin(now, effects)

    def _finish(self, reason: str, now: float, effects: list[Effect]) -> None:
        self.phase = Phase.FINISHED
        effects.append(self._voice.sign(PresenceState.FINISHED, self.version, now))
        effects.append(Stop(reason))

    def _repeat(self, now: float, effects: list[Effect]) -> None:
        """Nothing was heard for a while: ask and say again what may have been lost."""
        if self.phase is not Phase.WAITING:
            return
        if self.neighbourhood.exact:
            for peer in self.neighbourhood.blockers(self.version, now):
                if peer.version >= self.version:
                    self._ask(peer, effects)
        sight = self.neighbourhood.look(self.version, now)
        again = self.algorithm.repeat(self.state, self._local(), sight.neighbours)
        effects.extend(self._voice.repeat(again, self.version, now))

    def _arm_beat(self, effects: list[Effect]) -> None:
        """Wake when a part of the liveness floor has passed without a sign of life."""
        self._beat += 1
        beat_s = self.settings.policy.liveness_floor_s / BEATS_PER_FLOOR
        effects.append(Wake(self._voice.signed_s + beat_s, token=self._beat))

    # ------------------------------------------------------------ bookkeeping

    def _record(self, sight: Sight, effects: list[Effect]) -> None:
        self.neighbourhood.count_reads()
        self.staleness_max = max(self.staleness_max, sight.staleness)
        effects.append(Record(self.version, sight.staleness, sight.readings, sight.left_out))

    def _local(self) -> Local:
        return Local(self.settings.node, self.version, self.settings.samples, self.steps)

    def _fault_of_model(self, message: ModelMessage) -> str:
        """The reason to refuse a model; empty: none."""
        header, settings = message.header, self.settings
        if header.run != settings.run:
            return "run"
        if header.schema != settings.schema:
            return "schema"
        return "" if message.vector.size == self._dimension else "dimension"

    def _fault_of_word(self, message: Presence | VersionRequest) -> str:
        """The reason to refuse a presence or a request; empty: none."""
        if message.run != self.settings.run:
            return "run"
        if isinstance(message, Presence) and message.digest != self.settings.digest:
            return "digest"
        return ""


def _is_finite(vector: Vector) -> bool:
    """False if any coordinate is infinite or not a number.

    One pass: a sum of squares is finite only if all are. It may overflow; then it is looked closer.
    """
    with np.errstate(over="ignore"):
        return isfinite(vector.dot(vector)) or bool(np.isfinite(vector).all())
