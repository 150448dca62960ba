"""Rules in rounds have the bits of the same rules node by node."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pfl.algorithms.base import Local, Surroundings
from p2pfl.algorithms.rounds import Held, Turn
from p2pfl.algorithms.rows import RowMix, links_of
from p2pfl.algorithms.suite import GOSSIPS
from p2pfl.messages import Header, Incarnation, Neighbour
from p2pfl.types import NodeId

IN_ROUNDS = [kind for kind, each in GOSSIPS.items() if "in_rounds" in vars(each.rule)]
NODES, NUMBERS = 6, 11
SCALES = (1.0, 2.0, 1.0, 0.5, 1.0, 1.0)
STEPS = (1, 2, 3, 1, 1, 4)


def sums_of(rate: float) -> Callable[[int, int], float]:
    """The step sizes of a constant learning rate."""
    return lambda _, count: rate * count


def heard(neighbours: list[tuple[int, float]], said: list[Any]) -> list[Neighbour]:
    seen = []
    for j, weight in neighbours:
        name, (out,) = NodeId(f"n{j}"), said[j]
        header = Header("run", "schema", name, Incarnation(1, j), 1, 1, 0, 0.0)
        seen.append(Neighbour(name, weight, 1.0, True, False, 0, header, out.vector, out.extra))
    return seen


@pytest.mark.parametrize("kind", IN_ROUNDS)
@given(seed=st.integers(0, 1000))
@settings(max_examples=15, deadline=None)
def test_a_rule_in_rounds_has_the_bits_of_the_rule_node_by_node(kind: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    links = [
        [(int(j), float(rng.uniform(0.0, 0.3))) for j in rng.permutation(NODES)[:3] if j != i]
        for i in range(NODES)
    ]
    x0 = rng.standard_normal(NUMBERS).astype(np.float32)
    rules = [
        GOSSIPS[kind].rule().at(Surroundings(NodeId(f"n{i}"), scale=scale))
        for i, scale in enumerate(SCALES)
    ]
    states = [rule.initial(x0) for rule in rules]
    said = [rule.opening(state) for rule, state in zip(rules, states, strict=True)]
    rounds = rules[0].in_rounds(x0, {NodeId(f"n{i}"): rule for i, rule in enumerate(rules)})
    table, some = links_of(links), np.array([4, 1])
    everything = np.ones(len(table.sender), np.bool_)
    for k in range(5):
        # The last node's schedule has come to its end after two rounds.
        rates = np.array([0.1] * 5 + [0.1 if k < 2 else 0.0])
        sizes = rates * np.array(STEPS)
        parts = tuple(each.copy() for each in rounds.handed_out())
        chosen = RowMix(table.among(some, everything), NUMBERS)
        served = rounds.served(some, Held(parts, table, everything, chosen))
        turn = Turn(k, np.array(STEPS), sizes)
        plan = rounds.begin(Held(parts, table, None, RowMix(table, NUMBERS)), turn)
        starts = plan.start.copy()
        corrections = None if plan.correction is None else plan.correction.copy()
        moves = rng.standard_normal((NODES, NUMBERS)).astype(np.float32)
        plan.start[:] += moves
        rounds.end(plan.start, turn)
        before = list(said)
        for i, rule in enumerate(rules):
            local = Local(
                NodeId(f"n{i}"), k, 1, k * STEPS[i], STEPS[i], 0.0, sums_of(float(rates[i]))
            )
            seen = heard(links[i], before)
            if i in (4, 1):
                own = rule.served(states[i], seen)
                assert served[(4, 1).index(i)].tobytes() == own.tobytes()
            begun = rule.advance(states[i], local, seen)
            assert starts[i].tobytes() == begun.train.start.tobytes()
            added = begun.train.correction
            if added is not None:
                assert corrections is not None
                assert np.array_equal(corrections[i], added)
            done = rule.finish(begun.state, local, seen, begun.train.start + moves[i])
            states[i], said[i] = done.state, done.outgoing
        public = np.stack([rule.public(s) for rule, s in zip(rules, states, strict=True)])
        assert rounds.public().tobytes() == public.tobytes()
        for i, (out,) in enumerate(said):
            models, *beside = rounds.handed_out()
            assert models[i].tobytes() == out.vector.tobytes()
            assert [each[i].tobytes() for each in beside] == (
                [] if out.extra is None else [out.extra.tobytes()]
            )
