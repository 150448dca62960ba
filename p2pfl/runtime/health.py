"""How a node is, for whoever asks from outside; while nobody asks it costs nothing."""

import asyncio
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from p2pfl.errors import ConfigError
from p2pfl.experiment import Experiment
from p2pfl.protocol.node import Node
from p2pfl.protocol.peers import Peer
from p2pfl.protocol.phase import Phase
from p2pfl.results.record import NodeSample
from p2pfl.results.tally import Tally
from p2pfl.runtime.rows import Report
from p2pfl.runtime.worker import Worker
from p2pfl.transport.base import Transport

STARTING: Final = "starting"
"""The phase of a node that still loads its data, or looks for its run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Organs:
    """The parts of a living node that are looked at; nobody here changes them."""

    machine: Node
    tally: Tally
    transport: Transport
    worker: Worker


@dataclass(slots=True)
class Health:
    """One node as it is now. `organs` is None until it has loaded what it needs."""

    organs: Organs | None = None
    sample: NodeSample | None = None
    """The last evaluation."""
    gap_max_s: float = 0.0
    """The longest time for which the event loop did not get round to what was due."""
    gaps_s: list[float] = field(default_factory=list)
    """Such times since they were last counted."""

    def hear(self, report: Report) -> None:
        """Take what the node says of itself at an evaluation."""
        self.sample = report.sample

    @property
    def phase(self) -> str:
        """As the node core names it, or `starting`."""
        return STARTING if self.organs is None else self.organs.machine.phase.value

    @property
    def live(self) -> bool:
        """Whether it still has something to do here; that it answers at all says the rest."""
        return self.organs is None or not self.organs.tally.outcome.startswith("diverged")

    @property
    def ready(self) -> bool:
        """Whether it is in its run: joined, connected to the broker, and the run not over."""
        organs = self.organs
        if organs is None or organs.machine.phase is Phase.ENDED:
            return False
        return organs.transport.link_state.connected

    def waiting_for(self) -> list[str]:
        """Whom it waits for: to come at all before it starts, and for their models later."""
        if self.organs is None:
            return []
        machine = self.organs.machine
        hood = machine.neighbourhood
        if machine.phase is Phase.NEW:
            return [peer.node for peer in hood.peers.values() if peer.incarnation is None]
        if machine.phase is Phase.REJOINING:
            return [peer.node for peer in hood.peers.values() if peer.newest is None]
        if machine.phase is Phase.WAITING:
            return [peer.node for peer in hood.blockers(machine.version, _now())]
        return []

    def update_age_s(self) -> float | None:
        """Seconds since its last update was done; None: it has done none in this life."""
        done_s = math.nan if self.organs is None else self.organs.worker.done_s
        return None if math.isnan(done_s) else max(0.0, _now() - done_s)

    def neighbours(self) -> "list[NeighbourHealth]":
        """What it knows of each neighbour."""
        if self.organs is None:
            return []
        hood, now = self.organs.machine.neighbourhood, _now()
        return [_seen(peer, now, since_s=hood.since_s) for peer in hood.peers.values()]

    def refused(self) -> Mapping[tuple[str, str], int]:
        """Frames that were dropped, by claimed sender and reason; strangers count as one."""
        if self.organs is None:
            return {}
        known = self.organs.machine.neighbourhood.peers
        counts: dict[tuple[str, str], int] = {}
        for counter in (self.organs.machine.refused, self.organs.transport.traffic.refused):
            for (peer, reason), number in counter.copy().items():
                key = (str(peer) if peer in known else "stranger", reason)
                counts[key] = counts.get(key, 0) + number
        return counts

    def as_mapping(self) -> dict[str, object]:
        """All of it as plain values, for JSON."""
        plain: dict[str, object] = {
            "live": self.live,
            "ready": self.ready,
            "phase": self.phase,
            "waiting_for": self.waiting_for(),
            "last_update_age_s": _rounded(self.update_age_s()),
            "event_loop_gap_max_s": _rounded(self.gap_max_s),
        }
        organs = self.organs
        if organs is None:
            return plain
        link, tally, worker = organs.transport.link_state, organs.tally, organs.worker
        return plain | {
            "node": str(tally.node),
            "run": organs.transport.run,
            "broker": {"connected": link.connected, "reconnects": link.reconnects},
            "version": organs.machine.version,
            "updates": tally.versions,
            "steps": organs.machine.steps,
            "loss": _rounded(worker.loss),
            "staleness": {
                "last": _rounded(tally.staleness),
                "max": _rounded(tally.staleness_max),
                "bound": _rounded(organs.machine.settings.policy.limit),
            },
            "outcome": tally.outcome,
            "neighbours": {peer.node: peer.as_mapping() for peer in self.neighbours()},
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class NeighbourHealth:
    """One neighbour as this node sees it."""

    node: str
    live: bool
    version: int
    """The newest that it has told of; -1: none."""
    age_s: float
    """Of its newest model; inf: none is held, or it has shown no life since it was retained."""
    missed: float
    """The age in its own publish periods."""

    def as_mapping(self) -> dict[str, object]:
        """As plain values."""
        return {
            "live": self.live,
            "version": self.version,
            "age_s": _rounded(self.age_s),
            "missed": _rounded(self.missed),
        }


def _seen(peer: Peer, now: float, *, since_s: float) -> NeighbourHealth:
    age_s = peer.age_s(now)
    return NeighbourHealth(
        node=str(peer.node),
        live=peer.incarnation is not None and peer.live(now, since_s=since_s),
        version=peer.version,
        age_s=age_s,
        missed=peer.policy.missed(age_s, peer.period_s),
    )


def health_port(experiment: Experiment, node: str) -> int | None:
    """Where the experiment lets this node answer: the first at `health.port`, each next one above.

    Raises:
        ConfigError: so many nodes do not fit below port 65536.
    """
    first = experiment.config.health.port
    if first is None:
        return None
    port = first + list(experiment.places).index(experiment.place(node).node)
    if port > 65535:  # noqa: PLR2004 - TCP's last port
        raise ConfigError(
            f"health.port is {first}, which gives {node} the port {port}; allowed: up to 65535"
        )
    return port


def _now() -> float:
    return asyncio.get_running_loop().time()


def _rounded(number: float | None) -> float | None:
    """JSON knows neither infinity nor nan."""
    return None if number is None or not math.isfinite(number) else round(number, 6)
