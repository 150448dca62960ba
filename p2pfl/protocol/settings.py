"""What a node is told once, as plain data."""

from dataclasses import dataclass

from p2pfl.protocol.staleness import StalenessPolicy
from p2pfl.types import NodeId


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSettings:
    """One node's place in one run. Weights and schedules reach the core as plain data."""

    run: str
    schema: str
    node: NodeId
    neighbours: tuple[tuple[NodeId, float], ...]
    """(peer, w_ij) in the order in which they are mixed."""
    samples: int
    local_steps: int
    policy: StalenessPolicy
    steps_max: int | None = None
    """Finish after so many gradient steps; None: when the run ends."""
    digest: str = ""
