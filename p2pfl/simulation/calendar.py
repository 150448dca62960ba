"""The virtual time: what is to happen, in order."""

from collections import deque
from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count
from math import inf

Action = Callable[[], object]
"""Something that happens at its time."""

_Entry = tuple[float, int, bool, Action]


class Calendar:
    """Lets things happen at their times; those of one time in the order in which they were planned.

    Most deliveries are planned in the order in which they will happen, as all take the same time.
    They stand in a queue of their own beside the heap, which is half as long for it.
    """

    def __init__(self) -> None:
        self.now_s = 0.0
        self._heap: list[_Entry] = []
        self._deliveries: deque[_Entry] = deque()
        self._order = count()

    def at(self, at_s: float, action: Action, *, delivery: bool = False) -> None:
        """Let `action` happen at `at_s`. `delivery`: it only helps messages to arrive."""
        entry = (at_s, next(self._order), delivery, action)
        queue = self._deliveries
        if delivery and (not queue or at_s >= queue[-1][0]):
            queue.append(entry)
        else:
            heappush(self._heap, entry)

    def step(self) -> bool:
        """Let the next thing happen; False if nothing is left."""
        entry = self._pop()
        if entry is None:
            return False
        self.now_s = entry[0]
        entry[3]()
        return True

    @property
    def next_s(self) -> float:
        """When the next thing happens; inf if nothing does."""
        return min((line[0][0] for line in (self._heap, self._deliveries) if line), default=inf)

    def deliver_the_rest(self) -> None:
        """Let what is still in the network arrive; nothing else happens any more."""
        while (entry := self._pop()) is not None:
            if entry[2]:
                self.now_s = entry[0]
                entry[3]()

    def _pop(self) -> _Entry | None:
        heap, queue = self._heap, self._deliveries
        if queue and (not heap or queue[0] < heap[0]):
            return queue.popleft()
        return heappop(heap) if heap else None
