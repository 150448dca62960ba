"""Threads that compute give way, and only they."""

import os
import sys
import threading

import pytest

from p2pfl.runtime.priority import computing_thread


def niceness() -> int:
    return os.getpriority(os.PRIO_PROCESS, 0)


def nicer(by: int) -> int:
    return min(19, niceness() + by) if sys.platform == "linux" else niceness()


def niceness_of_a_thread_of_its_own() -> int:
    found = []
    thread = threading.Thread(target=lambda: found.append(niceness()))
    thread.start()
    thread.join()
    return found[0]


@pytest.mark.parametrize("by", [0, 5])
def test_a_computing_thread_and_those_it_starts_are_nicer_than_the_process(by: int) -> None:
    before = niceness()
    with computing_thread("one", niceness=by) as pool:
        assert pool.submit(niceness).result() == nicer(by)
        assert pool.submit(niceness_of_a_thread_of_its_own).result() == nicer(by)
    assert niceness() == before


def test_niceness_ends_at_the_systems_greatest() -> None:
    with computing_thread("one", niceness=19) as pool:
        assert pool.submit(niceness).result() == nicer(19)
