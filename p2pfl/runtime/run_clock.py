"""How long a run of several parties is under way, whoever of them came late or came back."""

import asyncio
import time


class RunClock:
    """The first machine's clock of a run: set once, and kept over its own restarts.

    Calendar time, of this one machine with itself alone; no machine's clock is compared with
    another's.
    """

    def __init__(self, began_unix_s: float | None, *, time_s: float | None) -> None:
        self.began_unix_s = began_unix_s
        """When the run began; None: it has not."""
        self._time_s = time_s
        self._begun = asyncio.Event()
        if began_unix_s is not None:
            self._begun.set()

    def __repr__(self) -> str:
        return f"RunClock({self.began_unix_s}, time_s={self._time_s})"

    @property
    def since_s(self) -> float | None:
        """When the run began on the event loop's clock; None: it has not."""
        if self.began_unix_s is None:
            return None
        # Not before now, though somebody has set the clock back.
        elapsed_s = max(0.0, time.time() - self.began_unix_s)
        return asyncio.get_running_loop().time() - elapsed_s

    def begin(self) -> None:
        """The run begins now, unless it has begun before."""
        if self.began_unix_s is None:
            self.began_unix_s = time.time()
            self._begun.set()

    async def begun(self) -> None:
        """Wait until it has begun."""
        await self._begun.wait()

    async def over(self) -> None:
        """Wait until its time is over: for ever, where it has no limit."""
        await self._begun.wait()
        since_s, loop = self.since_s, asyncio.get_running_loop()
        if since_s is None or self._time_s is None:
            await loop.create_future()
            return
        await asyncio.sleep(since_s + self._time_s - loop.time())


def is_over(began_unix_s: float | None, time_s: float | None) -> bool:
    """Whether a run that began then is past its limit."""
    return began_unix_s is not None and time_s is not None and time.time() - began_unix_s >= time_s
