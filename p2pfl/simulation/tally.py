"""What one simulated node's run adds up to, over all its lives."""

from dataclasses import dataclass

from p2pfl.messages import Record
from p2pfl.results.record import NodeTotals, Role
from p2pfl.simulation.network import Endpoint
from p2pfl.types import NodeId


@dataclass(slots=True)
class Tally:
    """Counts that survive a crash: they belong to the run, not to one life of the node."""

    node: NodeId
    role: Role
    versions: int = 0
    steps: int = 0
    samples: int = 0
    mixes: int = 0
    staleness_max: float = 0.0
    staleness_sum: float = 0.0
    readings: int = 0
    age_max_s: float = 0.0
    left_out: int = 0
    outcome: str = "running"

    def add_mix(self, record: Record) -> None:
        """Count one mix with the staleness of what went into it."""
        self.mixes += 1
        self.staleness_max = max(self.staleness_max, record.staleness)
        self.left_out += len(record.left_out)
        self.readings += len(record.readings)
        self.staleness_sum += record.staleness
        for reading in record.readings:
            self.age_max_s = max(self.age_max_s, reading.age_s)

    def totals(self, endpoint: Endpoint, refused: dict[str, int]) -> NodeTotals:
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
            refused=refused,
            outcome=self.outcome,
        )
