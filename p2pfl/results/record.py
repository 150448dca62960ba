"""The numbers of one run, with one meaning under both drivers.

Bytes: frames and part headers at the node; a publish counts once out, each receipt once in.
Work: gradient steps, and samples processed (steps times batch size).
Accuracy: of the *served* model at sample time, on the evaluation data.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from p2pfl.config.schema import ExperimentConfig
from p2pfl.types import NodeId, Vector

Role = Literal["node", "server"]


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSample:
    """One node at one evaluation time: a line of `metrics.jsonl`."""

    at_s: float
    node: NodeId
    version: int
    steps: int
    loss: float
    accuracy: float | None
    per_class: tuple[float, ...] = ()
    staleness_max: float = 0.0
    """The largest staleness mixed so far, in the unit of the bound."""
    out_bytes: int = 0
    in_bytes: int = 0
    alive: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkSample:
    """The whole network at one evaluation time. Nodes that are dead then are left out."""

    at_s: float
    accuracy_mean: float | None
    accuracy_worst: float | None
    accuracy_average_model: float | None
    """Accuracy of the mean of all nodes' x; None where the driver does not hold them all."""
    loss_mean: float
    consensus_distance: float | None
    """Root mean square distance of the nodes' x to their mean."""
    steps: int
    """Gradient steps of all nodes together."""
    bytes_total: int
    bytes_busiest: int
    """Bytes in and out at the endpoint that has most of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeTotals:
    """One node's whole run."""

    node: NodeId
    role: Role = "node"
    versions: int
    steps: int
    samples: int
    """Samples processed: gradient steps times batch size."""
    mixes: int
    staleness_max: float
    staleness_mean: float
    age_max_s: float
    left_out: int
    """How often a held model was left out of a mix because it was too old or its sender gone."""
    out_bytes: int
    in_bytes: int
    fan_out_bytes: int
    """What the broker made of the publishes; also their cost if sent one by one (unicast)."""
    control_bytes: int
    out_messages: int
    in_messages: int
    superseded: int = 0
    period_s: float = 0.0
    """Mean seconds from one local update to the next; 0: there were no two."""
    way_s: float = 0.0
    """Mean seconds that a large model took from here to the broker, or from it to here, whichever
    is longer; 0: none was so large that it went in parts, or bandwidth has no limit."""
    refused: Mapping[str, int] = field(default_factory=dict)
    """Dropped messages, by `peer: reason`."""
    labels: tuple[int, ...] = ()
    """How many training samples of each class the node holds; empty: there are no classes, or it
    told nobody (real nodes do not)."""
    outcome: str = "finished"
    """finished, or what befell the node: crashed, diverged: ..., lost."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """One run, whole. What its folder holds is made from this."""

    name: str
    label: str
    """The algorithm, as tables show it."""
    driver: Literal["simulation", "runtime"]
    seed: int
    config: ExperimentConfig
    dimension: int
    duration_s: float
    """Virtual seconds, or real ones from the start signal to the end."""
    wall_s: float
    staleness_bound: float
    """The bound that the run was held to (inf: none), in the unit named next."""
    staleness_unit: str
    curve: tuple[NetworkSample, ...]
    samples: tuple[NodeSample, ...]
    nodes: tuple[NodeTotals, ...]
    edges: tuple[tuple[NodeId, NodeId], ...]
    served: Mapping[NodeId, Vector] = field(default_factory=dict)
    """The models to hand out, Mix(x, x_j), at the end."""
    public: Mapping[NodeId, Vector] = field(default_factory=dict)
    """The nodes' own x at the end."""
    trace_hash: str = ""
    """Hash over all events and decisions in order; equal for equal seeds (simulation)."""
    notes: tuple[str, ...] = ()
    """What a reader must know of this run, such as nodes that were paced."""

    @property
    def staleness_max(self) -> float:
        """The largest staleness that was ever mixed, over all nodes."""
        return max((n.staleness_max for n in self.nodes), default=0.0)

    @property
    def learners(self) -> tuple[NodeTotals, ...]:
        """The nodes that hold data (no server)."""
        return tuple(n for n in self.nodes if n.role == "node")

    @property
    def final(self) -> NetworkSample:
        """The network at the end."""
        return self.curve[-1]

    @property
    def busiest(self) -> NodeTotals:
        """The endpoint with most bytes, in and out."""
        return max(self.nodes, key=lambda n: n.out_bytes + n.in_bytes)

    def time_to_s(self, target: float) -> float | None:
        """When the mean accuracy first reached the target; None: never."""
        for point in self.curve:
            if point.accuracy_mean is not None and point.accuracy_mean >= target:
                return point.at_s
        return None
