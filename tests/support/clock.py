"""A virtual clock alone, for tests of what lives on one."""

from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count


class VirtualClock:
    """Lets actions happen at their times, in order; equal times in the order of asking."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._order = count()

    def at(self, at_s: float, action: Callable[[], None], *, delivery: bool = False) -> None:
        """Let `action` happen at `at_s`."""
        assert at_s >= self.now_s
        heappush(self._heap, (at_s, next(self._order), action))

    def run(self, until_s: float = float("inf")) -> None:
        """Let everything up to `until_s` happen."""
        while self._heap and self._heap[0][0] <= until_s:
            self.now_s, _, action = heappop(self._heap)
            action()
