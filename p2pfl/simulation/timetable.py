"""When every version of every node is there, is heard and is trained on, round by round.

Where nothing about messages is left to chance, the times of a synchronous run follow from one
another, without a heap:

    heard(k, j at i) = at(k, j) + latency(j, i)
    begin(k, i)      = max(at(k, i), heard(k, j at i) over i's neighbours j)
    at(k + 1, i)     = begin(k, i) + duration(k, i)

What falls on one moment happens, on the heap, in the order in which it was planned. Evaluations
are planned at evaluations, so their place among all that happens can be counted along: each event
carries how many evaluations came before it.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from math import inf
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from p2pfl.algorithms.rounds import Undecided
from p2pfl.algorithms.rows import Links
from p2pfl.types import Positions

Times = NDArray[np.float64]
"""Virtual seconds; inf: not in this run."""

NEVER: Final = np.iinfo(np.int64).max // 2
"""More evaluations than there are."""


@dataclass(frozen=True, slots=True)
class Moments:
    """The times of evaluations, 0, every_s, 2 every_s and so on, each planned at the one before."""

    every_s: float

    def at_s(self, number: int) -> float:
        """When the evaluation of this number is."""
        return self.every_s * number

    def earlier(self, at_s: Times) -> Positions:
        """How many are strictly before these finite times."""
        found = np.ceil(at_s / self.every_s).astype(np.int64)
        found -= (found > 0) & (self.every_s * (found - 1) >= at_s)
        found += self.every_s * found < at_s
        return found

    def before(self, at_s: Times, planned_after: Positions) -> Positions:
        """How many come before events at these times; NEVER for events that do not come.

        `planned_after` is the same count for the events at which these were planned: of one time,
        the evaluation comes first if it was planned first.
        """
        finite = np.isfinite(at_s)
        if not finite.all():
            at_s = np.where(finite, at_s, 0.0)
        found = self.earlier(at_s)
        found += (self.every_s * found == at_s) & (planned_after >= found)
        return found if finite.all() else np.where(finite, found, NEVER)


class Version(NamedTuple):
    """One version at all nodes."""

    at_s: Times
    """When the node has it, `[n]`."""
    after: Positions
    """Evaluations before that, `[n]`; where it is not in the run, all that there are."""
    begun_s: Times
    """When the training that led to it began, `[n]`."""
    heard_s: Times
    """When it is there at the other end, `[links]`."""
    heard_after: Positions
    """Evaluations before that, `[links]`."""
    begin_s: Times
    """When the next training begins, `[n]`."""
    begin_after: Positions
    """Evaluations before that, `[n]`."""


class Round(NamedTuple):
    """A version, and the next one."""

    version: int
    now: Version
    then: Version
    last: bool
    """Every node that has this version has all that it will have."""


class Timetable:
    """The rounds of one run. Its graph is undirected: neighbours are one version apart at most.

    `duration_s(version, nodes)` is how long the training on this version takes at these nodes.
    The run ends when all have `versions_max` versions, or just before `time_s` (inf: never).
    """

    def __init__(
        self,
        links: Links,
        latency_s: Times,
        duration_s: Callable[[int, Positions], Times],
        moments: Moments,
        *,
        versions_max: int | None,
        time_s: float = inf,
    ) -> None:
        self.links = links
        self.latency_s = latency_s
        self.duration_s = duration_s
        self.moments = moments
        self.versions_max = versions_max
        self.time_s = time_s
        self.finished = False
        """True once every node has all its versions: the run does not end by time."""
        self.end_s = time_s
        """When the last node has finished, else the end by time; known with the last round."""
        self.receiver = links.receiver
        degree = links.degree
        self._hears = np.flatnonzero(degree)
        self._first = links.first[self._hears]

    def __iter__(self) -> Iterator[Round]:
        """Round by round.

        Raises:
            Undecided: a training takes no time.
        """
        nodes = len(self.links.first) - 1
        now = self._version(np.zeros(nodes), np.zeros(nodes, np.int64), np.zeros(nodes))
        for version in count():
            at_s = self._ends_s(version, now)
            there = np.isfinite(at_s)
            after = self.moments.before(at_s, now.begin_after)
            if not there.all():
                after = np.where(there, after, self._evaluations(version, now))
            then = self._version(at_s, after, now.begin_s)
            yield Round(version, now, then, last=not there.any())
            if not there.any():
                return
            now = then

    def _ends_s(self, version: int, now: Version) -> Times:
        """When the next version is there; inf where the run ends before."""
        at_s = np.full(len(now.at_s), inf)
        nodes = np.flatnonzero(now.begin_s < self.time_s)
        if version == self.versions_max or not len(nodes):
            return at_s
        begin_s = now.begin_s[nodes]
        end_s = begin_s + self.duration_s(version, nodes)
        if (end_s <= begin_s).any():
            raise Undecided
        at_s[nodes] = np.where(end_s < self.time_s, end_s, inf)
        return at_s

    def _evaluations(self, version: int, now: Version) -> int:
        """How many evaluations the run has, once a node has its last version."""
        if version == self.versions_max and np.isfinite(now.at_s).all():
            self.finished = True
            self.end_s = float(now.at_s.max())
            return int(now.after.max())
        return int(self.moments.earlier(np.array([self.time_s]))[0])

    def _version(self, at_s: Times, after: Positions, begun_s: Times) -> Version:
        """The version that is there at these times, and what follows."""
        sender, hears = self.links.sender, self._hears
        heard_s = at_s[sender] + self.latency_s
        heard_after = self.moments.before(heard_s, after[sender])
        begin_s, begin_after = at_s.copy(), after.copy()
        if len(hears):
            last_s = np.maximum.reduceat(heard_s, self._first)
            begin_s[hears] = np.maximum(at_s[hears], last_s)
            last_after = np.maximum.reduceat(heard_after, self._first)
            begin_after[hears] = np.maximum(after[hears], last_after)
        return Version(at_s, after, begun_s, heard_s, heard_after, begin_s, begin_after)
