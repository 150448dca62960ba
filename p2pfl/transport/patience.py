"""How long to wait for a broker's acknowledgements: while it speaks, it has not gone."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Final

from p2pfl.transport.link import Disconnected

SILENCE_S: Final = 60.0
"""A broker that owes an acknowledgement and says nothing for so long is as good as gone."""

_MOVE_EVERY_S: Final = 0.5


class Patience:
    """Bounds the waits of one connection by silence.

    Over a slow link an acknowledgement stands behind megabytes of models: time alone says nothing.
    """

    def __init__(self, silence_s: float = SILENCE_S) -> None:
        self._silence_s = silence_s
        self._waits: set[asyncio.Timeout] = set()
        self._moved_s = 0.0

    def __repr__(self) -> str:
        return f"Patience({self._silence_s:g} s, {len(self._waits)} waits)"

    def heard(self) -> None:
        """The broker has said something."""
        if not self._waits:
            return
        now_s = asyncio.get_running_loop().time()
        if now_s - self._moved_s < min(_MOVE_EVERY_S, self._silence_s / 10):
            return
        self._moved_s = now_s
        for wait in self._waits:
            if not wait.expired():
                wait.reschedule(now_s + self._silence_s)

    @contextlib.asynccontextmanager
    async def wait(self) -> AsyncIterator[None]:
        """Wait inside. Raises Disconnected after a silence.

        The library's own bound is asyncio.wait_for, which loses cancellations in Python 3.11.
        """
        try:
            async with asyncio.timeout(self._silence_s) as bound:
                self._waits.add(bound)
                try:
                    yield
                finally:
                    self._waits.discard(bound)
                    self.heard()
        except TimeoutError:
            raise Disconnected(f"no word from the broker within {self._silence_s:.0f} s") from None
