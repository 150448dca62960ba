"""The state machine off the event loop where its vectors are large: one question at a time."""

import asyncio
from collections.abc import Callable
from typing import Final, TypeVar

from p2pfl.messages import Effect, Event
from p2pfl.protocol.node import Node
from p2pfl.runtime.priority import computing_thread
from p2pfl.runtime.recorder import Recorder
from p2pfl.types import Vector

THREAD_FLOATS: Final = 250_000
"""Larger models are mixed in a thread: a mix of this one takes about a millisecond."""

Answer = TypeVar("Answer")


class Core:
    """Asks a machine in order of asking; the event loop goes on meanwhile.

    The caller holds back the next event until the effects of the last are performed.
    """

    def __init__(
        self, machine: Node, recorder: Recorder | None = None, *, niceness: int = 0
    ) -> None:
        self.machine = machine
        self._recorder = recorder
        large = machine.public().size > THREAD_FLOATS
        self._thread = computing_thread("p2pfl core", niceness=niceness) if large else None

    async def handle(self, event: Event, now: float) -> list[Effect]:
        """The effects of one event."""
        one = self.machine if self._recorder is None else self._recorder
        return await self._ask(lambda: one.handle(event, now))

    async def served(self, now: float) -> Vector:
        """The model to evaluate, save and hand out."""
        return await self._ask(lambda: self.machine.served(now))

    async def last(self, now: float) -> Vector:
        """The served model that this life ends with."""
        recorder = self._recorder
        if recorder is None:
            return await self.served(now)
        return await self._ask(lambda: recorder.last(now))

    def close(self) -> None:
        """Begin nothing more."""
        if self._thread is not None:
            self._thread.shutdown(wait=False, cancel_futures=True)
        if self._recorder is not None:
            self._recorder.close()

    async def _ask(self, question: Callable[[], Answer]) -> Answer:
        if self._thread is None:
            return question()
        return await asyncio.get_running_loop().run_in_executor(self._thread, question)
