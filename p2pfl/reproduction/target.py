"""What a reproduction is: rows of expected and measured numbers, and curves to look at."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Final, Literal, NamedTuple

RELATIVE: Final = 0.15
"""How far a law may be off, as a share of what it predicts."""

ABSOLUTE: Final = 1e-3
"""How far a prediction near zero may be off."""

Tell = Callable[[str], None]
"""Told in a few words what is being computed now."""


def tell_nobody(_what: str) -> None:
    """For callers who do not want to be told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One number: what was expected of it, and what came."""

    what: str
    expected: float
    measured: float
    must: Literal["near", "at most", "at least"] = "near"
    relative: float = RELATIVE
    absolute: float = ABSOLUTE
    source: str = ""
    """Where the expectation comes from: a law of `p2pfl.theory`, a paper."""

    @property
    def tolerance(self) -> float:
        """How far `measured` may lie from `expected`; 0 for bounds."""
        return max(self.relative * abs(self.expected), self.absolute) if self.must == "near" else 0

    @property
    def ok(self) -> bool:
        """Whether the measured number is what was expected."""
        if not isfinite(self.measured):
            return False
        if self.must == "at most":
            return self.measured <= self.expected
        if self.must == "at least":
            return self.measured >= self.expected
        return abs(self.measured - self.expected) <= self.tolerance


class Line(NamedTuple):
    """One curve of a chart."""

    title: str
    x: tuple[float, ...]
    y: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """Some curves on one pair of axes."""

    title: str
    lines: tuple[Line, ...]
    x_label: str
    y_label: str
    caption: str
    x_bytes: bool = False
    """Whether the x axis counts bytes."""
    percent: bool = False
    """Whether the values are shares from 0 to 1, such as accuracies."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reproduction:
    """All that one target gave."""

    rows: tuple[Row, ...]
    charts: tuple[Chart, ...] = ()
    notes: tuple[str, ...] = ()
    """What a reader must know of these numbers."""

    @property
    def ok(self) -> bool:
        """Whether every row holds."""
        return all(row.ok for row in self.rows)


class Target(NamedTuple):
    """Something that can be reproduced."""

    name: str
    title: str
    module: str
    """Its module has `reproduce(*, quick, tell) -> Reproduction`."""


TARGETS: Final[Mapping[str, Target]] = {
    each.name: each
    for each in (
        Target("R1", "consensus on static graphs and in schedules", "consensus"),
        Target("R2", "what unequal data cost synchronous algorithms", "heterogeneous"),
        Target("R3", "bias and speed of asynchronous mixing", "asynchronous"),
        Target("R4", "a quarter of the nodes dies", "crashes"),
        Target("R6", "rounds of federated averaging on MNIST", "mcmahan"),
        Target("R8", "slow nodes that alone hold half of the digits", "stragglers"),
    )
}
"""One line per target; its module is imported when it is asked for."""
