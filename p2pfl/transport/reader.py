"""How one neighbour's large models are read: follow its parts, or pull the newest when too slow.

Pure: it is told of heads, parts and time, and says which part topics it wants to be subscribed to.

    following  subscribed to both slots; parts come in before the head that names them
    pulling    subscribed to a few missing parts at a time of the slot that the newest head names,
               until one model is whole: that one or, where its writer was faster, the slot's next
    waiting    subscribed to nothing: the last model was not read yet, or the broker's queue for us
               has not run empty yet
"""

import math
from collections.abc import Collection
from enum import Enum
from heapq import nsmallest
from typing import Final

from p2pfl.codec.parts import Assembly, Part, Stamp
from p2pfl.transport.words import Head

BEHIND_MAX: Final = 3
"""So many models in a row pushed out unread, or unfinished, and the reader stops following."""

CAUGHT_UP: Final = 3
"""So many models in a row pulled before the next was there, and it follows again."""

BEHIND_S: Final = 1.0
"""A head that spent so much longer on its way than the fastest one has queued at the broker."""

STALL_S: Final = 2.0
"""Without a new part for this long, what is missing is asked for again; then for twice as long."""

PATIENCE_MAX_S: Final = 60.0

WINDOW: Final = 8
"""So many parts are pulled at a time. What a broker has queued for us delays all that comes behind
it, the acknowledgements of our own models too: with a whole large model they wait for minutes."""

FOLLOWED_PARTS_MAX: Final = 16
"""Larger models are always pulled: who begins to follow is sent all that is retained at once."""

PartKey = tuple[int, int]
"""Slot and index."""


class Mode(Enum):
    """See the module."""

    FOLLOWING = "following"
    PULLING = "pulling"
    WAITING = "waiting"


class Reader:
    """One neighbour's stream of large models."""

    def __init__(self) -> None:
        self.mode = Mode.FOLLOWING
        self.assembly = Assembly()
        self.pulls = 0
        """How often the newest retained model was asked for, instead of following.

        With every pull, what is subscribed must be subscribed anew: only that brings retained ones.
        """
        self.took_s = 0.0
        """From the first part to the last of the model that was whole last."""
        self._begun_s = 0.0
        self._head: Head | None = None
        self._head_retained = False
        self._slots: dict[int, int] = {}
        self._target: Head | None = None
        self._done: Stamp | None = None
        self._unread = 0
        self._unfinished = 0
        self._prompt = 0
        self._progress_s = 0.0
        self._patience_s = STALL_S
        self._shortest_s = math.inf
        self._backlog_s = 0.0

    def __repr__(self) -> str:
        return f"Reader({self.mode.value}, {self.assembly})"

    @property
    def wanted(self) -> frozenset[PartKey]:
        """The part topics to be subscribed to."""
        if self.mode is Mode.FOLLOWING:
            return frozenset((slot, i) for slot, count in self._slots.items() for i in range(count))
        if self.mode is Mode.PULLING and self._target is not None:
            return frozenset((self._target.slot, i) for i in nsmallest(WINDOW, self._lacking()))
        return frozenset()

    @property
    def wanted_state(self) -> tuple[object, ...]:
        """Changes with `wanted`, and is cheap to compare."""
        pulled = len(self._lacking()) if self.mode is Mode.PULLING else 0
        return self.mode, self.pulls, self._target, len(self._slots), pulled

    def on_head(self, head: Head, *, retained: bool, now_s: float) -> None:
        """The neighbour names a new model."""
        if self._head is not None and head.stamp <= self._head.stamp:
            return
        if self._head is not None and head.stamp[:2] != self._head.stamp[:2]:
            self._begin_anew()
        if self.mode is Mode.WAITING or not self._is_news():
            self._progress_s = now_s
        self._head, self._head_retained = head, retained
        self._backlog_s = 0.0 if retained else self._queued_s(now_s - head.sent_s)
        if self._backlog_s > BEHIND_S and self.mode is Mode.FOLLOWING:
            self._wait()
        if head.stamp == self._done:
            return
        if self.mode is Mode.FOLLOWING and (self._slots or head.count <= FOLLOWED_PARTS_MAX):
            self._slots[head.slot] = head.count
        elif self.mode is Mode.FOLLOWING or (self.mode is Mode.WAITING and self._is_ready()):
            self._pull(now_s)

    def on_part(
        self, part: Part, *, retained: bool, now_s: float
    ) -> tuple[memoryview, bool] | None:
        """A part has come in; the whole frame, and whether it is a retained one, when complete.

        Raises:
            ProtocolError: the part contradicts others.
        """
        if self._done is not None and part.stamp <= self._done:
            return None
        if self.mode is Mode.WAITING:
            self._progress_s = now_s
            return None
        if self.mode is Mode.PULLING and not self._is_pulled(part):
            return None
        self._progress_s = now_s
        discarded, begun = self.assembly.discarded, self.assembly.stamp
        frame = self.assembly.add(part)
        if part.stamp != begun:
            self._begun_s = now_s
        self._unfinished += self.assembly.discarded - discarded
        if frame is None:
            if self._unfinished >= BEHIND_MAX and self.mode is Mode.FOLLOWING:
                self._wait()
            return None
        self._done, self.took_s = part.stamp, now_s - self._begun_s
        named = self._head is not None and self._head.stamp == part.stamp
        self._after_model()
        return frame, self._head_retained if named else retained

    def on_unread(self) -> None:
        """The model that was handed on pushed out one that nobody had read."""
        self._unread += 1
        if self._unread >= BEHIND_MAX and self.mode is Mode.FOLLOWING:
            self._wait(unread=self._unread)

    def on_read(self, *, now_s: float) -> None:
        """Somebody has read this neighbour's model and may take another."""
        self._unread = 0
        if self.mode is Mode.WAITING and self._is_news() and self._is_ready():
            self._pull(now_s)

    def on_tick(self, *, now_s: float) -> None:
        """Ask again for what has stopped coming."""
        stalled = now_s - self._progress_s > self._patience_s
        if stalled and self._is_news() and not self._unread:
            if self.mode is Mode.PULLING:
                self._patience_s = min(2.0 * self._patience_s, PATIENCE_MAX_S)
            self._pull(now_s)

    def on_reconnected(self) -> None:
        """All subscriptions are gone; the head will come again. What has come of a model stays."""
        self._slots = {}
        self._head = None
        self._target = None
        self.mode = Mode.FOLLOWING

    def _queued_s(self, delay_s: float) -> float:
        """Of the time on the way, what the fastest head did not need."""
        self._shortest_s = min(self._shortest_s, delay_s)
        return delay_s - self._shortest_s

    def _is_ready(self) -> bool:
        return not self._unread and self._backlog_s <= BEHIND_S

    def _is_news(self) -> bool:
        head = self._head
        return head is not None and (self._done is None or head.stamp > self._done)

    def _is_pulled(self, part: Part) -> bool:
        """Whether the part may be of the model that is pulled, or of a newer one in its slot."""
        target = self._target
        assert target is not None
        return part.slot == target.slot and part.stamp >= target.stamp

    def _after_model(self) -> None:
        """A model is whole: go on following, or pull the next when this one is read."""
        self._unfinished = 0
        if self.mode is not Mode.PULLING:
            return
        self._target = None
        head = self._head
        assert head is not None
        self._prompt = self._prompt + 1 if head.stamp == self._done else 0
        if self._prompt >= CAUGHT_UP and head.count <= FOLLOWED_PARTS_MAX:
            self._prompt = 0
            self.mode = Mode.FOLLOWING
            self._slots = {head.slot: head.count}
        else:
            self._wait(unread=1)

    def _wait(self, *, unread: int = 0) -> None:
        self.mode = Mode.WAITING
        self._slots = {}
        self._unread = unread
        self.assembly.forget()

    def _pull(self, now_s: float) -> None:
        """Ask for the newest model; for what is missing of it, if a part of it has come already."""
        assert self._head is not None
        begun = self.mode is Mode.PULLING and self._target == self._head
        if not begun and self.assembly.stamp != self._head.stamp:
            self.assembly.forget()
            self._unfinished = 0
        self.mode = Mode.PULLING
        self._progress_s = now_s
        self._slots = {}
        self._target = self._head
        self.pulls += 1

    def _lacking(self) -> Collection[int]:
        """The parts that have not come of the model that is pulled, or of the slot's next."""
        target, stamp = self._target, self.assembly.stamp
        assert target is not None
        begun = stamp is not None and stamp >= target.stamp
        return self.assembly.missing if begun else range(target.count)

    def _begin_anew(self) -> None:
        """Its sender is another life of the neighbour: numbers and slots begin anew."""
        self._slots = {}
        self._target = None
        self._done = None
        self._shortest_s = math.inf
        self.assembly.forget()
        self.mode = Mode.FOLLOWING
