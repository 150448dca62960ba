"""Waits for acknowledgements end by silence, not by time."""

import asyncio

import pytest

from p2pfl.transport.link import Disconnected
from p2pfl.transport.patience import Patience


class Clock(asyncio.SelectorEventLoop):
    """A loop whose time is moved by the test, on top of its own."""

    ahead_s = 0.0

    def time(self) -> float:
        return super().time() + self.ahead_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


def lived(clock: Clock, patience: Patience, moves_s: list[float], *, heard: bool) -> bool:
    """Whether a wait outlives these moves of time."""

    async def wait() -> None:
        async with patience.wait():
            await asyncio.Event().wait()

    async def live() -> bool:
        waiting = asyncio.create_task(wait())
        await asyncio.sleep(0)
        for move_s in moves_s:
            clock.ahead_s += move_s
            if heard:
                patience.heard()
            for _ in range(5):
                await asyncio.sleep(0)
        if waiting.done():
            with pytest.raises(Disconnected, match="no word from the broker within 60 s"):
                waiting.result()
            return False
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        return True

    with asyncio.Runner(loop_factory=lambda: clock) as runner:
        return runner.run(live())


def test_a_broker_that_speaks_is_waited_for_as_long_as_it_takes(clock: Clock) -> None:
    assert lived(clock, Patience(60.0), [40.0] * 10, heard=True)


def test_a_silent_broker_is_given_up(clock: Clock) -> None:
    assert not lived(clock, Patience(60.0), [40.0, 40.0], heard=False)


def test_a_silence_that_was_long_enough_is_not_undone_by_a_late_word(clock: Clock) -> None:
    patience = Patience(60.0)
    assert not lived(clock, patience, [61.0, 0.0, 0.0], heard=False)
    assert "0 waits" in repr(patience)


async def test_an_acknowledgement_ends_the_wait() -> None:
    patience = Patience(60.0)
    async with patience.wait():
        assert "1 waits" in repr(patience)
    assert "0 waits" in repr(patience)
