"""What one node's run adds up to: the mixes with their staleness, and the work."""

# ruff: noqa: PLR1730 - this runs at every mix of every node; max() costs five comparisons

from dataclasses import dataclass
from typing import Protocol

from p2pfl.messages import Record
from p2pfl.results.record import NodeTotals, Role
from p2pfl.types import NodeId


class Endpoint(Protocol):
    """Bytes and messages at one endpoint, as either driver counts them."""

    @property
    def out_bytes(self) -> int:
        """Bytes out; a publish counts once."""
        ...

    @property
    def in_bytes(self) -> int:
        """Bytes in."""
        ...

    @property
    def fan_out_bytes(self) -> int:
        """Bytes out times receivers."""
        ...

    @property
    def control_bytes(self) -> int:
        """Bytes of what is no model, in and out."""
        ...

    @property
    def out_messages(self) -> int:
        """Messages out."""
        ...

    @property
    def in_messages(self) -> int:
        """Messages in."""
        ...


@dataclass(slots=True)
class Tally:
    """Counts of one node. Those of a simulated one span its lives, those of a process its own."""

    node: NodeId
    role: Role
    versions: int = 0
    steps: int = 0
    samples: int = 0
    mixes: int = 0
    staleness: float = 0.0
    """Of the last mix."""
    staleness_max: float = 0.0
    staleness_sum: float = 0.0
    readings: int = 0
    age_max_s: float = 0.0
    left_out: int = 0
    period_s: float = 0.0
    outcome: str = "running"

    def add_mix(self, record: Record) -> None:
        """Count one mix with the staleness of what went into it."""
        _, staleness, readings, left_out = record
        self.mixes += 1
        self.staleness = staleness
        if staleness > self.staleness_max:
            self.staleness_max = staleness
        self.left_out += len(left_out)
        self.readings += len(readings)
        self.staleness_sum += staleness
        age_max_s = self.age_max_s
        for _, _, _, _, _, age_s, _ in readings:
            if age_s > age_max_s:
                self.age_max_s = age_max_s = age_s

    def totals(
        self,
        endpoint: Endpoint,
        refused: dict[str, int],
        *,
        superseded: int = 0,
        way_s: float = 0.0,
    ) -> NodeTotals:
        """The node's line of the run's summary."""
        return NodeTotals(
            node=self.node,
            role=self.role,
            versions=self.versions,
            steps=self.steps,
            samples=self.samples,
            mixes=self.mixes,
            staleness_max=self.staleness_max,
            staleness_mean=self.staleness_sum / self.mixes if self.mixes else 0.0,
            age_max_s=self.age_max_s,
            left_out=self.left_out,
            out_bytes=endpoint.out_bytes,
            in_bytes=endpoint.in_bytes,
            fan_out_bytes=endpoint.fan_out_bytes,
            control_bytes=endpoint.control_bytes,
            out_messages=endpoint.out_messages,
            in_messages=endpoint.in_messages,
            superseded=superseded,
            period_s=self.period_s,
            way_s=way_s,
            refused=refused,
            outcome=self.outcome,
        )
