"""How far large models are on their way is told while they are slow, and never else."""

import asyncio
import logging
from typing import Any

import pytest

from p2pfl.cli.say import spoken_as
from p2pfl.runtime.transfers import PROGRESS, tell_transfers
from p2pfl.transport.base import LinkState, Transfer
from p2pfl.types import NodeId

N0, N1 = NodeId("n0"), NodeId("n1")


class Link:
    """Shows one list of transfers after the other."""

    def __init__(self, *looks: list[Transfer]) -> None:
        self.looks = list(looks)
        self.seen = asyncio.Event()

    @property
    def link_state(self) -> LinkState:
        look = self.looks.pop(0) if self.looks else []
        if not self.looks:
            self.seen.set()
        return LinkState(connected=True, transfers=tuple(look))


def on_its_way(done_mb: float, *, peer: NodeId | None = N1, number: int = 7) -> Transfer:
    return Transfer(
        peer=peer, number=number, done_bytes=int(done_mb * 1e6), total_bytes=100_000_000
    )


async def told(caplog: pytest.LogCaptureFixture, *looks: list[Transfer]) -> list[str]:
    link: Any = Link(*looks)
    with caplog.at_level(logging.INFO, logger=PROGRESS.name):
        task = asyncio.create_task(tell_transfers(N0, link, every_s=0.02))
        await link.seen.wait()
        await asyncio.sleep(0)
        task.cancel()
    return [record.getMessage() for record in caplog.records]


async def test_a_slow_transfer_is_told_with_its_rate_and_the_time_to_go(
    caplog: pytest.LogCaptureFixture,
) -> None:
    lines = await told(caplog, [on_its_way(10.0)], [on_its_way(12.0)], [])
    assert lines == ["n0: receiving the model of n1, 12.0 of 100.0 MB, 100.00 MB/s, some 1 s to go"]


async def test_one_that_goes_out_and_does_not_move_is_told_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    lines = await told(caplog, [on_its_way(1.0, peer=None)], [on_its_way(1.0, peer=None)], [])
    assert lines == ["n0: sending its model, 1.0 of 100.0 MB, no part of it in the last 0.02 s"]


async def test_models_that_come_quickly_are_not_told(caplog: pytest.LogCaptureFixture) -> None:
    assert await told(caplog, [on_its_way(9.0)], [on_its_way(1.0, number=8)], []) == []


def test_a_command_shows_progress_as_plain_lines_and_takes_its_hands_off(
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = PROGRESS.level, list(PROGRESS.handlers)
    with spoken_as("text"):
        PROGRESS.info("n0: %s", "sending")
    PROGRESS.info("n0: %s", "nobody hears")
    assert capsys.readouterr().out == "n0: sending\n"
    assert (PROGRESS.level, list(PROGRESS.handlers)) == before


def test_commands_side_by_side_show_a_line_once_and_leave_the_logger_as_it_was(
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = PROGRESS.level, PROGRESS.propagate, list(PROGRESS.handlers)
    first, second = spoken_as("text"), spoken_as("text")
    first.__enter__()
    second.__enter__()
    PROGRESS.info("n0: %s", "both")
    first.__exit__(None, None, None)
    PROGRESS.info("n0: %s", "one")
    second.__exit__(None, None, None)
    PROGRESS.info("n0: %s", "nobody hears")
    assert capsys.readouterr().out == "n0: both\nn0: one\n"
    assert (PROGRESS.level, PROGRESS.propagate, list(PROGRESS.handlers)) == before


def test_among_json_lines_progress_is_one(capsys: pytest.CaptureFixture[str]) -> None:
    with spoken_as("json"):
        PROGRESS.info("n0: %s", "sending")
    assert '"message": "n0: sending"' in capsys.readouterr().out
