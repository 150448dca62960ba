"""Who sends a model, which one it is, and when it left: the frame's header as plain data."""

from dataclasses import dataclass
from typing import NamedTuple

from p2pfl.types import NodeId


@dataclass(frozen=True, slots=True, order=True)
class Incarnation:
    """One life of a node: `counter` is one above its last retained presence, `nonce` is random.

    The order is lexicographic; no wall clock is asked. Two lives with one counter (both missed the
    retained presence) are ordered by their nonces, the same way at every peer.
    """

    counter: int
    nonce: int


class Header(NamedTuple):
    """What a receiver must know of a model, besides its numbers."""

    run: str
    """The experiment's name and its random id: yesterday's retained models never mix in."""
    schema: str
    """Hash of the model's parameter names, shapes and dtypes."""
    node: NodeId
    incarnation: Incarnation
    sequence: int
    """Position among this incarnation's models; grows by one with every model sent."""
    version: int
    """Number of completed local updates, k (for a server: of completed rounds)."""
    oldest_version: int
    """The oldest version that the sender can still hand out (its last one, or
    more where versions are matched)."""
    sent_s: float
    """When the model was made, on the sender's monotonic clock. Comparable only with itself."""
    period_s: float = 0.0
    """The sender's publish period, an exponential moving average in seconds; 0: unknown."""
    kind: str = "model"
    """What the vector is: `model`, or a word of the algorithm's own, such as `update`."""
    local_steps: int = 0
    """Local gradient steps in this version, H."""
    samples: int = 0
    """Number of training samples that the sender holds."""
    degree: int = 0
    epoch: int = 0
    """Membership epoch, for algorithms that reset on membership change."""
    words: tuple[int, ...] = ()
    """Whole numbers of the algorithm's own: acknowledgements, an age; at most 1,024."""
    trusts: tuple[tuple[NodeId, float], ...] = ()
    """s_ij that the sender gives its neighbours, where it is below 1 (reciprocal discounts)."""
