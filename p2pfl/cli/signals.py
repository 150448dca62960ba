"""SIGTERM ends a command in the same order as Ctrl-C does."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Stopping:
    """Whether SIGTERM has come."""

    def __init__(self) -> None:
        self.terminated = False

    def take(self, number: int, frame: FrameType | None) -> None:
        """Do what Ctrl-C would do: cancel the event loop's task, or raise KeyboardInterrupt."""
        self.terminated = True
        usual = signal.getsignal(signal.SIGINT)
        if callable(usual):
            usual(signal.SIGINT, frame)
        else:
            # Started in the background of a script, which lets its commands ignore Ctrl-C.
            raise KeyboardInterrupt


@contextmanager
def terminable() -> Iterator[Stopping]:
    """Within, SIGTERM is as Ctrl-C; signals reach the main thread alone."""
    stopping = Stopping()
    if threading.current_thread() is not threading.main_thread():
        yield stopping
        return
    before = signal.signal(signal.SIGTERM, stopping.take)
    try:
        yield stopping
    finally:
        signal.signal(signal.SIGTERM, before)
