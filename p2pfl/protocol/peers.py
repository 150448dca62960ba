"""What a node knows of one neighbour: its newest models, its signs of life, its clock's offset."""

# ruff: noqa: PLR1730 - this runs at every message of every node; max() costs five comparisons

from dataclasses import dataclass
from math import inf
from typing import Final

from p2pfl.messages import Incarnation, ModelMessage, Neighbour, Presence, PresenceState
from p2pfl.protocol.staleness import LIVENESS_PERIODS, StalenessPolicy
from p2pfl.types import NodeId, quick_tuple

_JOINING: Final = PresenceState.JOINING
_TRAINING: Final = PresenceState.TRAINING


@dataclass(slots=True)
class Peer:
    """One neighbour's record: at most two models, whatever it sends."""

    node: NodeId
    weight: float
    policy: StalenessPolicy
    incarnation: Incarnation | None = None
    newest: ModelMessage | None = None
    previous: ModelMessage | None = None
    """Where versions are matched: the model before the newest, or an older one asked for."""
    held: int = -1
    """The newest model's version."""
    sequence: int = -1
    """The newest model's sequence."""
    sent_s: float = 0.0
    """When the newest model was made, on the peer's clock."""
    trusted: bool = False
    """False while the newest model is only a retained one whose sender has shown no life."""
    reads: int = 0
    offset_s: float = inf
    """min(received - sent) of this incarnation: clock offset plus the shortest transit."""
    heard_s: float | None = None
    """Last sign of life on the own clock."""
    state: PresenceState = PresenceState.JOINING
    told_s: float = -inf
    """When the newest presence was made, on the peer's clock: an older one changes nothing."""
    lost_s: float | None = None
    beat_period_s: float = 0.0
    version: int = -1
    finished_s: float | None = None
    asked: int = -1
    """The version that was asked for and has not come yet."""
    view: Neighbour | None = None
    """The neighbour as a mix sees it in the usual case: its newest model is trusted, its sender
    neither suspect, finished nor gone. Its age and the next three say all else that a mix asks."""
    period_s: float = 0.0
    """The publish period last announced, in a header or a beat; 0: unknown."""
    unit_s: float = 1.0
    """The age that counts as one missed period."""
    live_until_s: float = -inf
    """Silence beyond this means death."""

    def take(self, message: ModelMessage, now: float, *, retained: bool, exact: int | None) -> bool:
        """Keep a model if it is newer, or the version `exact` that is waited for; else forget it.

        A late model never replaces a newer one; duplicates change nothing.
        """
        header = message.header
        if header.incarnation is not self.incarnation and not self._same_life(header.incarnation):
            return False
        sent_s, sequence, held = header.sent_s, header.sequence, header.version
        if not retained:
            if now - sent_s < self.offset_s:
                self.offset_s = now - sent_s
            self.heard_s, self.lost_s, self.beat_period_s = now, None, 0.0
        if sequence <= self.sequence:
            self._settle()
            return self._keep_asked_for(message, exact)
        if exact is not None:
            self.previous = self.newest
        self.newest = message
        self.held, self.sequence, self.sent_s = held, sequence, sent_s
        if held > self.version:
            self.version = held
        self.reads = 0
        self.trusted = not retained
        self._settle()
        return True

    def hear(self, presence: Presence, now: float, *, retained: bool) -> bool:
        """Take a sign of life (retained: only what the peer last said); False if it is old."""
        if not self._same_life(presence.incarnation):
            return False
        if presence.state is PresenceState.LEFT:
            # A transport says it for its node, and knows nothing of the node's clock.
            self.state = presence.state
            self._settle()
            return True
        if presence.sent_s < self.told_s or self.state is PresenceState.LEFT:
            return False
        self.told_s = presence.sent_s
        self.state = presence.state
        self.version = max(self.version, presence.version)
        if presence.state is PresenceState.FINISHED:
            self.finished_s = now if self.finished_s is None else self.finished_s
            self.trusted = self.newest is not None
        elif not retained:
            self._hear(now, presence.sent_s)
            self.beat_period_s = presence.period_s
            self.trusted |= self.newest is not None and self.held == presence.version
        self._settle()
        return True

    def weigh(self, weight: float) -> None:
        """Count so much from now on."""
        self.weight = weight
        self._settle()

    def lose(self, incarnation: Incarnation, now: float) -> bool:
        """The broker says that this incarnation's connection broke; False if it is an old one."""
        if self.incarnation != incarnation or self.lost_s is not None:
            return False
        self.lost_s = now
        self._settle()
        return True

    def gone(self, now: float) -> bool:
        """True once the peer has left, or was lost for longer than the grace period."""
        if self.state is PresenceState.LEFT:
            return True
        return self.lost_s is not None and now - self.lost_s > self.policy.suspect_grace_s

    def live(self, now: float, *, since_s: float) -> bool:
        """True while the peer counts as alive; one never heard of gets the floor from `since_s`."""
        if self.view is not None:
            return now <= self.live_until_s
        if self.gone(now):
            return False
        if self.state is PresenceState.FINISHED:
            return True
        heard_s = since_s if self.heard_s is None else self.heard_s
        return not self.policy.silent_too_long(now - heard_s, self.period_s)

    def age_s(self, now: float) -> float:
        """Seconds since the newest model left its sender, queueing counted, constant transit not.

        A finished sender's model is its last one: it ages only until the end was announced.
        The one assumption left: some message of this incarnation once came without queueing.
        """
        if self.newest is None:
            return inf
        until_s = now
        if self.finished_s is not None:
            if self.offset_s == inf:
                return 0.0
            until_s = min(now, self.finished_s)
        elif self.offset_s == inf:
            return inf
        return max(0.0, until_s - self.sent_s - self.offset_s)

    def at_version(self, version: int) -> ModelMessage | None:
        """The peer's model of exactly this version, if it is held."""
        for message in (self.newest, self.previous):
            if message is not None and message.header.version == version:
                return message
        return None

    def _same_life(self, incarnation: Incarnation) -> bool:
        """Begin a new record at a newer incarnation; False for an older one."""
        known = self.incarnation
        if incarnation == known:
            return True
        if known is not None and incarnation < known:
            return False
        self.incarnation = incarnation
        self.newest = self.previous = None
        self.trusted = False
        self.reads = 0
        self.offset_s, self.told_s = inf, -inf
        self.heard_s = self.lost_s = self.finished_s = None
        self.state = PresenceState.JOINING
        self.beat_period_s = self.period_s = 0.0
        self.version = self.held = self.sequence = self.asked = -1
        self.view = None
        return True

    def _settle(self) -> None:
        """Derive, once per message, what every mix asks for."""
        newest, heard_s = self.newest, self.heard_s
        period_s = self.beat_period_s
        if newest is None:
            self.period_s = period_s
            return
        header = newest.header
        announced_s = header.period_s
        if announced_s > period_s:
            period_s = announced_s
        self.period_s = period_s
        # First: the next view then takes the place of this one, which is in the cache.
        self.view = None
        if heard_s is None:
            return
        policy = self.policy
        unit_s, silence_s = policy.least_period_s, policy.liveness_floor_s
        if period_s > unit_s:
            unit_s = period_s
        if LIVENESS_PERIODS * period_s > silence_s:
            silence_s = LIVENESS_PERIODS * period_s
        self.unit_s, self.live_until_s = unit_s, heard_s + silence_s
        state = self.state
        if (state is _TRAINING or state is _JOINING) and self.trusted and self.lost_s is None:
            vector, extra = newest.vector, newest.extra
            self.view = quick_tuple(
                Neighbour,
                (self.node, self.weight, 1.0, True, False, self.version, header, vector, extra),
            )

    def _hear(self, now: float, sent_s: float) -> None:
        offset_s = now - sent_s
        if offset_s < self.offset_s:
            self.offset_s = offset_s
        self.heard_s = now
        self.lost_s = None
        self.beat_period_s = 0.0

    def _keep_asked_for(self, message: ModelMessage, exact: int | None) -> bool:
        version = message.header.version
        if exact is None or version != exact or self.at_version(version) is not None:
            return False
        self.previous = message
        return True
