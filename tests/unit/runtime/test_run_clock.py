"""The clock of a run of several parties."""

import asyncio
import time

import pytest

from p2pfl.runtime.run_clock import RunClock, is_over


async def ended(clock: RunClock, within_s: float) -> bool:
    try:
        async with asyncio.timeout(within_s):
            await clock.over()
    except TimeoutError:
        return False
    return True


async def test_a_run_that_has_not_begun_is_never_over() -> None:
    clock = RunClock(None, time_s=0.0)
    assert clock.since_s is None
    assert not await ended(clock, 0.05)
    clock.begin()
    await clock.begun()
    assert await ended(clock, 5.0)


async def test_a_run_without_a_limit_is_never_over() -> None:
    clock = RunClock(time.time() - 1e6, time_s=None)
    assert not await ended(clock, 0.05)


async def test_a_run_begins_once_whatever_comes_back() -> None:
    began = time.time() - 100.0
    clock = RunClock(began, time_s=100.2)
    clock.begin()
    assert clock.began_unix_s == began
    assert clock.since_s is not None
    assert asyncio.get_running_loop().time() - clock.since_s == pytest.approx(100.0, abs=1.0)
    assert await ended(clock, 5.0)


async def test_a_clock_that_was_set_back_makes_no_run_longer_than_its_limit() -> None:
    clock = RunClock(time.time() + 3600.0, time_s=0.1)
    assert clock.since_s is not None
    assert clock.since_s <= asyncio.get_running_loop().time()
    assert await ended(clock, 5.0)


def test_a_run_is_over_when_its_time_is() -> None:
    now = time.time()
    assert is_over(now - 10.0, 9.0)
    assert not is_over(now - 10.0, 60.0)
    assert not is_over(now - 10.0, None)
    assert not is_over(None, 9.0)
