"""What a node says: numbered models, signs of life, and its newest versions on request."""

from collections.abc import Sequence
from typing import Final

from p2pfl.algorithms.base import Outgoing
from p2pfl.messages import (
    Effect,
    Header,
    Incarnation,
    ModelMessage,
    Presence,
    PresenceState,
    Publish,
    Send,
    VersionRequest,
)
from p2pfl.protocol.settings import NodeSettings
from p2pfl.types import NodeId, frozen

PERIOD_MEMORY: Final = 0.7
"""Weight of the past in the publish period's exponential moving average: about three updates."""


class Voice:
    """Makes messages and remembers what was said last and when.

    Holds `versions` models: more than one where a neighbour may ask for one that is not the newest.
    """

    def __init__(self, settings: NodeSettings, *, versions: int) -> None:
        self.incarnation = Incarnation(0, 0)
        self.trusts: tuple[tuple[NodeId, float], ...] = ()
        """What the node told of its trust in neighbours goes out with its models."""
        self.local_steps = settings.local_steps
        """Gradient steps of the newest version."""
        self.signed_s = 0.0
        """Last sign of life, model or presence, that everybody heard, on the own clock."""
        self.spoke_s = 0.0
        """Last word to anybody."""
        self._everybody = len(settings.neighbours)
        self._settings = settings
        self._versions = versions
        self._sequence = 0
        self._period_s = 0.0
        self._published_s: float | None = None
        self._recent: tuple[ModelMessage, ...] = ()

    def hand_out(self, outgoing: Sequence[Outgoing], version: int, now: float) -> list[Effect]:
        """The effects that hand these vectors out as models of `version`, at its own pace."""
        if outgoing:
            self._measure_period(now)
        return self.say(outgoing, version, now)

    def say(self, outgoing: Sequence[Outgoing], version: int, now: float) -> list[Effect]:
        """The same for what is said again or answered: it says nothing about the publish period."""
        effects: list[Effect] = []
        for out in outgoing:
            message = self._message(out, version, now)
            receivers, rounds = out.to, self._settings.rounds
            if not receivers:
                self._recent = (*self._recent, message)[-self._versions :]
                if not rounds:
                    self.signed_s = now
                    effects.append(Publish(message))
                    continue
                receivers = rounds[version % len(rounds)].hearers
            # Whoever does not get this one waits for a beat.
            if len(receivers) == self._everybody:
                self.signed_s = now
            effects.extend([Send(peer, message) for peer in receivers])
        return effects

    def sign(self, state: PresenceState, version: int, now: float) -> Effect:
        """A sign of life; a node that publishes rarely thereby says how rarely."""
        silent_s = 0.0 if self._published_s is None else now - self._published_s
        self.signed_s = self.spoke_s = now
        presence = Presence(
            run=self._settings.run,
            node=self._settings.node,
            incarnation=self.incarnation,
            state=state,
            version=version,
            period_s=max(self._period_s, silent_s),
            sent_s=now,
            digest=self._settings.digest,
        )
        return Publish(presence)

    def answer(
        self, request: VersionRequest, greeting: Outgoing | None, version: int, now: float
    ) -> list[Effect]:
        """The version asked for, or else the newest: its header tells what is still to be had.

        Where nothing was ever handed out to all, the greeting, at `version`.
        """
        if not self._recent and greeting is not None:
            return self.say([greeting._replace(to=(request.node,))], version, now)
        for message in self._recent:
            if message.header.version == request.version:
                return [Send(request.node, message)]
        return [Send(request.node, message) for message in self._recent[-1:]]

    def _message(self, out: Outgoing, version: int, now: float) -> ModelMessage:
        settings = self._settings
        self._sequence += 1
        self.spoke_s = now
        kept = self._recent[1 - self._versions :] if self._versions > 1 else ()
        oldest = min(kept[0].header.version, version) if kept else version
        # By position, in the order of the fields: names cost twice as much, at every model.
        header = Header(
            settings.run,
            settings.schema,
            settings.node,
            self.incarnation,
            self._sequence,
            version,
            oldest,
            now,
            self._period_s,
            out.kind,
            self.local_steps,
            settings.samples,
            len(settings.neighbours),
            out.epoch,
            out.words,
            self.trusts,
        )
        extra = None if out.extra is None else frozen(out.extra)
        return ModelMessage(header, frozen(out.vector), extra)

    def _measure_period(self, now: float) -> None:
        if self._published_s is not None:
            elapsed_s = now - self._published_s
            past_s = self._period_s if self._period_s > 0.0 else elapsed_s
            self._period_s = PERIOD_MEMORY * past_s + (1.0 - PERIOD_MEMORY) * elapsed_s
        self._published_s = now
