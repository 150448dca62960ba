"""Bytes and messages of every endpoint in a run that is computed in rounds.

The same numbers as `network.Endpoint` has: out when a message leaves, in when it is there.
"""

from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from p2pfl.algorithms.rows import Links
from p2pfl.simulation.beats import Beat
from p2pfl.simulation.network import Endpoint
from p2pfl.simulation.timetable import Moments, Times, Version
from p2pfl.types import Positions

Sizes = NDArray[np.int64]
"""Bytes of what each node sends, `[n]`."""

_OUT: Final = 0
_IN: Final = 1


@dataclass(slots=True, eq=False)
class Sums:
    """Bytes and messages by node, `[n]`."""

    nodes: int
    bytes: Sizes = field(init=False)
    control_bytes: Sizes = field(init=False)
    messages: Sizes = field(init=False)

    def __post_init__(self) -> None:
        self.bytes, self.control_bytes, self.messages = np.zeros((3, self.nodes), np.int64)

    def add(self, node: Positions, sizes: Sizes, *, control: bool) -> None:
        """Count messages of these sizes at these nodes, who may stand there several times."""
        summed = np.bincount(node, sizes, self.nodes).astype(np.int64)
        self.bytes += summed
        self.messages += np.bincount(node, minlength=self.nodes)
        if control:
            self.control_bytes += summed


class Accounts:
    """All endpoints' sums, and their growth by evaluation."""

    def __init__(self, links: Links, latency_s: Times, moments: Moments, *, time_s: float) -> None:
        nodes = len(links.first) - 1
        self.sent = Sums(nodes)
        self.fan_out_bytes = np.zeros(nodes, np.int64)
        self.received = Sums(nodes)
        self.received_late = Sums(nodes)
        """What comes at the end by time or later: it counts only if the run ends before."""
        self.last_s = 0.0
        """When the last message arrives."""
        self._links = links
        self._receiver = links.receiver
        self._latency_s = latency_s
        self._moments = moments
        self._time_s = time_s
        self._nodes = nodes
        self._hearers = np.bincount(links.sender, minlength=nodes)
        self._from_first = np.concatenate([[0], np.cumsum(self._hearers)])
        self._by_sender = np.argsort(links.sender, kind="stable")
        """The links, sender by sender."""
        self._growth: dict[int, NDArray[np.int64]] = {}
        """Evaluations before -> bytes out and in since then, `[2, n]`."""
        self._so_far = np.zeros((2, nodes), np.int64)

    def publish(self, version: Version, sizes: Sizes, *, control: bool = False) -> None:
        """Every node that has this version sends this much to whoever hears it."""
        nodes = np.flatnonzero(np.isfinite(version.at_s))
        self._send(nodes, version.after[nodes], sizes[nodes], control=control)
        links = np.flatnonzero(np.isfinite(version.heard_s))
        sent = sizes[self._links.sender[links]]
        heard_s, after = version.heard_s[links], version.heard_after[links]
        self._receive(links, heard_s, after, sent, control=control)

    def beat(self, beat: Beat, sizes: Sizes) -> tuple[Positions, Times, Times]:
        """These nodes' beats; their links, when they are heard there, and when they were made."""
        node, at_s, after = beat
        self._send(node, after, sizes[node], control=True)
        counts = self._hearers[node]
        which = np.repeat(np.arange(len(node)), counts)
        within = np.arange(len(which)) - np.repeat(np.cumsum(counts) - counts, counts)
        links = self._by_sender[self._from_first[node][which] + within]
        made_s = at_s[which]
        heard_s = made_s + self._latency_s[links]
        heard_after = self._moments.before(heard_s, after[which])
        self._receive(links, heard_s, heard_after, sizes[node][which], control=True)
        return links, heard_s, made_s

    def by_evaluation(self, number: int) -> NDArray[np.int64]:
        """Bytes out and in before this evaluation, `[2, n]`; asked for in ascending order."""
        for after in [a for a in self._growth if a <= number]:
            self._so_far += self._growth.pop(after)
        return self._so_far.copy()

    def endpoints(self, *, finished: bool) -> list[Endpoint]:
        """Every endpoint at the end; `finished`: the run did not end by time."""
        if finished:
            self.received.bytes += self.received_late.bytes
            self.received.control_bytes += self.received_late.control_bytes
            self.received.messages += self.received_late.messages
            self.received_late = Sums(self._nodes)
        sent, received = self.sent, self.received
        return [
            Endpoint(
                out_bytes=int(sent.bytes[i]),
                in_bytes=int(received.bytes[i]),
                fan_out_bytes=int(self.fan_out_bytes[i]),
                control_bytes=int(sent.control_bytes[i] + received.control_bytes[i]),
                out_messages=int(sent.messages[i]),
                in_messages=int(received.messages[i]),
            )
            for i in range(self._nodes)
        ]

    def _send(self, node: Positions, after: Positions, sizes: Sizes, *, control: bool) -> None:
        self.sent.add(node, sizes, control=control)
        self.fan_out_bytes += np.bincount(node, sizes * self._hearers[node], self._nodes).astype(
            np.int64
        )
        self._grow(_OUT, node, after, sizes)

    def _receive(
        self, links: Positions, heard_s: Times, after: Positions, sizes: Sizes, *, control: bool
    ) -> None:
        if not len(links):
            return
        node = self._receiver[links]
        self.last_s = max(self.last_s, float(heard_s.max()))
        self._grow(_IN, node, after, sizes)
        in_time = heard_s < self._time_s
        if in_time.all():
            self.received.add(node, sizes, control=control)
        else:
            self.received.add(node[in_time], sizes[in_time], control=control)
            self.received_late.add(node[~in_time], sizes[~in_time], control=control)

    def _grow(self, way: int, node: Positions, after: Positions, sizes: Sizes) -> None:
        if not len(node):
            return
        least, most = int(after.min()), int(after.max())
        for number in (least,) if least == most else np.unique(after).tolist():
            chosen = slice(None) if least == most else after == number
            growth = self._growth.get(number)
            if growth is None:
                growth = self._growth[number] = np.zeros((2, self._nodes), np.int64)
            summed = np.bincount(node[chosen], sizes[chosen], self._nodes)
            growth[way] += summed.astype(np.int64)
