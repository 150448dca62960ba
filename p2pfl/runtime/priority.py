"""Threads that compute give way to the event loop: it has little to do, and must do it soon."""

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

_NICE_MAX = 19


def computing_thread(name: str, *, niceness: int) -> ThreadPoolExecutor:
    """One thread whose niceness is above its process's by this much, where threads have their own.

    That is Linux; elsewhere, and where the system forbids it, it is a thread like others. Threads
    that it starts, as torch does, are as nice.
    """
    return ThreadPoolExecutor(1, name, initializer=_give_way, initargs=(niceness,))


def _give_way(niceness: int) -> None:
    if sys.platform == "linux" and niceness:
        own = os.getpriority(os.PRIO_PROCESS, 0)
        with suppress(PermissionError):
            os.setpriority(os.PRIO_PROCESS, 0, min(own + niceness, _NICE_MAX))
