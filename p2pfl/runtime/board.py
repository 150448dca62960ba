"""What the starting process knows of its nodes, and the run's curve made of it."""

import math
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from p2pfl.errors import ProtocolError
from p2pfl.experiment import Experiment
from p2pfl.messages import Presence, PresenceState
from p2pfl.results.measure import consensus_distance, network_sample
from p2pfl.results.on_the_way import way_notes
from p2pfl.results.record import NetworkSample, NodeSample, NodeTotals, RunResult
from p2pfl.runtime.jobs import Legacy
from p2pfl.runtime.rows import OnTheWay, Report, from_row, from_transfers_row, over_lives
from p2pfl.transport.base import Row
from p2pfl.types import NodeId, Vector

STARTING: Final = "starting"
JOINING: Final = "joining"
LOST: Final = "lost"
FAILED: Final = "failed"
FRESH_S: Final = 15.0
"""What a node tells of slow transfers each few seconds is not shown for longer."""
DONE: Final = frozenset({"finished", "ended"})


@dataclass(slots=True)
class Standing:
    """One node as it stands."""

    node: NodeId
    role: str
    phase: str = STARTING
    reports: list[Report] = field(default_factory=list)
    """All of its lives, in order of arrival; their samples count over all lives."""
    lives: dict[int, NodeTotals] = field(default_factory=dict)
    """Newest totals of each life."""
    gaps: list[list[float]] = field(default_factory=list)
    """[from, to] when no process was there, in seconds since the go."""
    legacy: Legacy | None = None
    host: str = ""
    """The machine that it lives on, where that is another."""
    said: str = ""
    """What it logged last, where its log is followed."""

    transfers: tuple[OnTheWay, ...] = ()
    """Large models that are slow on their way, to it or from it."""
    transfers_s: float = 0.0
    """When that was heard, in seconds since the go."""

    @property
    def where(self) -> str:
        """Its name, and on which machine, for sentences."""
        return f"{self.node} on {self.host}" if self.host else self.node

    @property
    def alive(self) -> bool:
        """Whether its process is there."""
        return self.phase not in (LOST, FAILED)

    @property
    def steps_per_s(self) -> float:
        """Gradient steps per second over its last three samples."""
        recent = [report.sample for report in self.reports[-3:]]
        if len(recent) < 2 or recent[-1].at_s <= recent[0].at_s:  # noqa: PLR2004 - a difference
            return 0.0
        return (recent[-1].steps - recent[0].steps) / (recent[-1].at_s - recent[0].at_s)

    def was_alive(self, at_s: float) -> bool:
        """Whether its process was there at that time."""
        return not any(start_s <= at_s < end_s for start_s, end_s in self.gaps)

    def sample_at(self, limit_s: float) -> NodeSample | None:
        """The newest sample up to that time."""
        count = bisect_right(self.reports, limit_s, key=lambda report: report.sample.at_s)
        return self.reports[count - 1].sample if count else None

    def take(self, report: Report) -> None:
        """Add a report; what earlier lives did is added to its sample."""
        earlier = [t for life, t in sorted(self.lives.items()) if life < report.life]
        if any(life > report.life for life in self.lives):
            return
        self.lives[report.life] = report.totals
        if earlier:
            base, sample = over_lives(earlier), report.sample
            sample = replace(
                sample,
                version=sample.version + base.versions,
                steps=sample.steps + base.steps,
                staleness_max=max(sample.staleness_max, base.staleness_max),
                out_bytes=sample.out_bytes + base.out_bytes,
                in_bytes=sample.in_bytes + base.in_bytes,
            )
            report = replace(report, sample=sample)
        self.reports.append(report)
        if self.alive:
            self.phase = report.phase

    def totals(self) -> NodeTotals:
        """Its whole run; an ordered end has the last word on the last life."""
        lives = [totals for _, totals in sorted(self.lives.items())]
        if self.legacy is not None:
            lives = [*lives[:-1], self.legacy.totals]
        if not lives:
            lives = [_nothing(self.node, self.role)]
        total = over_lives(lives)
        return total if self.alive else replace(total, outcome=self.phase)


class Board:
    """All nodes of a run, and what it adds up to."""

    def __init__(self, experiment: Experiment) -> None:
        self.experiment = experiment
        self.run = ""
        self.url = ""
        self.notes: list[str] = []
        self.accuracy_average_model: float | None = None
        """Of the mean of the final models, once it is scored."""
        self.traces: list[str] = []
        """Tracebacks of nodes that crashed."""
        self.now_s = 0.0
        """Seconds since the go, as of the last look; 0 before it."""
        self._seen: dict[NodeId, Vector] = {}
        self._distances: list[tuple[float, float]] = []
        self.standings = {
            name: Standing(name, "node" if place.learns else "server")
            for name, place in experiment.places.items()
        }

    def hear(self, node: NodeId, what: Presence | Row) -> None:
        """Take what a node said; nonsense changes nothing."""
        standing = self.standings.get(node)
        if standing is None:
            return
        if isinstance(what, Presence):
            if standing.phase == STARTING and what.state is PresenceState.JOINING:
                standing.phase = JOINING
            elif standing.alive and what.state is PresenceState.FINISHED:
                standing.phase = what.state.value
            return
        try:
            slow = from_transfers_row(what)
            if slow is not None:
                standing.transfers = slow if standing.alive else ()
                standing.transfers_s = self.now_s
                return
            report = from_row(what)
        except ProtocolError:
            return
        if report.sample.node == node:
            standing.take(report)

    def see(self, node: NodeId, model: Vector) -> None:
        """Take a model from a head (small ones only): the newest x that the node has published."""
        if node in self.standings and self.standings[node].role == "node":
            self._seen[node] = model

    def measure(self, at_s: float) -> None:
        """Note how far apart the published models are now; nothing until all are known."""
        living = [s.node for s in self.standings.values() if s.role == "node" and s.alive]
        if living and all(node in self._seen for node in living):
            models = [self._seen[node] for node in living]
            self._distances.append((at_s, consensus_distance(models)))

    def lose(self, node: NodeId, at_s: float, *, phase: str, note: str, trace: str = "") -> None:
        """A node's process has ended, and not in order."""
        standing = self.standings[node]
        standing.phase, standing.transfers = phase, ()
        standing.gaps.append([at_s, math.inf])
        self.notes.append(note)
        if trace:
            self.traces.append(f"{node}:\n{trace}")

    def revive(self, node: NodeId, at_s: float) -> None:
        """A node's process was started again."""
        standing = self.standings[node]
        standing.phase = STARTING
        if standing.gaps:
            standing.gaps[-1][1] = at_s

    @property
    def on_the_way(self) -> list[str]:
        """The slow transfers of all nodes, what takes longest first; none from long ago."""
        fresh = [s for s in self.standings.values() if self.now_s - s.transfers_s <= FRESH_S]
        found = [(one, s.node) for s in fresh for one in s.transfers]
        found.sort(key=lambda pair: pair[0].rest_s, reverse=True)
        return [one.text(node) for one, node in found]

    @property
    def all_are_there(self) -> bool:
        """Whether nobody is still to come before the go."""
        return all(s.phase != STARTING for s in self.standings.values())

    @property
    def all_are_done(self) -> bool:
        """Whether every living node has finished its own work."""
        return all(s.phase in DONE for s in self.standings.values() if s.alive)

    # ------------------------------------------------------------ the curve

    def curve(self, duration_s: float) -> tuple[NetworkSample, ...]:
        """One point per evaluation time, and one at the end."""
        every_s = self.experiment.config.evaluation.every_s
        count = math.ceil(duration_s / every_s - 1e-6)
        return (
            *(self.point(k * every_s, every_s / 2) for k in range(count)),
            self.last(duration_s),
        )

    def point(self, at_s: float, slack_s: float) -> NetworkSample:
        """The network at one evaluation time, from the samples taken about then."""
        samples, sizes = [], []
        for standing in self.standings.values():
            sample = standing.sample_at(at_s + slack_s)
            if sample is None:
                continue
            sizes.append(sample.out_bytes + sample.in_bytes)
            if standing.role == "node":
                samples.append(replace(sample, alive=standing.was_alive(at_s)))
        count = bisect_right(self._distances, at_s + slack_s, key=lambda pair: pair[0])
        return network_sample(
            samples,
            at_s=at_s,
            accuracy_average_model=None,
            distance=self._distances[count - 1][1] if count else None,
            endpoint_bytes=sizes,
        )

    def last(self, duration_s: float) -> NetworkSample:
        """The network at the end, from what the nodes left behind."""
        samples = [s for s in self.final_samples(duration_s) if s is not None]
        totals = [s.totals() for s in self.standings.values()]
        publics = [one.public for one in self.heirs.values()]
        return network_sample(
            samples,
            at_s=duration_s,
            accuracy_average_model=self.accuracy_average_model,
            distance=consensus_distance(publics) if publics else None,
            endpoint_bytes=[t.out_bytes + t.in_bytes for t in totals],
        )

    @property
    def heirs(self) -> dict[NodeId, Legacy]:
        """What learners left behind."""
        return {
            s.node: s.legacy
            for s in self.standings.values()
            if s.legacy is not None and s.role == "node"
        }

    def final_samples(self, duration_s: float) -> list[NodeSample]:
        """Each learner's last state; of one that is gone, the last that was heard."""
        found = []
        for standing in self.standings.values():
            if standing.role != "node":
                continue
            totals, legacy = standing.totals(), standing.legacy
            last = standing.sample_at(math.inf)
            if legacy is not None:
                last = NodeSample(
                    at_s=duration_s,
                    node=standing.node,
                    version=totals.versions,
                    steps=totals.steps,
                    loss=legacy.loss,
                    accuracy=legacy.accuracy,
                    per_class=legacy.per_class,
                    staleness_max=totals.staleness_max,
                    out_bytes=totals.out_bytes,
                    in_bytes=totals.in_bytes,
                )
            if last is not None:
                found.append(replace(last, at_s=duration_s, alive=legacy is not None))
        return found

    def result(self, *, duration_s: float, wall_s: float) -> RunResult:
        """The run, whole."""
        experiment = self.experiment
        config = experiment.config
        samples = [
            r.sample
            for s in self.standings.values()
            if s.role == "node"
            for r in s.reports
            if r.sample.at_s < duration_s and r.phase != "ended"
        ]
        samples.sort(key=lambda sample: sample.at_s)
        heirs = self.heirs
        nodes = tuple(s.totals() for s in self.standings.values())
        return RunResult(
            name=config.name,
            label=experiment.label,
            driver="runtime",
            seed=config.seed,
            config=config,
            dimension=next((one.public.size for one in heirs.values()), 0),
            duration_s=duration_s,
            wall_s=wall_s,
            staleness_bound=experiment.staleness_bound,
            staleness_unit=experiment.staleness_unit,
            curve=self.curve(duration_s),
            samples=(*samples, *self.final_samples(duration_s)),
            nodes=nodes,
            edges=experiment.edges,
            served={node: one.served for node, one in heirs.items()},
            public={node: one.public for node, one in heirs.items()},
            notes=(*self.notes, *_pace_notes(heirs), *way_notes(nodes, codec=config.network.codec)),
        )


def _pace_notes(heirs: Mapping[NodeId, Legacy]) -> list[str]:
    """Who was held to a pace by sleeping, and who could not keep it."""
    slept = {n: one.slept_s / max(one.duration_s, 1e-9) for n, one in heirs.items() if one.slept_s}
    late = {n: one.missed_s for n, one in heirs.items() if one.missed_s > 0.1 * one.duration_s}
    notes = []
    if slept:
        shares = ", ".join(f"{node} {share:.0%}" for node, share in slept.items())
        notes.append(f"paced by sleeping, of their time: {shares}")
    if late:
        delays = ", ".join(f"{node} by {late_s:.1f} s" for node, late_s in late.items())
        notes.append(f"slower than their pace: {delays}")
    return notes


def _nothing(node: NodeId, role: str) -> NodeTotals:
    return NodeTotals(
        node=node,
        role="server" if role == "server" else "node",
        versions=0,
        steps=0,
        samples=0,
        mixes=0,
        staleness_max=0.0,
        staleness_mean=0.0,
        age_max_s=0.0,
        left_out=0,
        out_bytes=0,
        in_bytes=0,
        fan_out_bytes=0,
        control_bytes=0,
        out_messages=0,
        in_messages=0,
        outcome=LOST,
    )
