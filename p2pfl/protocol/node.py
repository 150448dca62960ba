"""One node as a pure state machine: `handle(event, now) -> effects`.

It owns no clock, socket, thread, file or random source. Both drivers, real and virtual, hand it
the same events and perform the same effects.

    new --Started--> waiting <--> training --(steps reached)--> finished --Ended--> ended

A node that rejoins first waits a moment for its neighbours' models and adopts their mean. A
finished node goes on hearing and answering until the driver ends the run.
"""

from collections import Counter
from copy import copy
from functools import partial
from math import isfinite
from typing import Any, Final, assert_never

import numpy as np

from p2pfl.algorithms.base import Algorithm, Local, stranger
from p2pfl.algorithms.mixing import weighted_mean
from p2pfl.messages import (
    AnyEvent,
    Effect,
    Ended,
    ModelMessage,
    PeerLost,
    PresenceState,
    Received,
    Record,
    Rewired,
    Saved,
    Send,
    Started,
    Stop,
    Train,
    Trained,
    VersionRequest,
    Wake,
    Woken,
)
from p2pfl.protocol.admission import Admission
from p2pfl.protocol.neighbourhood import Neighbourhood, Sight
from p2pfl.protocol.peers import Peer
from p2pfl.protocol.phase import Phase
from p2pfl.protocol.settings import NodeSettings
from p2pfl.protocol.snapshot import NodeSnapshot
from p2pfl.protocol.voice import Voice
from p2pfl.types import Vector, frozen

NOBODY: Final = Sight((), (), (), 0.0)

_TRAINING: Final = Phase.TRAINING

BEATS_PER_FLOOR: Final = 4
"""A silent node beats so often within the liveness floor: three lost beats kill nobody."""


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
        capabilities = algorithm.capabilities
        exact = capabilities.synchronous or (policy.policy == "wait" and policy.bound == 0.0)
        self.neighbourhood = Neighbourhood(
            settings.neighbours, policy, exact=exact, node=settings.node, rounds=settings.rounds
        )
        self._reacts, self._selective = capabilities.reacts, capabilities.selective
        self._admission = Admission(settings, x0.size, capabilities)
        self.phase = Phase.NEW
        self.version = 0
        self.steps = 0
        self.refused: Counter[tuple[str, str]] = Counter()
        self.staleness_max = 0.0
        self._voice = Voice(settings, versions=settings.versions_kept if exact else 1)
        self._update_steps = settings.local_steps
        self._training = 0
        self._beat = 0
        self._rejoin_until_s = 0.0
        self._remembers = False
        """It goes on from a checkpoint, and takes nothing over from its neighbours."""

    def __repr__(self) -> str:
        """Phase, version and how many neighbours are held."""
        held = sum(p.newest is not None for p in self.neighbourhood.peers.values())
        return (
            f"<Node {self.settings.node} {self.phase} version={self.version} steps={self.steps} "
            f"held={held}/{len(self.neighbourhood.peers)}>"
        )

    # ------------------------------------------------------------ what it is

    def snapshot(self) -> NodeSnapshot:
        """All that this node is; events that it takes later change nothing of it."""
        return NodeSnapshot(
            phase=self.phase,
            version=self.version,
            steps=self.steps,
            state=self.state,
            peers=tuple(copy(peer) for peer in self.neighbourhood.peers.values()),
            voice=copy(self._voice),
            update_steps=self._update_steps,
            refused=tuple(self.refused.items()),
            staleness_max=self.staleness_max,
            training=self._training,
            beat=self._beat,
            rejoin_until_s=self._rejoin_until_s,
            remembers=self._remembers,
            since_s=self.neighbourhood.since_s,
        )

    def saved(self) -> Saved:
        """What a later life may go on from."""
        return Saved(self.algorithm.resumed(self.state), self.version, self.steps)

    def resume(self, was: NodeSnapshot) -> None:
        """Be what `was` tells, for a new node of the same settings and algorithm."""
        self.phase, self.version = was.phase, was.version
        self.steps, self.state = was.steps, was.state
        self.neighbourhood.resume((copy(peer) for peer in was.peers), since_s=was.since_s)
        self._voice, self._update_steps = copy(was.voice), was.update_steps
        self.refused = Counter(dict(was.refused))
        self.staleness_max = was.staleness_max
        self._training, self._beat = was.training, was.beat
        self._rejoin_until_s, self._remembers = was.rejoin_until_s, was.remembers

    # ------------------------------------------------------------ events

    def handle(self, event: AnyEvent, now: float) -> list[Effect]:
        """Take one event at `now` seconds on a clock that never runs back; what to do about it."""
        effects: list[Effect] = []
        match event:
            case Received():
                self._on_received(event, now, effects)
            case Trained():
                self._on_trained(event, now, effects)
            case Woken(token):
                self._on_woken(token, now, effects)
            case PeerLost(peer, incarnation):
                record = self.neighbourhood.peers.get(peer)
                if record is not None and record.lose(incarnation, now):
                    grace_s = self.settings.policy.suspect_grace_s
                    effects.append(Wake(now + grace_s * 1.001, token=-1))
            case Rewired(neighbours):
                self.neighbourhood.rewire(neighbours)
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
        return self.algorithm.served(self.state, self._look(now).neighbours)

    def public(self) -> Vector:
        """The node's own x, `[d]`: what the consensus distance is measured on."""
        return self.algorithm.public(self.state)

    def _on_started(self, event: Started, now: float, effects: list[Effect]) -> None:
        assert self.phase is Phase.NEW
        self._voice.incarnation = event.incarnation
        self.neighbourhood.since_s = now
        effects.append(self._voice.sign(PresenceState.TRAINING, self.version, now))
        self._arm_beat(effects)
        saved = event.saved
        if saved is not None:
            self.state, self.version, self.steps = saved.state, saved.version, saved.steps
        self._remembers = saved is not None
        if event.rejoining and (self.neighbourhood.exact or not self._remembers):
            self.phase = Phase.REJOINING
            self._rejoin_until_s = now + self.settings.policy.suspect_grace_s
            effects.append(Wake(self._rejoin_until_s, token=-1))
            if self.settings.rounds or self.algorithm.greeting(self.state) is not None:
                # Nothing is retained where models have receivers of their own: ask.
                for peer in self.neighbourhood.peers.values():
                    self._ask(peer, effects)
            return
        self._begin(now, effects)

    def _on_trained(self, event: Trained, now: float, effects: list[Effect]) -> None:
        if self.phase is not Phase.TRAINING or event.token != self._training:
            return
        if not isfinite(event.loss) or not _is_finite(event.vector):
            self._finish("diverged: the loss is not finite, lower the learning rate", now, effects)
            return
        sight = self._look(now)
        local = self._local(now, self._update_steps, event.loss)
        done = self.algorithm.finish(self.state, local, sight.neighbours, frozen(event.vector))
        if done.mixed:
            self._record(self.neighbourhood.used(sight, done.mixed), effects)
        self.state = done.state
        self.version += 1
        self.steps += self._update_steps
        self._voice.local_steps = self._update_steps
        self.phase = Phase.WAITING
        effects.extend(self._voice.hand_out(done.outgoing, self.version, now))
        steps_max = self.settings.steps_max
        if steps_max is not None and self.steps >= steps_max:
            self._finish("steps", now, effects)
        else:
            self._advance(now, effects, sight if self.neighbourhood.lasting else None)

    def _on_received(self, event: Received, now: float, effects: list[Effect]) -> None:
        message, peers = event.message, self.neighbourhood.peers
        if isinstance(message, ModelMessage):
            sender = message.header.node
            peer, reason = peers.get(sender), self._admission.fault_of_model(message)
            if peer is not None and not reason:
                exact = self.version if self.neighbourhood.exact else None
                if not peer.take(message, now, retained=event.retained, exact=exact):
                    reason = "old"
                elif self._reacts:
                    self._hear(peer, message, now, effects)
        else:
            sender = message.node
            peer, reason = peers.get(sender), self._admission.fault_of_word(message)
            if peer is not None and not reason:
                if isinstance(message, VersionRequest):
                    greeting = self.algorithm.greeting(self.state)
                    effects.extend(self._voice.answer(message, greeting, self.version, now))
                    return
                if not peer.hear(message, now, retained=event.retained):
                    reason = "old"
        if peer is None or reason:
            self.refused[(sender, "stranger" if peer is None else reason)] += 1
        elif self.phase is not _TRAINING:
            self._advance(now, effects)

    def _hear(self, peer: Peer, message: ModelMessage, now: float, effects: list[Effect]) -> None:
        """Let the algorithm react to a new model at once, whatever is under way."""
        if self.phase in (Phase.NEW, Phase.REJOINING, Phase.ENDED):
            return
        usable = self.neighbourhood.usable(peer, self.version, now)
        heard = self.algorithm.hear(self.state, self._local(now), message, usable=usable)
        self.state = heard.state
        if heard.mixed:
            reading, staleness = self.neighbourhood.read(peer, self.version, now)
            peer.reads += 1
            self.staleness_max = max(self.staleness_max, staleness)
            effects.append(Record(self.version, staleness, (reading,), ()))
        effects.extend(self._voice.say(heard.outgoing, self.version, now))

    def _on_woken(self, token: int, now: float, effects: list[Effect]) -> None:
        if self.phase in (Phase.NEW, Phase.ENDED):
            return
        if token == self._beat:
            beat_s = self.settings.policy.liveness_floor_s / BEATS_PER_FLOOR
            if now - self._voice.signed_s >= beat_s * 0.999:
                silent_s, done = now - self._voice.spoke_s, self.phase is Phase.FINISHED
                state = PresenceState.FINISHED if done else PresenceState.TRAINING
                effects.append(self._voice.sign(state, self.version, now))
                if silent_s >= beat_s * 0.999:
                    self._repeat(now, effects)
            self._arm_beat(effects)
        self._advance(now, effects)

    # ------------------------------------------------------------ the node's own course

    def _begin(self, now: float, effects: list[Effect]) -> None:
        self.phase = Phase.WAITING
        effects.extend(self._voice.hand_out(self.algorithm.opening(self.state), self.version, now))
        self._advance(now, effects)

    def _advance(self, now: float, effects: list[Effect], sight: Sight | None = None) -> None:
        """Go on if nothing is under way; `sight` was seen a moment ago, if that still holds."""
        if self.phase is Phase.REJOINING:
            self._rejoin(now, effects)
        if self.phase is not Phase.WAITING:
            return
        if self.neighbourhood.waits and self._blocked(now, effects):
            return
        if sight is None:
            sight = self._look(now)
        step = self.algorithm.advance(self.state, self._local(now), sight.neighbours)
        if step.mixed:
            self._record(self.neighbourhood.used(sight, step.mixed), effects)
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
            own = self.settings.local_steps
            self._update_steps = own if plan.steps is None else plan.steps
            effects.append(
                Train(
                    self._training,
                    frozen(plan.start),
                    self.steps,
                    self._update_steps,
                    plan.correction,
                    plan.fresh_optimizer,
                    plan.proximal,
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
        if held and not self._remembers:
            mean = weighted_mean([m.vector for m in held], [1.0] * len(held))
            self.state = self.algorithm.adopt(self.state, mean)
            self.version = 0
        self.version = max([self.version, *(m.header.version for m in held)])
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
        sight = self._look(now)
        again = self.algorithm.repeat(self.state, self._local(now), sight.neighbours)
        effects.extend(self._voice.say(again, self.version, now))

    def _arm_beat(self, effects: list[Effect]) -> None:
        """Wake when a part of the liveness floor has passed without a sign of life."""
        self._beat += 1
        beat_s = self.settings.policy.liveness_floor_s / BEATS_PER_FLOOR
        effects.append(Wake(self._voice.signed_s + beat_s, token=self._beat))

    # ------------------------------------------------------------ bookkeeping

    def _record(self, sight: Sight, effects: list[Effect]) -> None:
        self.neighbourhood.count_reads()
        self.staleness_max = max(self.staleness_max, sight.staleness)
        self._voice.trusts = sight.trusts
        effects.append(Record(self.version, sight.staleness, sight.readings, sight.left_out))

    def _look(self, now: float) -> Sight:
        return NOBODY if self._selective else self.neighbourhood.look(self.version, now)

    def _local(self, now: float, local_steps: int | None = None, loss: float = 0.0) -> Local:
        settings, look = self.settings, stranger
        if self._selective:
            look = partial(self.neighbourhood.look_at, version=self.version, now=now)
        return Local(
            settings.node,
            self.version,
            settings.samples,
            self.steps,
            settings.local_steps if local_steps is None else local_steps,
            now,
            settings.step_sizes,
            look,
            loss,
        )


def _is_finite(vector: Vector) -> bool:
    """False if any coordinate is infinite or not a number.

    One pass: a sum of squares is finite only if all are. It may overflow, of which `vdot` does not
    warn; then it is looked closer.
    """
    return isfinite(np.vdot(vector, vector)) or bool(np.isfinite(vector).all())
