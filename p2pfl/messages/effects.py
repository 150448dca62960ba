"""What a node wants done. The drivers perform these, in order, and nothing else."""

from typing import NamedTuple

from p2pfl.messages.model import ModelMessage, Presence, VersionRequest
from p2pfl.types import NodeId, Vector


class Train(NamedTuple):
    """Train from `start` for `steps` local steps and answer with `Trained(token)`.

    Training is a pure function of this effect and the node's optimizer state: minibatches are
    drawn by the counters `first_step .. first_step + steps - 1`. The driver commits the new
    optimizer state when it delivers `Trained`, so that a crash discards the result whole.
    """

    token: int
    start: Vector
    first_step: int
    steps: int
    correction: Vector | None = None
    """Added to every gradient, `[d]` (gradient tracking, control variates)."""
    fresh_optimizer: bool = False
    """Forget momentum first (a FedAvg client at each round)."""
    proximal: float = 0.0
    """mu: mu (x - start) is added to every gradient (FedProx)."""


class Publish(NamedTuple):
    """Hand this to every neighbour; retained, and the newest wins over unsent older ones."""

    message: ModelMessage | Presence


class Send(NamedTuple):
    """Hand this to one neighbour."""

    peer: NodeId
    message: ModelMessage | VersionRequest


class Wake(NamedTuple):
    """Answer with `Woken(token)` at `at_s` on the clock that `handle` is given."""

    at_s: float
    token: int


class Reading(NamedTuple):
    """How stale one neighbour's model was when it was mixed, in every unit at once."""

    peer: NodeId
    version: int
    weight: float
    """Effective weight, w_ij s_ij."""
    lag: int
    reads: int
    """Own mixes since the model came, before this event."""
    age_s: float
    missed: float


class Record(NamedTuple):
    """One mix, told with the staleness of everything that went into it."""

    version: int
    """The node's own version when it mixed."""
    staleness: float
    """The largest staleness mixed, in the unit of the policy's bound; 0 without neighbours."""
    readings: tuple[Reading, ...]
    left_out: tuple[NodeId, ...]
    """Neighbours whose model is held but was too old, or whose sender is gone."""


class Stop(NamedTuple):
    """The node's own work is done. It goes on answering until the driver ends the run."""

    reason: str


Effect = Train | Publish | Send | Wake | Record | Stop
