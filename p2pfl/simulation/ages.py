"""How old the models were that were mixed, as each node measures it without a common clock.

See `protocol/peers.py`: the age of a neighbour's newest model is counted from when it left its
sender, less the shortest time that any word of that sender has taken.
"""

import numpy as np

from p2pfl.algorithms.rounds import Undecided
from p2pfl.simulation.timetable import Round, Times, Timetable
from p2pfl.types import Positions

_Pending = tuple[Positions, Times, Times]


class Ages:
    """The largest age that each node has mixed."""

    def __init__(self, timetable: Timetable) -> None:
        links = timetable.links
        self.age_max_s = np.zeros(len(links.first) - 1)
        self._timetable = timetable
        self._hears = np.flatnonzero(links.degree)
        self._first = links.first[self._hears]
        self._offset_s = np.full(len(links.sender), np.inf)
        """The shortest time that a word has taken, `[links]`."""
        self._beats: list[_Pending] = []

    def beat(self, links: Positions, heard_s: Times, made_s: Times) -> None:
        """Beats that will be heard at these links."""
        self._beats.append((links, heard_s, made_s))

    def mix(self, this: Round) -> None:
        """Every node that begins its next training mixes the models at hand.

        Raises:
            Undecided: a newer model came at the very moment, and it matters which was first.
        """
        table, now, then = self._timetable, this.now, this.then
        sender, receiver = table.links.sender, table.receiver
        if not len(sender):
            return
        begin_s = now.begin_s[receiver]
        mixes = begin_s < table.time_s
        with np.errstate(invalid="ignore"):
            np.fmin(self._offset_s, now.heard_s - now.at_s[sender], out=self._offset_s)
            self._hear_beats(begin_s)
            newer = then.heard_s < begin_s
            sent_s = now.at_s[sender]
            ages = begin_s - sent_s - self._offset_s
            if (together := mixes & (then.heard_s == begin_s)).any():
                newer |= self._newer_first(this, np.flatnonzero(together), ages)
            if newer.any():
                ages = np.where(newer, self._ages_of_newer(this, begin_s), ages)
        ages[~mixes] = 0.0
        worst = np.maximum.reduceat(ages, self._first)
        self.age_max_s[self._hears] = np.maximum(self.age_max_s[self._hears], worst)

    def _ages_of_newer(self, this: Round, begin_s: Times) -> Times:
        """The same where the next version is there already; that of a finished node stays young."""
        sent_s = this.then.at_s[self._timetable.links.sender]
        heard_s = this.then.heard_s
        offset_s = np.fmin(self._offset_s, heard_s - sent_s)
        finished = this.version + 1 == self._timetable.versions_max
        ages: Times = (heard_s if finished else begin_s) - sent_s - offset_s
        return ages

    def _hear_beats(self, begin_s: Times) -> None:
        """Beats that have come before these moments, `[links]`, may have been quicker."""
        waiting: list[_Pending] = []
        for links, heard_s, made_s in self._beats:
            took_s = heard_s - made_s
            together = heard_s == begin_s[links]
            if (together & (took_s < self._offset_s[links])).any():
                raise Undecided
            heard = heard_s <= begin_s[links]
            np.minimum.at(self._offset_s, links[heard], took_s[heard])
            if not heard.all():
                waiting.append((links[~heard], heard_s[~heard], made_s[~heard]))
        self._beats = waiting

    def _newer_first(self, this: Round, together: Positions, ages: Times) -> np.ndarray:
        """Of these links' next versions, those that came before the last model waited for.

        Both come now; first came what was sent first, and if that was one moment too, what was
        planned first.
        """
        table, now, then = self._timetable, this.now, this.then
        sender, first = table.links.sender, table.links.first
        newer = np.zeros(len(sender), np.bool_)
        for link in together.tolist():
            node = int(table.receiver[link])
            if ages[link] <= self.age_max_s[node]:
                continue
            heard = np.arange(first[node], first[node + 1])
            last = sender[heard[now.heard_s[heard] == now.begin_s[node]]]
            awaited = max(zip(now.at_s[last], now.begun_s[last], strict=True))
            came = (then.at_s[sender[link]], now.begin_s[sender[link]])
            if came == awaited:
                raise Undecided
            newer[link] = came < awaited
        return newer
