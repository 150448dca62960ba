"""When devices are awake and how fast: drawn at random, or measured and read from a CSV file.

A device is a sequence of spells of constant speed; asleep, its speed is zero. All is known before:
when a training will end follows from when it began, never from what it finds.
"""

import csv
import math
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import count, pairwise
from pathlib import Path
from typing import Final

from p2pfl.config.schema import AvailabilityConfig, ComputeConfig
from p2pfl.draws import draw
from p2pfl.errors import DataError
from p2pfl.types import NodeId

COLUMNS: Final = ("time_s", "node", "up", "speed")

_UP: Final = {"1": True, "true": True, "up": True, "0": False, "false": False, "down": False}


@dataclass(frozen=True, slots=True)
class Spell:
    """Constant speed until a time (inf: for ever), as a factor; 0: asleep."""

    until_s: float
    speed: float


class Devices:
    """The devices of all nodes; a node without a schedule is always awake, at speed 1."""

    def __init__(self, schedules: Mapping[NodeId, Callable[[], Iterator[Spell]]]) -> None:
        self._schedules = schedules
        self._spells = {node: schedule() for node, schedule in schedules.items()}
        self._known: dict[NodeId, deque[Spell]] = {node: deque() for node in schedules}

    @property
    def scheduled(self) -> tuple[NodeId, ...]:
        """The nodes that have a schedule, in order."""
        return tuple(self._schedules)

    def end_s(self, node: NodeId, begun_s: float, duration_s: float) -> float:
        """When a work that takes `duration_s` at speed 1 is done; inf: never.

        A node's calls come with growing `begun_s`.
        """
        if node not in self._schedules:
            return begun_s + duration_s
        known = self._known[node]
        while known and known[0].until_s <= begun_s:
            known.popleft()
        now_s, left_s = begun_s, duration_s
        for spell in self._from_now_on(node):
            if spell.until_s <= now_s:
                continue
            if spell.speed > 0.0 and now_s + left_s / spell.speed <= spell.until_s:
                return now_s + left_s / spell.speed
            left_s -= (spell.until_s - now_s) * spell.speed if spell.speed > 0.0 else 0.0
            now_s = spell.until_s
        return math.inf

    def naps(self, node: NodeId) -> Iterator[tuple[float, float]]:
        """(asleep from, awake again at) in order; the last may be inf, for ever."""
        asleep_s: float | None = None
        before_s = 0.0
        for spell in self._schedules[node]():
            if spell.speed == 0.0 and asleep_s is None:
                asleep_s = before_s
            elif spell.speed > 0.0 and asleep_s is not None:
                yield asleep_s, before_s
                asleep_s = None
            before_s = spell.until_s
        if asleep_s is not None:
            yield asleep_s, math.inf

    def _from_now_on(self, node: NodeId) -> Iterator[Spell]:
        """The spells that are known already, then further ones."""
        known = self._known[node]
        yield from tuple(known)
        for spell in self._spells[node]:
            known.append(spell)
            yield spell


def devices_of(config: ComputeConfig, nodes: Collection[NodeId], *, seed: int) -> Devices:
    """The devices that an experiment describes.

    Raises:
        DataError: the trace cannot be read; names the file and the line.
    """
    if config.availability is not None:
        drawn = config.availability
        return Devices({n: partial(_drawn, drawn, n, seed=seed) for n in nodes})
    if config.trace:
        measured = read_trace(Path(config.trace), nodes)
        return Devices({n: spells.__iter__ for n, spells in measured.items()})
    return Devices({})


def _drawn(config: AvailabilityConfig, node: NodeId, *, seed: int) -> Iterator[Spell]:
    """Exponential spells, awake and asleep in turn, without end."""
    now_s = 0.0
    for k in count():
        now_s -= config.on_s * math.log(1.0 - draw(seed, node, "awake", k))
        yield Spell(now_s, 1.0)
        now_s -= config.off_s * math.log(1.0 - draw(seed, node, "asleep", k))
        yield Spell(now_s, 0.0)


# ---------------------------------------------------------------- measured traces


def read_trace(path: Path, nodes: Collection[NodeId]) -> dict[NodeId, tuple[Spell, ...]]:
    """Each node's spells from a CSV file with the columns time_s, node, up and speed.

    A line holds from its time until the node's next one; before its first a node is up, at
    speed 1. `speed` is a factor on the experiment's own (empty: 1), and not read where it is down.

    Raises:
        DataError: no such file, or a line that says nothing sensible; names file and line.
    """
    changes: dict[NodeId, list[tuple[float, float]]] = {}
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = csv.DictReader(file, restval="")
            missing = [c for c in COLUMNS if c not in (rows.fieldnames or ())]
            if missing:
                needed = ",".join(COLUMNS)
                raise DataError(f"{path}, line 1: has no column {missing[0]}; needed: {needed}")
            for row in rows:
                _add_row(changes, row, nodes, f"{path}, line {rows.line_num}")
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file, and compute.trace names it") from error
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: cannot be read as the trace of compute.trace: {error}") from error
    return {node: _spells(changes[node]) for node in nodes if node in changes}


def _add_row(
    changes: dict[NodeId, list[tuple[float, float]]],
    row: Mapping[str, str],
    nodes: Collection[NodeId],
    where: str,
) -> None:
    node = NodeId(row["node"].strip())
    if node not in nodes:
        raise DataError(f"{where}: names the node {node!r}, which the experiment has not")
    up = _UP.get(row["up"].strip().lower())
    if up is None:
        raise DataError(f"{where}: up is {row['up']!r}; allowed: 1 or 0, true or false, up or down")
    time_s = _number(row["time_s"], f"{where}: time_s")
    earlier = changes.setdefault(node, [])
    if time_s < 0.0 or (earlier and time_s <= earlier[-1][0]):
        after = f"above {earlier[-1][0]:g}, its line before" if earlier else "at least 0"
        raise DataError(f"{where}: time_s of {node} is {time_s:g}; allowed: {after}")
    speed = _number(row["speed"].strip() or "1", f"{where}: speed") if up else 0.0
    if up and speed <= 0.0:
        raise DataError(f"{where}: speed is {speed:g}; allowed: above 0 (or up = 0)")
    earlier.append((time_s, speed))


def _number(text: str, what: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise DataError(f"{what} is {text!r}; allowed: a finite number")
    return number


def _spells(changes: list[tuple[float, float]]) -> tuple[Spell, ...]:
    first_s = changes[0][0]
    start = [Spell(first_s, 1.0)] if first_s > 0.0 else []
    ends = [(speed, then_s) for (_, speed), (then_s, _) in pairwise([*changes, (math.inf, 0.0)])]
    return (*start, *(Spell(then_s, speed) for speed, then_s in ends))
