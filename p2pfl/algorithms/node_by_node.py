"""Whole rounds of any synchronous algorithm that reads nothing of its neighbours but their words.

What a node calls one by one, with messages and clocks between, is called here for all nodes in a
row. It suits an algorithm whose `advance`, `finish` and `served` look at nothing of a neighbour
but its weight, its vector with what lies beside it, and its header's epoch and incarnation; which
hands out one vector per version, and asks nothing of training but a start and a correction.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from p2pfl.algorithms.base import Advance, Algorithm, Local, Outgoing, TrainPlan
from p2pfl.algorithms.rounds import Held, Plan, Turn, Undecided
from p2pfl.messages import Header, Incarnation, Neighbour
from p2pfl.types import NodeId, Positions, Rows, Vector, aligned_rows, frozen

_LIFE = Incarnation(1, 0)


class NodeByNode:
    """The states of all nodes; see `Rounds`."""

    def __init__(self, x0: Vector, nodes: Mapping[NodeId, Algorithm[Any]]) -> None:
        self._names, self._rules = tuple(nodes), tuple(nodes.values())
        self._states: list[Any] = [rule.initial(x0) for rule in self._rules]
        self._headers: list[Header] = []
        self._seen: list[tuple[Neighbour, ...]] = []
        self._start = aligned_rows(len(nodes), x0.size)
        self._correction = aligned_rows(len(nodes), x0.size)
        self._parts: tuple[Rows, ...] = ()
        pairs = zip(self._rules, self._states, strict=True)
        self._hand_out([rule.opening(state) for rule, state in pairs], version=0)

    def handed_out(self) -> tuple[Rows, ...]:
        """The models, and what goes beside them."""
        return self._parts

    def begin(self, held: Held, turn: Turn) -> Plan:
        """Every node's `advance`.

        Raises:
            Undecided: one wants something else than to train from somewhere.
        """
        self._seen = [self._neighbours(row, held) for row in range(len(self._rules))]
        corrected = 0
        for row, rule in enumerate(self._rules):
            step = rule.advance(self._states[row], self._local(row, turn), self._seen[row])
            plan = step.train
            if plan is None or not _only_trains(step, plan):
                raise Undecided
            self._states[row] = step.state
            self._start[row] = plan.start
            if plan.correction is not None:
                self._correction[row] = plan.correction
                corrected += 1
        if corrected not in (0, len(self._rules)):
            raise Undecided
        return Plan(self._start, self._correction if corrected else None)

    def end(self, trained: Rows, turn: Turn) -> None:
        """Every node's `finish`.

        Raises:
            Undecided: one hands out something else than one vector to everybody.
        """
        said = []
        for row, rule in enumerate(self._rules):
            done = rule.finish(
                self._states[row],
                self._local(row, turn),
                self._seen[row],
                frozen(trained[row].copy()),
            )
            if done.mixed:
                raise Undecided
            self._states[row] = done.state
            said.append(done.outgoing)
        self._hand_out(said, version=turn.version + 1)

    def served(self, rows: Positions, held: Held) -> Rows:
        """What these nodes serve, with what they hold."""
        found = np.empty((len(rows), self._start.shape[1]), np.float32)
        for place, row in enumerate(rows.tolist()):
            seen = self._neighbours(row, held)
            found[place] = self._rules[row].served(self._states[row], seen)
        return found

    def public(self) -> Rows:
        """The nodes' own x."""
        pairs = zip(self._rules, self._states, strict=True)
        return np.stack([rule.public(state) for rule, state in pairs])

    def _hand_out(self, said: Sequence[Sequence[Outgoing]], *, version: int) -> None:
        """Stack what all nodes say, and remember what goes with it."""
        first = [each[0] for each in said if len(each) == 1]
        beside = [out.extra for out in first if out.extra is not None]
        plain = all(out == Outgoing(out.vector, extra=out.extra) for out in first)
        if not plain or len(first) < len(said) or len(beside) not in (0, len(said)):
            raise Undecided
        models = np.stack([out.vector for out in first])
        self._parts = (models, np.stack(beside)) if beside else (models,)
        self._headers = [
            Header("", "", name, _LIFE, version + 1, version, version, 0.0) for name in self._names
        ]

    def _neighbours(self, row: int, held: Held) -> tuple[Neighbour, ...]:
        """All neighbours of a node, in order; who is not there has no vector."""
        models, *beside = held.parts
        return tuple(
            Neighbour(
                peer=self._names[sender],
                weight=weight,
                trust=1.0 if there else 0.0,
                live=True,
                finished=False,
                version=self._headers[sender].version,
                header=self._headers[sender] if there else None,
                vector=models[sender] if there else None,
                extra=beside[0][sender] if there and beside else None,
            )
            for sender, weight, there in held.neighbours(row)
        )

    def _local(self, row: int, turn: Turn) -> Local:
        """What a node is told of itself; not the time, nor how much data it has."""
        steps, size = int(turn.local_steps[row]), float(turn.step_sizes[row])
        return Local(
            self._names[row],
            turn.version,
            0,
            turn.version * steps,
            steps,
            step_sizes=lambda _first, _count: size,
        )


def _only_trains(step: Advance[Any], plan: TrainPlan) -> bool:
    """True if nothing is asked for but to train, somewhere and with a correction."""
    only = TrainPlan(plan.start, plan.correction)
    return step == Advance(step.state, only, mixed=True)
