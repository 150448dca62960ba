"""SCAFFOLD: control variates cancel the clients' drift.

client:  each gradient gets c - c_i; after H steps of size gamma from w to y
         c_i+ = c_i - c + (w - y) / (gamma H), which is the mean gradient on its way
server:  w+ = w + eta sum_k p_k (y_k - w),    c = sum_i p_i c_i over the living clients

With plain SGD on smooth objectives the fixed point is the optimum, whatever H and participation.

A client tells c_i itself, not its change as in the paper, and the server keeps the last one of
each: then a lost, repeated or late answer does no lasting harm, and the control of a client that
died goes with it, instead of pulling for ever.

Source: Karimireddy, Kale, Mohri, Reddi, Stich, Suresh, "SCAFFOLD: stochastic controlled averaging
for federated learning", ICML 2020 (option II).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from p2pfl.algorithms.base import Beside, Capabilities, Local, TrainPlan
from p2pfl.algorithms.star_client import ClientState, RoundClient
from p2pfl.algorithms.star_rounds import Answer, RoundServer, ServerState, mean_update
from p2pfl.types import Extra, NodeId, Vector, frozen


class Control(NamedTuple):
    """One client's control variate, as it last told it."""

    vector: Extra
    weight: float


class Controls(NamedTuple):
    """What the server knows of the control variates."""

    common: Vector
    """c."""
    each: Mapping[NodeId, Control]


@dataclass(frozen=True, slots=True)
class ScaffoldServer(RoundServer[Controls]):
    """Its memory is the control variates."""

    server_learning_rate: float = 1.0
    """eta."""

    @property
    def capabilities(self) -> Capabilities:
        """A control variate goes beside each model."""
        return replace(_plain_capabilities(), reacts=True, selective=True)

    def remembered(self, x0: Vector) -> Controls:
        """c = 0."""
        return Controls(frozen(np.zeros_like(x0)), {})

    def beside(self, state: ServerState[Controls]) -> Extra:
        """c."""
        return state.memory.common

    def combined(
        self, state: ServerState[Controls], local: Local, answers: Sequence[Answer]
    ) -> tuple[Vector, Controls]:
        """Move by the mean update; c is the mean of what the living have told."""
        each = dict(state.memory.each)
        for answer in answers:
            assert answer.extra is not None
            each[answer.node] = Control(answer.extra, answer.weight)
        alive = [node for node in self.clients if local.look(node).live]
        known = [each[node] for node in alive if node in each]
        moved = mean_update(state.x, answers) * np.float32(self.server_learning_rate)
        common = _mean(known, like=state.x) * np.float32(len(known) / max(1, len(alive)))
        return frozen(state.x + moved), Controls(frozen(common), each)


@dataclass(frozen=True, slots=True)
class ScaffoldClient(RoundClient[Vector]):
    """Its memory is c_i."""

    @property
    def capabilities(self) -> Capabilities:
        """Reads the mean gradient off what training has moved."""
        return replace(_plain_capabilities(), plain_sgd=True)

    def remembered(self, x0: Vector) -> Vector:
        """c_i = 0."""
        return frozen(np.zeros_like(x0))

    def plan(self, state: ClientState[Vector]) -> TrainPlan:
        """Gradients get c - c_i."""
        return TrainPlan(state.x, correction=self._correction(state), fresh_optimizer=True)

    def learned(self, state: ClientState[Vector], local: Local, trained: Vector) -> Vector:
        """The mean gradient of the update."""
        if local.step_size == 0.0:
            return state.memory
        moved = (state.x - trained) / np.float32(local.step_size)
        return frozen(moved - self._correction(state))

    def told(self, memory: Vector) -> Extra:
        """c_i."""
        return memory

    def _correction(self, state: ClientState[Vector]) -> Vector:
        assert state.beside is not None
        return frozen(np.subtract(state.beside, state.memory, dtype=np.float32))


def _plain_capabilities() -> Capabilities:
    return Capabilities(undirected=False, central=True, beside=Beside("float32"))


def _mean(known: Sequence[Control], *, like: Vector) -> Vector:
    """sum p_i c_i, a new vector; zero if nothing is known."""
    result = np.zeros_like(like)
    total = sum(control.weight for control in known)
    for control in known:
        result += control.vector * np.float32(control.weight / total)
    return result
