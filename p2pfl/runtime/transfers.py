"""Large models that are slow on their way, told while they are: nobody must wonder what it does."""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Final

from p2pfl.transport.base import Transfer, Transport
from p2pfl.types import NodeId

EVERY_S: Final = 5.0
"""A transfer that is under way at two looks so far apart is told."""

PROGRESS: Final = logging.getLogger("p2pfl.progress")
"""Commands show it."""

_MB: Final = 1e6


@asynccontextmanager
async def transfers_told(node: NodeId, transport: Transport) -> AsyncIterator[None]:
    """Tell of slow transfers in here."""
    task = asyncio.create_task(tell_transfers(node, transport), name=f"p2pfl {node} progress")
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def tell_transfers(node: NodeId, transport: Transport, *, every_s: float = EVERY_S) -> None:
    """Tell of each slow transfer at each look; forever."""
    before: Mapping[tuple[NodeId | None, int], int] = {}
    while True:
        await asyncio.sleep(every_s)
        found = transport.link_state.transfers
        for one in found:
            was = before.get((one.peer, one.number))
            if was is not None:
                PROGRESS.info("%s: %s", node, _line(one, one.done_bytes - was, every_s))
        before = {(one.peer, one.number): one.done_bytes for one in found}


def _line(one: Transfer, new_bytes: int, every_s: float) -> str:
    what = "sending its model" if one.peer is None else f"receiving the model of {one.peer}"
    left, rate = one.total_bytes - one.done_bytes, new_bytes / every_s
    then = f"no part of it in the last {every_s:g} s"
    if new_bytes:
        then = f"{rate / _MB:.2f} MB/s, some {left / rate:.0f} s to go"
    return f"{what}, {one.done_bytes / _MB:.1f} of {one.total_bytes / _MB:.1f} MB, {then}"
