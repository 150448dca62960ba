"""All that a node is, at one moment: from it the same node goes on as if nothing had happened."""

from dataclasses import dataclass
from typing import Any

from p2pfl.protocol.peers import Peer
from p2pfl.protocol.phase import Phase
from p2pfl.protocol.voice import Voice


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class NodeSnapshot:
    """What `Node.snapshot` gives and `Node.resume` takes; shares only what nobody changes."""

    phase: Phase
    version: int
    steps: int
    state: Any
    """The algorithm's state, immutable by contract."""
    peers: tuple[Peer, ...]
    voice: Voice
    update_steps: int
    refused: tuple[tuple[tuple[str, str], int], ...]
    staleness_max: float
    training: int
    beat: int
    rejoin_until_s: float
    remembers: bool
    since_s: float
