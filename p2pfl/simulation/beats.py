"""The signs of life between two versions, as `protocol/node.py` gives them.

A node wakes a quarter of the liveness floor after the last sign of life that it knew of when it
fell asleep. If it has said nothing since, it beats. Either way it then sets the next alarm.
"""

from typing import Final, NamedTuple

import numpy as np

from p2pfl.algorithms.rounds import Undecided
from p2pfl.protocol.node import BEATS_PER_FLOOR
from p2pfl.simulation.timetable import Moments, Times
from p2pfl.types import Positions

_NEARLY: Final = 0.999
"""The part of the silence at which `Node` beats: alarms may ring a little early."""


class Beat(NamedTuple):
    """Beats of several nodes, each `[beats]`."""

    node: Positions
    at_s: Times
    after: Positions
    """Evaluations before that."""


class Alarms:
    """Every node's alarm, set at its start."""

    def __init__(self, nodes: int, moments: Moments, *, liveness_floor_s: float) -> None:
        self._moments = moments
        self._silence_s = liveness_floor_s / BEATS_PER_FLOOR
        self._signed_s = np.zeros(nodes)
        self._rings_s = self._signed_s + self._silence_s
        self._set_s = np.full(nodes, -1.0)
        """When the alarm was set; below 0: by the start, before anything else."""
        self._set_after = np.zeros(nodes, np.int64)

    def ring_until(self, limit_s: Times) -> list[Beat]:
        """What rings before these times `[n]`."""
        beats = []
        while (due := self._rings_s < limit_s).any():
            beats += self._ring(np.flatnonzero(due))
        return beats

    def publish(self, at_s: Times, begun_s: Times) -> list[Beat]:
        """What rings before each node says something at these times `[n]` (inf: nothing).

        `begun_s`: when what happens then was planned. An alarm that rings at the same moment
        rings first if it was set before that.

        Raises:
            Undecided: it was set at the same time.
        """
        says = np.isfinite(at_s)
        beats = self.ring_until(np.where(says, at_s, -np.inf))
        beats += self._ring_with(at_s, begun_s)
        self._signed_s = np.where(says, at_s, self._signed_s)
        return beats

    def end(self, at_s: float, begun_s: float) -> list[Beat]:
        """What rings before the run ends, by the event at this time that was planned then.

        Raises:
            Undecided: it might ring just after that.
        """
        beats = self.ring_until(np.full(len(self._rings_s), at_s))
        beats += self._ring_with(np.full(len(self._rings_s), at_s), np.array(begun_s))
        return beats

    def _ring_with(self, at_s: Times, planned_s: Times) -> list[Beat]:
        together = self._rings_s == at_s
        if not together.any():
            return []
        if (together & (self._set_s == planned_s)).any():
            raise Undecided
        return self._ring(np.flatnonzero(together & (self._set_s < planned_s)))

    def _ring(self, nodes: Positions) -> list[Beat]:
        at_s = self._rings_s[nodes]
        after = self._moments.before(at_s, self._set_after[nodes])
        beats = at_s - self._signed_s[nodes] >= self._silence_s * _NEARLY
        self._signed_s[nodes[beats]] = at_s[beats]
        self._rings_s[nodes] = self._signed_s[nodes] + self._silence_s
        self._set_s[nodes], self._set_after[nodes] = at_s, after
        return [Beat(nodes[beats], at_s[beats], after[beats])] if beats.any() else []
