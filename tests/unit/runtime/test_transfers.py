"""How far large models are on their way is told while they are slow, and never else."""

import asyncio
import logging
from dataclasses import dataclass
from typing import Any

import pytest

from p2pfl.cli.say import spoken_as
from p2pfl.runtime.rows import OnTheWay, from_transfers_row
from p2pfl.runtime.transfers import PROGRESS, tell_transfers
from p2pfl.transport.base import LinkState, Row, Traffic, Transfer
from p2pfl.types import NodeId

N0, N1 = NodeId("n0"), NodeId("n1")


class Link:
    """Shows one list of transfers after the other."""

    def __init__(self, *looks: list[Transfer]) -> None:
        self.looks = list(looks)
        self.seen = asyncio.Event()
        self.traffic = Traffic()
        self.rows: list[Row] = []

    def report(self, row: Row) -> None:
        self.rows.append(row)

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


@dataclass(frozen=True)
class Worker:
    """Does an update every so often."""

    period_s: float = 0.0


async def watched(link: Any, period_s: float = 0.0) -> None:  # noqa: ANN401 - a part of a transport
    """Until all looks were taken."""
    worker = Worker(period_s)
    task = asyncio.create_task(tell_transfers(N0, link, worker, codec="float32", every_s=0.02))
    await link.seen.wait()
    await asyncio.sleep(0)
    task.cancel()


async def told(caplog: pytest.LogCaptureFixture, *looks: list[Transfer]) -> list[str]:
    with caplog.at_level(logging.INFO, logger=PROGRESS.name):
        await watched(Link(*looks))
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


async def test_whoever_watches_hears_of_slow_transfers_and_once_that_there_are_none_any_more() -> (
    None
):
    way_out = on_its_way(1.0, peer=None)
    link = Link([on_its_way(10.0), way_out], [on_its_way(12.0), way_out], [], [])
    await watched(link)
    going = OnTheWay(peer="", done_bytes=1_000_000, total_bytes=100_000_000, bytes_per_s=0.0)
    coming = OnTheWay(peer="n1", done_bytes=12_000_000, total_bytes=100_000_000, bytes_per_s=1e8)
    assert list(map(from_transfers_row, link.rows)) == [(coming, going), ()]


@pytest.mark.parametrize(
    ("period_s", "large_in", "looks", "way"),
    [
        # Whole ones count from the second on, by their mean.
        (0.5, 2, (), "0.75 s"),
        (0.5, 1, (), None),
        (0.8, 2, (), None),
        # One under way counts as what it will need at its rate, so that nobody waits for the end.
        (0.5, 0, ([on_its_way(10.0)], [on_its_way(12.0)]), "1 s"),
        (0.5, 0, ([on_its_way(10.0)], [on_its_way(10.0)]), None),
        (1.5, 0, ([on_its_way(10.0)], [on_its_way(12.0)]), None),
        # Before two updates there is no period to compare with.
        (0.0, 2, (), None),
    ],
)
async def test_a_node_is_warned_once_when_models_take_longer_than_its_updates(
    period_s: float,
    large_in: int,
    looks: tuple[list[Transfer], ...],
    way: str | None,
    caplog: pytest.LogCaptureFixture,
) -> None:
    link = Link(*looks, [], [], [])
    link.traffic.large_in, link.traffic.large_in_s = large_in, 0.75 * large_in
    link.traffic.large_out, link.traffic.large_out_s = large_in, 0.1 * large_in
    with caplog.at_level(logging.WARNING, logger="p2pfl.runtime"):
        await watched(link, period_s)
    warnings = [record.getMessage() for record in caplog.records]
    assert len(warnings) == (way is not None)
    if way is not None:
        assert warnings[0].startswith(f"n0: a model is {way} on its way, and the node mixes every")


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
