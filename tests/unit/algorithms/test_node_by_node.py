"""All nodes in a row do what each does alone, or say that they cannot."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pfl.algorithms.base import Advance, Finish, Local, Outgoing, TrainPlan, VectorAlgorithm
from p2pfl.algorithms.d2 import D2
from p2pfl.algorithms.dsgdm import DSGDm
from p2pfl.algorithms.gradient_tracking import GradientTracking
from p2pfl.algorithms.node_by_node import NodeByNode
from p2pfl.algorithms.qg_dsgdm import QGDSGDm
from p2pfl.algorithms.rounds import Held, Rounds, Turn, Undecided
from p2pfl.algorithms.rows import RowMix, links_of
from p2pfl.algorithms.sgp import SGP
from p2pfl.messages import Header, Incarnation, Neighbour
from p2pfl.types import NodeId, Vector

RING = links_of([[(2, 1 / 3), (1, 1 / 3)], [(0, 1 / 3), (2, 1 / 3)], [(1, 1 / 3), (0, 1 / 3)]])
NAMES = [NodeId(f"n{i}") for i in range(3)]
D = 7


def held_by_all(rounds: Rounds) -> Held:
    return Held(rounds.handed_out(), RING, None, RowMix(RING, D))


def turn(version: int) -> Turn:
    return Turn(version, np.array([2, 2, 2]), np.array([0.1, 0.1, 0.1]))


def seen(row: int, said: Sequence[Outgoing], version: int, *, absent: int = -1) -> list[Neighbour]:
    """What a real node would be shown of its neighbours."""
    found = []
    for sender, weight in zip(RING.sender[2 * row : 2 * row + 2], RING.weight, strict=False):
        out, name = said[sender], NAMES[sender]
        header = Header("run", "s", name, Incarnation(4, 2), version + 1, version, version, 1.0)
        there = sender != absent
        found.append(
            Neighbour(
                name,
                float(weight),
                float(there),
                True,
                False,
                version,
                header if there else None,
                out.vector if there else None,
                out.extra if there else None,
            )
        )
    return found


@pytest.mark.parametrize("rule", [DSGDm(), QGDSGDm(beta=0.7), GradientTracking(), D2(), SGP()])
@given(seed=st.integers(0, 1000))
@settings(max_examples=10, deadline=None)
def test_rounds_have_the_bits_of_each_node_alone(rule: Any, seed: int) -> None:  # noqa: ANN401
    rng = np.random.default_rng(seed)
    x0 = rng.standard_normal(D).astype(np.float32)
    rounds = rule.in_rounds(x0, dict.fromkeys(NAMES, rule))
    states = [rule.initial(x0)] * 3
    said = [rule.opening(state)[0] for state in states]
    for version in range(4):
        there = RING.sender != 1
        some = np.array([0, 2])
        partly = Held(rounds.handed_out(), RING, there, RowMix(RING.among(some, there), D))
        served = rounds.served(some, partly)
        for i, row in enumerate((0, 2)):
            wanted = rule.served(states[row], seen(row, said, version, absent=1))
            assert served[i].tobytes() == wanted.tobytes()
        plan = rounds.begin(held_by_all(rounds), turn(version))
        moves = rng.standard_normal((3, D)).astype(np.float32)
        plan.start[:] += moves
        rounds.end(plan.start, turn(version))
        ends = []
        for row in range(3):
            neighbours = seen(row, said, version)
            local = Local(
                NAMES[row], version, 9, 2 * version, 2, 3.0, step_sizes=lambda _first, _count: 0.1
            )
            begun = rule.advance(states[row], local, neighbours)
            if begun.train.correction is not None:
                assert plan.correction is not None
                assert plan.correction[row].tobytes() == begun.train.correction.tobytes()
            trained = begun.train.start + moves[row]
            ends.append(rule.finish(begun.state, local, neighbours, trained))
        states, said = [end.state for end in ends], [end.outgoing[0] for end in ends]
        for row, public in enumerate(rounds.public()):
            assert public.tobytes() == rule.public(states[row]).tobytes()
        for row, model in enumerate(rounds.handed_out()[0]):
            assert model.tobytes() == said[row].vector.tobytes()


@dataclass(frozen=True, slots=True)
class Own(VectorAlgorithm):
    """Does at one place what rounds do not have."""

    opens: tuple[Outgoing, ...] | None = None
    begins: Advance[Vector] | None = None
    mixes_at_the_end: bool = False
    corrects: Mapping[NodeId, bool] | None = None

    def in_rounds(self, x0: Vector, nodes: Mapping[NodeId, Self]) -> Rounds:
        return NodeByNode(x0, nodes)

    def opening(self, state: Vector) -> Sequence[Outgoing]:
        return (Outgoing(state),) if self.opens is None else self.opens

    def advance(
        self, state: Vector, local: Local, neighbours: Sequence[Neighbour]
    ) -> Advance[Vector]:
        if self.begins is not None:
            return self.begins
        corrects = self.corrects is not None and self.corrects[local.node]
        plan = TrainPlan(state, correction=state if corrects else None)
        return Advance(state, train=plan, mixed=True)

    def finish(
        self, state: Vector, local: Local, neighbours: Sequence[Neighbour], trained: Vector
    ) -> Finish[Vector]:
        return Finish(trained, (Outgoing(trained),), mixed=self.mixes_at_the_end)


ZERO = np.zeros(D, np.float32)


@pytest.mark.parametrize(
    "opens",
    [(), (Outgoing(ZERO),) * 2, (Outgoing(ZERO, words=(1,)),), (Outgoing(ZERO, to=(NAMES[1],)),)],
)
def test_who_says_something_else_than_one_vector_to_all_goes_event_by_event(
    opens: tuple[Outgoing, ...],
) -> None:
    rule = Own(opens=opens)
    with pytest.raises(Undecided):
        rule.in_rounds(ZERO, dict.fromkeys(NAMES, rule))


def test_something_beside_the_model_at_some_nodes_only_goes_event_by_event() -> None:
    rules = [Own(), Own(opens=(Outgoing(ZERO, extra=ZERO),)), Own()]
    with pytest.raises(Undecided):
        NodeByNode(ZERO, dict(zip(NAMES, rules, strict=True)))


@pytest.mark.parametrize(
    "rule",
    [
        Own(begins=Advance(ZERO)),
        Own(begins=Advance(ZERO, finished=True)),
        Own(begins=Advance(ZERO, train=TrainPlan(ZERO))),
        Own(begins=Advance(ZERO, train=TrainPlan(ZERO, proximal=0.5), mixed=True)),
        Own(begins=Advance(ZERO, train=TrainPlan(ZERO, steps=3), mixed=True)),
        Own(corrects={NAMES[0]: True, NAMES[1]: False, NAMES[2]: True}),
    ],
)
def test_who_wants_something_else_than_to_train_goes_event_by_event(rule: Own) -> None:
    rounds = rule.in_rounds(ZERO, dict.fromkeys(NAMES, rule))
    with pytest.raises(Undecided):
        rounds.begin(held_by_all(rounds), turn(0))


def test_who_mixes_at_the_end_goes_event_by_event() -> None:
    rule = Own(mixes_at_the_end=True)
    rounds = rule.in_rounds(ZERO, dict.fromkeys(NAMES, rule))
    plan = rounds.begin(held_by_all(rounds), turn(0))
    with pytest.raises(Undecided):
        rounds.end(plan.start, turn(0))
