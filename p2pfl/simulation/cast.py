"""The nodes of a run that is computed in rounds: what they are told, and how long their words are.

Every node is made as always and begins its life; what it says then is the pattern of all that it
will say.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from p2pfl.algorithms.base import Algorithm
from p2pfl.algorithms.rows import Links, links_of
from p2pfl.codec.frame import integer_bytes
from p2pfl.draws import draw_bits
from p2pfl.messages import (
    Incarnation,
    Message,
    ModelMessage,
    Presence,
    PresenceState,
    Publish,
    Started,
)
from p2pfl.protocol.node import Node
from p2pfl.protocol.settings import NodeSettings
from p2pfl.simulation.accounts import Sizes
from p2pfl.types import NodeId


@dataclass(frozen=True, slots=True, eq=False)
class Member:
    """One node, and its first words."""

    settings: NodeSettings
    algorithm: Algorithm[Any]
    model: ModelMessage
    presence: Presence


class Cast:
    """All nodes, in order."""

    def __init__(self, members: Sequence[Member], size_bytes: Callable[[Message], int]) -> None:
        self.members = tuple(members)
        self._size_bytes = size_bytes
        self._models: dict[tuple[int, ...], Sizes] = {}
        self._presences: dict[tuple[PresenceState, int], Sizes] = {}

    @property
    def names(self) -> tuple[NodeId, ...]:
        """The nodes' names."""
        return tuple(member.settings.node for member in self.members)

    def links(self) -> Links:
        """Who hears whom, with w_ij."""
        row = {name: i for i, name in enumerate(self.names)}
        return links_of(
            [
                [(row[peer], weight) for peer, weight in member.settings.neighbours]
                for member in self.members
            ]
        )

    def model_sizes(self, version: int) -> Sizes:
        """Bytes of each node's model of this version: counters take more as they grow."""
        older = max(0, version - 1)
        key = tuple(integer_bytes(number) for number in (older, version, version + 1))
        sizes = self._models.get(key)
        if sizes is None:
            sizes = self._models[key] = self._sizes(
                lambda member: replace(
                    member.model,
                    header=member.model.header._replace(
                        version=version, sequence=version + 1, oldest_version=older
                    ),
                )
            )
        return sizes

    def presence_sizes(self, state: PresenceState, version: int) -> Sizes:
        """Bytes of each node's sign of life at this version."""
        key = state, integer_bytes(version)
        sizes = self._presences.get(key)
        if sizes is None:
            sizes = self._presences[key] = self._sizes(
                lambda member: replace(member.presence, state=state, version=version)
            )
        return sizes

    def _sizes(self, said: Callable[[Member], Message]) -> Sizes:
        return np.array([self._size_bytes(said(member)) for member in self.members], np.int64)


def begin_life(node: Node, *, seed: int) -> Member | None:
    """Start a node at time 0; None: it says something else than one presence and one model."""
    life = Incarnation(1, draw_bits(seed, node.settings.node, "incarnation", 1))
    effects = node.handle(Started(life), 0.0)
    match [effect.message for effect in effects if isinstance(effect, Publish)]:
        case [Presence() as presence, ModelMessage() as model] if model.header.sequence == 1:
            return Member(node.settings, node.algorithm, model, presence)
        case _:
            return None
