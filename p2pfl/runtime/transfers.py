"""Large models that are slow on their way, told while they are: nobody must wonder what it does.

In the node's log, to whoever watches the run, and once with advice where it holds training back.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final, Protocol

from p2pfl.results.on_the_way import holds_back, way_warning
from p2pfl.runtime.rows import OnTheWay, to_transfers_row
from p2pfl.transport.base import Transfer, Transport
from p2pfl.types import NodeId

EVERY_S: Final = 5.0
"""A transfer that is under way at two looks so far apart is told."""

PROGRESS: Final = logging.getLogger("p2pfl.progress")
"""Commands show it."""

_FEW: Final = 2
"""So many models must have been whole before their mean counts: the first have a start beside."""

_MB: Final = 1e6

_log: Final = logging.getLogger("p2pfl.runtime")


class Paced(Protocol):
    """Who does the node's updates."""

    @property
    def period_s(self) -> float:
        """Mean seconds from one update to the next; 0: not known yet."""
        ...


@asynccontextmanager
async def transfers_told(
    node: NodeId, transport: Transport, worker: Paced, *, codec: str
) -> AsyncIterator[None]:
    """Tell of slow transfers in here."""
    telling = tell_transfers(node, transport, worker, codec=codec)
    task = asyncio.create_task(telling, name=f"p2pfl {node} progress")
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def tell_transfers(
    node: NodeId, transport: Transport, worker: Paced, *, codec: str, every_s: float = EVERY_S
) -> None:
    """Tell of each slow transfer at each look, and once that they are too slow; forever."""
    before: dict[tuple[NodeId | None, int], int] = {}
    reported = advised = False
    while True:
        await asyncio.sleep(every_s)
        found = transport.link_state.transfers
        slow = [
            _seen_twice(one, one.done_bytes - before[one.peer, one.number], every_s)
            for one in found
            if (one.peer, one.number) in before
        ]
        before = {(one.peer, one.number): one.done_bytes for one in found}
        for one in slow:
            PROGRESS.info("%s: %s", node, _line(one, every_s))
        if slow or reported:
            transport.report(to_transfers_row(slow))
            reported = bool(slow)
        way_s = way_so_far_s(transport, slow)
        if not advised and holds_back(way_s, worker.period_s):
            advised = True
            _log.warning("%s: %s", node, way_warning(way_s, worker.period_s, codec=codec))


def way_so_far_s(transport: Transport, slow: list[OnTheWay]) -> float:
    """Seconds of a model on its way: of those that were whole, or as one under way will need."""
    traffic = transport.traffic
    finished_s = traffic.way_s if max(traffic.large_out, traffic.large_in) >= _FEW else 0.0
    rates = [(one.total_bytes, one.bytes_per_s) for one in slow if one.bytes_per_s > 0.0]
    return max([finished_s, *(total / rate for total, rate in rates)])


def _seen_twice(one: Transfer, new_bytes: int, every_s: float) -> OnTheWay:
    return OnTheWay(
        peer=one.peer or "",
        done_bytes=one.done_bytes,
        total_bytes=one.total_bytes,
        bytes_per_s=new_bytes / every_s,
    )


def _line(one: OnTheWay, every_s: float) -> str:
    what = f"receiving the model of {one.peer}" if one.peer else "sending its model"
    then = f"no part of it in the last {every_s:g} s"
    if one.bytes_per_s:
        then = f"{one.bytes_per_s / _MB:.2f} MB/s, some {one.rest_s:.0f} s to go"
    return f"{what}, {one.done_bytes / _MB:.1f} of {one.total_bytes / _MB:.1f} MB, {then}"
