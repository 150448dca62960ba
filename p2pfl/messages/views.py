"""What an algorithm may see: its neighbours as the staleness policy lets it see them."""

from typing import NamedTuple

from p2pfl.messages.header import Header
from p2pfl.types import Extra, NodeId, Vector


class Neighbour(NamedTuple):
    """One neighbour at one moment.

    `trust` is s_ij in [0, 1]: 0 if there is no model yet, or if it is too old to be used. The
    vector is then None, so that a stale model cannot be used by mistake.
    """

    peer: NodeId
    weight: float
    """w_ij of the mixing matrix."""
    trust: float
    live: bool
    """False once its sender is gone: dead beyond the grace period, silent too long, or left."""
    finished: bool
    version: int
    """The newest version that the peer has told of, in a model or a beat."""
    header: Header | None
    vector: Vector | None
    extra: Extra | None = None
    """What came beside the vector; None where the vector is None."""
