"""Nodes of a synchronous algorithm in lockstep, without node core, network or clock."""

from collections.abc import Callable, Collection
from typing import Any

import numpy as np
from numpy.typing import NDArray

from p2pfl.algorithms.base import Algorithm, Local, Outgoing, Surroundings
from p2pfl.messages import Header, Incarnation, Neighbour
from p2pfl.types import NodeId, Vector

Gradient = Callable[[int, Vector], Vector]


class Society:
    """All nodes of a mixing matrix `[n, n]`, each with its state and what it has said last."""

    def __init__(
        self,
        rule: Algorithm[Any],
        weights: NDArray[np.float64],
        gradient: Gradient,
        *,
        dimension: int,
        rate: float = 0.05,
        local_steps: int = 1,
    ) -> None:
        self.gradient, self.rate, self.local_steps = gradient, rate, local_steps
        self.weights = weights
        self.heard = [
            [int(j) for j in np.flatnonzero(row) if j != i] for i, row in enumerate(weights)
        ]
        self.rules = [
            rule.at(
                Surroundings(
                    NodeId(f"n{i}"),
                    tuple((NodeId(f"n{j}"), float(weights[i, j])) for j in heard),
                    tuple(NodeId(f"n{j}") for j in heard),
                )
            )
            for i, heard in enumerate(self.heard)
        ]
        x0 = np.zeros(dimension, np.float32)
        self.states = [each.initial(x0) for each in self.rules]
        self.said: list[Outgoing] = [self._opening(i) for i in range(len(weights))]
        self.lives = [1] * len(weights)
        self.version = 0

    def step(
        self, *, left_out: Collection[tuple[int, int]] = (), dead: Collection[int] = ()
    ) -> None:
        """One version more; `left_out` has pairs (i, j) where i misses what j says."""
        missing = set(left_out)
        said = dict(enumerate(self.said))
        for i, rule in enumerate(self.rules):
            if i in dead:
                continue
            seen = [
                self._neighbour(i, j, heard=(i, j) not in missing and j not in dead)
                for j in self.heard[i]
            ]
            local = self._local(i)
            begun = rule.advance(self.states[i], local, seen)
            assert begun.train is not None
            x = begun.train.start
            for _ in range(self.local_steps):
                g = self.gradient(i, x)
                if begun.train.correction is not None:
                    g = g + begun.train.correction
                x = np.subtract(x, np.float32(self.rate) * g, dtype=np.float32)
            done = rule.finish(begun.state, local, seen, x)
            self.states[i] = done.state
            (said[i],) = done.outgoing
        self.said = [said[i] for i in range(len(self.rules))]
        self.version += 1

    def restart(self, i: int) -> None:
        """Node i is new, and has taken the model of its first neighbour."""
        rule = self.rules[i]
        fresh = rule.initial(np.zeros_like(self.said[i].vector))
        self.states[i] = rule.adopt(fresh, self.said[self.heard[i][0]].vector)
        self.lives[i] += 1
        self.said[i] = self._opening(i)

    def public(self) -> NDArray[np.float32]:
        """The nodes' own models, `[n, d]`."""
        return np.stack([r.public(s) for r, s in zip(self.rules, self.states, strict=True)])

    def _opening(self, i: int) -> Outgoing:
        (first,) = self.rules[i].opening(self.states[i])
        return first

    def _local(self, i: int) -> Local:
        return Local(
            NodeId(f"n{i}"),
            self.version,
            samples=1,
            steps=self.version * self.local_steps,
            local_steps=self.local_steps,
            step_sizes=lambda _, count: self.rate * count,
        )

    def _neighbour(self, i: int, j: int, *, heard: bool) -> Neighbour:
        name, weight, said = NodeId(f"n{j}"), float(self.weights[i, j]), self.said[j]
        if not heard:
            return Neighbour(name, weight, 0.0, False, False, self.version, None, None)
        header = Header(
            run="run",
            schema="schema",
            node=name,
            incarnation=Incarnation(self.lives[j], j),
            sequence=self.version,
            version=self.version,
            oldest_version=max(0, self.version - 1),
            sent_s=0.0,
            epoch=said.epoch,
            words=said.words,
        )
        return Neighbour(
            name, weight, 1.0, True, False, self.version, header, said.vector, said.extra
        )
