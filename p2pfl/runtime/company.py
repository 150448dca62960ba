"""Whom a node waits for before it starts, where no process gives the go."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

START_WAIT_S: Final = 30.0


def say_nothing() -> None:
    """Nobody is to be told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Company:
    """It starts when enough neighbours are there, when one is at work already, or in the end."""

    least: int | None = None
    """So many neighbours are enough; None: all."""
    wait_s: float | None = START_WAIT_S
    """After so long it starts, whoever is there; None: it waits."""
    joined: Callable[[], object] = say_nothing
    """Called once the node has its place in the run."""
    began: Callable[[], object] = say_nothing
    """Called when it starts."""
