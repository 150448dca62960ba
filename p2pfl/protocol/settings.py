"""What a node is told once, as plain data."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from p2pfl.algorithms.base import no_steps
from p2pfl.protocol.staleness import StalenessPolicy
from p2pfl.types import NodeId


class Round(NamedTuple):
    """One round of a time-varying graph, as one node sees it."""

    neighbours: tuple[tuple[NodeId, float], ...]
    """(whom it hears in this round, w_ij), in the order in which they are mixed."""
    hearers: tuple[NodeId, ...]
    """Who hears it in this round."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSettings:
    """One node's place in one run. Weights and schedules reach the core as plain data."""

    run: str
    schema: str
    node: NodeId
    neighbours: tuple[tuple[NodeId, float], ...]
    """(peer, w_ij) in the order in which they are mixed; with `rounds`, everybody ever heard."""
    samples: int
    local_steps: int
    policy: StalenessPolicy
    steps_max: int | None = None
    """Finish after so many gradient steps; None: when the run ends."""
    digest: str = ""
    rounds: tuple[Round, ...] = ()
    """A time-varying graph, for synchronous algorithms: version k is mixed in round k modulo the
    number of rounds. Empty: the graph is constant."""
    versions_kept: int = 2
    """How many of its own last versions the node can hand out again: 2 where links go both ways
    and stay; more where a neighbour that it does not wait for may lag behind by several rounds."""
    step_sizes: Callable[[int, int], float] = no_steps
    """(first step, count) -> sum of the learning rates of these local steps."""
