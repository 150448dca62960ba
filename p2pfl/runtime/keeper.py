"""Keeps a node's checkpoints: what it finds at its start, and when it writes the next."""

import asyncio
import logging
from pathlib import Path
from typing import Final

from p2pfl.errors import DataError, PlaceTakenError
from p2pfl.messages import Saved
from p2pfl.protocol.node import Node
from p2pfl.results.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from p2pfl.results.held import Held
from p2pfl.runtime.worker import Worker

EVERY_S: Final = 30.0
"""Between two checkpoints, where the experiment says nothing."""

_log: Final = logging.getLogger("p2pfl.runtime")


class Keeper:
    """One node's memory in `folder`. A disk that fails ends the checkpoints, not the node.

    Raises:
        DataError: the checkpoint that is there is damaged, or of something else.
        PlaceTakenError: another process keeps this node's checkpoints there.
    """

    def __init__(
        self, machine: Node, worker: Worker, folder: Path, *, every_s: float | None
    ) -> None:
        self._machine = machine
        self._worker = worker
        self._folder = folder
        self._every_s = EVERY_S if every_s is None else every_s
        self._due_s = 0.0
        self._writing: asyncio.Task[None] | None = None
        settings = machine.settings
        try:
            self._held = Held(folder / f".{settings.node}.lock")
        except BlockingIOError:
            raise PlaceTakenError(
                f"node {settings.node!r}: another process keeps its checkpoints in {folder}: stop"
                " it first, or give another folder"
            ) from None
        try:
            found = read_checkpoint(
                folder,
                settings.node,
                algorithm=machine.algorithm,
                digest=settings.digest,
                schema=settings.schema,
            )
        except DataError:
            self._held.release()
            raise
        self.found = found
        """What the node goes on from; None: it lives here for the first time."""
        if found is not None:
            worker.remember(found.momentum, found.updates)

    def __repr__(self) -> str:
        return f"<Keeper of {self._machine!r} in {self._folder}>"

    @property
    def saved(self) -> Saved | None:
        """The algorithm's part of what was found."""
        return None if self.found is None else self.found.saved

    def close(self) -> None:
        """Let another process keep this node's checkpoints."""
        self._held.release()

    def keep_if_due(self, now: float) -> None:
        """Begin to write a checkpoint if it is time; called when no update is half counted."""
        if self._due_s == 0.0:
            self._due_s = now + self._every_s
        if now >= self._due_s and (self._writing is None or self._writing.done()):
            self._due_s = now + self._every_s
            name = f"p2pfl {self._machine.settings.node} checkpoint"
            self._writing = asyncio.create_task(self._write(self._now()), name=name)

    async def keep(self) -> None:
        """Write what the node is now, after what is being written."""
        if self._writing is not None:
            await self._writing
        await self._write(self._now())

    def _now(self) -> Checkpoint:
        settings = self._machine.settings
        momentum, updates = self._worker.memory
        return Checkpoint(
            node=settings.node,
            digest=settings.digest,
            schema=settings.schema,
            saved=self._machine.saved(),
            momentum=momentum,
            updates=updates,
        )

    async def _write(self, checkpoint: Checkpoint) -> None:
        try:
            await asyncio.to_thread(write_checkpoint, self._folder, checkpoint)
        except OSError as error:
            _log.warning(
                "%s: no checkpoint could be written to %s: %s; the last one stays",
                checkpoint.node,
                self._folder,
                error.strerror,
            )
