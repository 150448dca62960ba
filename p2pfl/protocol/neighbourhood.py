"""All neighbours of one node, seen through the staleness policy at one moment."""

# ruff: noqa: PLR1730 - this runs at every message of every node; max() costs five comparisons

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from p2pfl.messages import Header, Neighbour, PresenceState, Reading
from p2pfl.protocol.peers import Peer
from p2pfl.protocol.settings import Round
from p2pfl.protocol.staleness import StalenessPolicy
from p2pfl.types import NodeId, quick_tuple


class Sight(NamedTuple):
    """What an algorithm may see, and the record of how stale it was."""

    neighbours: tuple[Neighbour, ...]
    readings: tuple[Reading, ...]
    left_out: tuple[NodeId, ...]
    staleness: float
    trusts: tuple[tuple[NodeId, float], ...] = ()
    """What this node makes of its neighbours, where that is below 1: it will tell them."""


class Neighbourhood:
    """The peers in fixed order, and the policy that decides which of their models may be used.

    `exact`: views are matched by version (synchronous algorithms, and `wait` with bound 0).
    """

    def __init__(
        self,
        neighbours: Iterable[tuple[NodeId, float]],
        policy: StalenessPolicy,
        *,
        exact: bool,
        node: str = "",
        rounds: Sequence[Round] = (),
    ) -> None:
        self.policy = policy
        self.exact = exact
        self.peers = {node: Peer(node, weight, policy) for node, weight in neighbours}
        self.since_s = 0.0
        """When this node started: a peer never heard of counts as alive for a floor from then."""
        self.waits = exact or policy.policy == "wait"
        """Training may have to wait for somebody."""
        self.lasting = not exact and policy.policy != "wait" and policy.metric in ("missed", "age")
        """What is seen depends on what was heard and on the time alone: the end of an update and
        the beginning of the next one, which fall together, may share one sight."""
        self._usual = policy.policy == "drop" and policy.metric == "missed"
        self._node = node
        self._schedule = tuple(each.neighbours for each in rounds)
        self._rounds = self._all_rounds()
        self._everybody = list(self.peers.values())

    def resume(self, peers: Iterable[Peer], *, since_s: float) -> None:
        """Go on from these records of the same peers."""
        self.peers = {peer.node: peer for peer in peers}
        self._rounds = self._all_rounds()
        self._everybody = list(self.peers.values())
        self.since_s = since_s

    def rewire(self, neighbours: Iterable[tuple[NodeId, float]]) -> None:
        """Hear these from now on, with these weights; what is known of those who stay is kept."""
        before, self.peers = self.peers, {}
        for node, weight in neighbours:
            peer = self.peers[node] = before.get(node) or Peer(node, weight, self.policy)
            peer.weigh(weight)
        self._rounds = self._all_rounds()
        self._everybody = list(self.peers.values())

    def used(self, sight: Sight, mixed: bool | frozenset[NodeId]) -> Sight:  # noqa: FBT001 - as an algorithm says it
        """What was seen, for the record of a mix; of these alone, if it used no others."""
        if isinstance(mixed, bool):
            return sight
        readings = tuple(r for r in sight.readings if r.peer in mixed)
        measure = self.policy.staleness
        ages = (measure(r.lag, r.reads, r.age_s, r.missed) for r in readings)
        return sight._replace(readings=readings, staleness=max(ages, default=0.0))

    def _all_rounds(self) -> list[list[tuple[Peer, float]]]:
        # Who only hears this node has weight 0, and is not waited for.
        everybody = [(peer, peer.weight) for peer in self.peers.values() if peer.weight > 0.0]
        return [
            [(self.peers[name], weight) for name, weight in neighbours]
            for neighbours in self._schedule
        ] or [everybody]

    def look(self, version: int, now: float) -> Sight:
        """The neighbours as this node, at `version`, may mix them now."""
        if self.exact:
            return self._look_exactly(version, now)
        return self._look_freshest(version, now)

    def look_at(self, node: NodeId, version: int, now: float) -> Neighbour:
        """One neighbour, as `look` would show its newest model; without a discount."""
        peer = self.peers[node]
        live = peer.live(now, since_s=self.since_s)
        finished = peer.state is PresenceState.FINISHED
        header, vector, extra, trust = None, None, None, 0.0
        if peer.newest is not None:
            header = peer.newest.header
            if self.usable(peer, version, now):
                vector, extra, trust = peer.newest.vector, peer.newest.extra, 1.0
        return Neighbour(
            node, peer.weight, trust, live, finished, peer.version, header, vector, extra
        )

    def count_reads(self) -> None:
        """One mix more has used the views at hand."""
        for peer in self._everybody:
            peer.reads += 1

    def blockers(self, version: int, now: float) -> list[Peer]:
        """The live peers that training must wait for; empty: go on. Nobody waits for the dead."""
        if self.exact:
            return [p for p, _ in self._heard_in(version) if self._must_match(p, version, now)]
        if self.policy.policy != "wait":
            return []
        return [
            p
            for p in self.peers.values()
            if version - max(p.version, 0) > self.policy.bound
            and p.state is not PresenceState.FINISHED
            and p.live(now, since_s=self.since_s)
        ]

    def _heard_in(self, version: int) -> list[tuple[Peer, float]]:
        """Whom the node hears in the round of this version, with w_ij."""
        return self._rounds[version % len(self._rounds)]

    def _must_match(self, peer: Peer, version: int, now: float) -> bool:
        """True if `peer` is alive, lacks this version here, and may still hand it out."""
        if peer.at_version(version) is not None:
            return False
        if not peer.live(now, since_s=self.since_s):
            return False
        if peer.newest is not None and peer.newest.header.oldest_version > version:
            return False
        return not (peer.state is PresenceState.FINISHED and peer.version < version)

    def _look_exactly(self, version: int, now: float) -> Sight:
        seen, readings, left_out = [], [], []
        for peer, weight in self._heard_in(version):
            live = peer.live(now, since_s=self.since_s)
            message = peer.at_version(version) if live else None
            finished = peer.state is PresenceState.FINISHED
            if message is None:
                if peer.newest is not None:
                    left_out.append(peer.node)
                header, vector, extra, trust = None, None, None, 0.0
            else:
                header, vector, trust = message.header, message.vector, 1.0
                extra = message.extra
                age_s = peer.age_s(now)
                readings.append(
                    Reading(
                        peer.node,
                        version,
                        weight,
                        0,
                        peer.reads,
                        age_s,
                        self.policy.missed(age_s, peer.period_s),
                    )
                )
            seen.append(
                Neighbour(
                    peer.node, weight, trust, live, finished, peer.version, header, vector, extra
                )
            )
        return Sight(tuple(seen), tuple(readings), tuple(left_out), 0.0)

    def _look_freshest(self, version: int, now: float) -> Sight:
        """Every newest model in one pass: it runs in every update of every node."""
        seen: list[Neighbour] = []
        readings: list[Reading] = []
        left_out: list[NodeId] = []
        trusts: list[tuple[NodeId, float]] = []
        usual, limit, worst = self._usual, self.policy.limit, 0.0
        for peer in self._everybody:
            view = peer.view
            if usual and view is not None and now <= peer.live_until_s:
                # What `_see` comes to in the usual case, at a third of its cost.
                age_s = now - peer.sent_s - peer.offset_s
                if age_s < 0.0:
                    age_s = 0.0
                missed = age_s / peer.unit_s
                if missed <= limit:
                    held = peer.held
                    lag = version - held if version > held else 0
                    seen.append(view)
                    read = (peer.node, held, peer.weight, lag, peer.reads, age_s, missed)
                    readings.append(quick_tuple(Reading, read))
                    if missed > worst:
                        worst = missed
                    continue
            neighbour, reading, staleness, own = self._see(peer, version, now)
            seen.append(neighbour)
            if reading is not None:
                readings.append(reading)
                worst = max(worst, staleness)
                if own < 1.0:
                    trusts.append((peer.node, own))
            elif peer.newest is not None:
                left_out.append(peer.node)
        return Sight(tuple(seen), tuple(readings), tuple(left_out), worst, tuple(trusts))

    def _see(
        self, peer: Peer, version: int, now: float
    ) -> tuple[Neighbour, Reading | None, float, float]:
        """One neighbour; how it was read, if it may be mixed; how stale it is; the own trust."""
        live = peer.live(now, since_s=self.since_s)
        finished = peer.state is PresenceState.FINISHED
        newest = peer.newest
        if newest is None:
            unknown = Neighbour(
                peer.node, peer.weight, 0.0, live, finished, peer.version, None, None
            )
            return unknown, None, 0.0, 1.0
        header = newest.header
        reading, staleness = self.read(peer, version, now)
        if not self._usable(peer, staleness, live=live, now=now):
            left_out = Neighbour(
                peer.node, peer.weight, 0.0, live, finished, peer.version, header, None
            )
            return left_out, None, staleness, 1.0
        own = trust = 1.0
        if self.policy.policy == "discount":
            own = self.policy.discount(staleness)
            trust = self._agreed(own, header)
            reading = reading._replace(weight=peer.weight * trust)
        neighbour = Neighbour(
            peer.node,
            peer.weight,
            trust,
            live,
            finished,
            peer.version,
            header,
            newest.vector,
            newest.extra,
        )
        return neighbour, reading, staleness, own

    def _agreed(self, own: float, header: Header) -> float:
        """s_ij = min(s_ij, s_ji): both ends of a link count each other alike, or nearly."""
        if not self.policy.reciprocal:
            return own
        return min(own, next((s for peer, s in header.trusts if peer == self._node), 1.0))

    def _usable(self, peer: Peer, staleness: float, *, live: bool, now: float) -> bool:
        """`none` keeps even ghosts; `wait` keeps whoever is alive; `drop` keeps what is in bound.

        A retained model whose sender has shown no life is never used.
        """
        policy = self.policy
        if staleness > policy.limit or not peer.trusted:
            return False
        if policy.policy == "drop":
            return peer.view is not None or not peer.gone(now)
        return live or policy.policy == "none"

    def read(self, peer: Peer, version: int, now: float) -> tuple[Reading, float]:
        """One neighbour's newest model as it is mixed alone, and its staleness."""
        held, age_s = peer.held, peer.age_s(now)
        missed, lag = self.policy.missed(age_s, peer.period_s), max(0, version - held)
        reading = Reading(peer.node, held, peer.weight, lag, peer.reads, age_s, missed)
        return reading, self.policy.staleness(lag, peer.reads, age_s, missed)

    def usable(self, peer: Peer, version: int, now: float) -> bool:
        """True if the policy lets this neighbour's newest model be mixed now."""
        live = peer.live(now, since_s=self.since_s)
        return self._usable(peer, self.read(peer, version, now)[1], live=live, now=now)
