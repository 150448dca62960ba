"""Writes a node's life down while it is lived, so that it can be repeated in virtual time.

Each event is in the system's hands before the node handles it: whatever kills the process, nothing
that had an effect outside is missing from the record.
"""

import logging
import time
from io import FileIO
from pathlib import Path
from typing import Final

from p2pfl.config.schema import RuntimeConfig
from p2pfl.config.write import config_to_mapping
from p2pfl.errors import ConfigError
from p2pfl.experiment import Experiment
from p2pfl.messages import Effect, Event, Incarnation
from p2pfl.protocol.node import Node
from p2pfl.results.checkpoint import SUFFIX as CHECKPOINT
from p2pfl.results.checkpoint import Checkpoint, encode_checkpoint
from p2pfl.results.history import (
    SUFFIX,
    Head,
    decision_line,
    end_line,
    event_line,
    head_line,
    made_with,
)
from p2pfl.types import Vector

_log: Final = logging.getLogger("p2pfl.runtime")


def check_recordable(runtime: RuntimeConfig) -> None:
    """Raises ConfigError where a node would train elsewhere than on the CPU: no bits to repeat."""
    device = runtime.device
    if device == "auto":
        from p2pfl.learning.devices import best_device

        device = best_device(device)
    if device.partition(":")[0] != "cpu":
        found = f"runtime.device is {runtime.device!r}"
        if device != runtime.device:
            found += f", here {device!r}"
        raise ConfigError(
            f"{found}, and only what the CPU computes can be repeated bit for bit: set"
            ' runtime.device = "cpu", or leave --record out'
        )


class Recorder:
    """A machine whose every step is written to a file of its life in `folder`.

    A disk that fails ends the record, not the node.
    """

    def __init__(self, machine: Node, folder: Path, *, experiment: Experiment) -> None:
        self.machine = machine
        self._folder = folder
        self._experiment = experiment
        self._file: FileIO | None = None

    def __repr__(self) -> str:
        return f"<Recorder of {self.machine!r} in {self._folder}>"

    def open(
        self, incarnation: Incarnation, now: float, checkpoint: Checkpoint | None = None
    ) -> None:
        """Begin the record of this life, which goes on from `checkpoint`.

        Raises:
            ConfigError: it cannot be written.
        """
        settings, life = self.machine.settings, incarnation
        head = Head(
            node=settings.node,
            life=(life.counter, life.nonce),
            run=settings.run,
            at_s=now,
            unix_s=time.time(),
            experiment=config_to_mapping(self._experiment.config),
            folder=str(self._experiment.folder.resolve()),
            made_with=made_with(),
        )
        stem = f"{settings.node}-{life.counter}"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            if (self._folder / f"{stem}{SUFFIX}").exists():
                # Two lives may have one counter, if the broker lost what it retained.
                stem = f"{stem}-{life.nonce:x}"
            if checkpoint is not None:
                (self._folder / f"{stem}{CHECKPOINT}").write_bytes(encode_checkpoint(checkpoint))
            self._file = FileIO(self._folder / f"{stem}{SUFFIX}", "xb")
        except OSError as error:
            raise ConfigError(
                f"the record of {settings.node} cannot be written to {self._folder}:"
                f" {error.strerror}"
            ) from error
        self._write(head_line(head))

    def handle(self, event: Event, now: float) -> list[Effect]:
        """Write the event down, let the machine handle it, and write down what it decided."""
        self._write(event_line(event, now))
        effects = self.machine.handle(event, now)
        decided = decision_line(effects)
        if decided:
            self._write(decided)
        return effects

    def last(self, now: float) -> Vector:
        """The served model at the end of this life, with a line that tells it and x apart."""
        served = self.machine.served(now)
        self._write(end_line(served, self.machine.public(), now))
        return served

    def close(self) -> None:
        """Write nothing more."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _write(self, line: str) -> None:
        file = self._file
        if file is None:
            return
        data = line.encode() + b"\n"
        try:
            whole = file.write(data) == len(data)
        except (OSError, ValueError) as error:
            _log.warning("%s: the record ends here: %s", self.machine.settings.node, error)
            self.close()
            return
        if not whole:
            _log.warning("%s: the record ends here: no space", self.machine.settings.node)
            self.close()
