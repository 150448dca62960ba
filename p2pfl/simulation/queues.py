"""A link of limited bandwidth: one thing after another, and the newest wins among what waits.

So a queue holds at most one waiting thing per key, and a slow link makes its users staler instead
of slower without end; real nodes replace their unsent models, and pull the newest of a neighbour
that they have fallen behind of.
"""

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

T = TypeVar("T")


class Clock(Protocol):
    """What tells the virtual time, and lets things happen at theirs."""

    @property
    def now_s(self) -> float:
        """The virtual time."""
        ...

    def at(self, at_s: float, action: Callable[[], None], *, delivery: bool = False) -> None:
        """Let `action` happen at `at_s`; `delivery`: it only helps messages to arrive."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class _Item(Generic[T]):
    thing: T
    size_bytes: int
    number: int


class LinkQueue(Generic[T]):
    """First in, first out, at so many bytes per second; calls `done(thing)` when it is through.

    What comes newer under the key of something that waits takes its turn, and the older one is
    handed to `superseded`. What is on its way is never called back.
    """

    def __init__(
        self,
        clock: Clock,
        bytes_per_s: float,
        *,
        done: Callable[[T], None],
        superseded: Callable[[T], None],
    ) -> None:
        self._clock = clock
        self.bytes_per_s = bytes_per_s
        self._done = done
        self._superseded = superseded
        self._waiting: dict[Hashable, _Item[T]] = {}
        self._under_way: tuple[Hashable, _Item[T]] | None = None
        self._unkeyed = 0
        self._halted = False
        self._turn = 0
        """Grows whenever what is under way changes: an end that was planned for it is void."""

    def __len__(self) -> int:
        """Things that wait or are on their way."""
        return len(self._waiting) + (self._under_way is not None)

    def put(self, thing: T, size_bytes: int, *, key: Hashable, number: int) -> None:
        """Queue a thing; one with a larger number replaces the waiting one of its key."""
        waiting = self._waiting.get(key)
        if waiting is not None and number <= waiting.number:
            # It came late: newer ones are never replaced by older ones.
            self._unkeyed += 1
            key = ("late", self._unkeyed)
            waiting = None
        self._waiting[key] = _Item(thing, size_bytes, number)
        if waiting is not None:
            self._superseded(waiting.thing)
        self._go_on()

    def halt(self) -> None:
        """Stand still; what was on its way goes first, and whole, when it goes on."""
        self._halted = True
        self._turn += 1
        if self._under_way is not None:
            key, item = self._under_way
            newer = self._waiting.pop(key, None)
            if newer is not None:
                self._superseded(item.thing)
            self._waiting = {key: newer or item, **self._waiting}
            self._under_way = None

    def resume(self) -> None:
        """Go on after `halt`."""
        self._halted = False
        self._go_on()

    def clear(self) -> None:
        """Forget everything that waits or is on its way."""
        self._waiting.clear()
        self._under_way = None
        self._turn += 1

    def _go_on(self) -> None:
        if self._halted or self._under_way is not None or not self._waiting:
            return
        key = next(iter(self._waiting))
        item = self._waiting.pop(key)
        self._under_way = key, item
        self._turn += 1
        turn = self._turn

        def end() -> None:
            if turn == self._turn:
                self._under_way = None
                self._done(item.thing)
                self._go_on()

        self._clock.at(self._clock.now_s + item.size_bytes / self.bytes_per_s, end, delivery=True)
