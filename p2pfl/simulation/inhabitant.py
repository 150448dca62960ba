"""One node in the world, and what the world knows of it."""

from dataclasses import dataclass, field

from p2pfl.learning.trainer import TrainJob, TrainOutcome
from p2pfl.protocol.node import Node
from p2pfl.results.record import NodeTotals
from p2pfl.results.tally import Tally
from p2pfl.simulation.calendar import Action
from p2pfl.simulation.checkpoint import Checkpoint
from p2pfl.simulation.network import Endpoint
from p2pfl.types import NodeId, Vector


@dataclass(slots=True)
class Training:
    """One training under way; its outcome is computed when anybody's is first needed."""

    job: TrainJob
    token: int
    outcome: TrainOutcome | None = None


@dataclass(slots=True)
class Inhabitant:
    """One node in the world, through all its lives."""

    name: NodeId
    node: Node
    tally: Tally
    endpoint: Endpoint
    hearers: tuple[NodeId, ...]
    """Who has subscribed to what this node publishes."""
    alive: bool = True
    life: int = 1
    asleep: bool = False
    overdue: list[Action] = field(default_factory=list)
    """What fell due while the device slept, to happen when it wakes."""
    updates: int = 0
    """Trainings begun, over all lives: the counter of durations."""
    momentum: Vector | None = None
    training: Training | None = None
    checkpoint: Checkpoint | None = None

    def totals(self) -> NodeTotals:
        """The node's line of the run's summary."""
        refused = {f"{peer}: {why}": n for (peer, why), n in sorted(self.node.refused.items())}
        return self.tally.totals(self.endpoint, refused, superseded=self.endpoint.superseded)
