"""Pairs that average: nothing of their sum is lost, whatever happens to messages."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pfl.algorithms.ad_psgd import ADPSGD, ASK, Pairing
from p2pfl.algorithms.base import NOWHERE, Local, Outgoing
from p2pfl.algorithms.fixed_point import BITS, difference, mass_of
from p2pfl.messages import Header, Incarnation, ModelMessage, Neighbour
from p2pfl.types import NodeId, Vector

A, B = NodeId("a"), NodeId("b")
FIRST = Incarnation(1, 1)


def vector(*values: float) -> Vector:
    return np.array(values, np.float32)


class Pair:
    """Two nodes and the messages between them, delivered as a test likes."""

    def __init__(self, a: float, b: float) -> None:
        self.rule = ADPSGD(place=NOWHERE._replace(seed=5))
        self.states = {A: self.rule.initial(vector(a)), B: self.rule.initial(vector(b))}
        self.lives = {A: FIRST, B: FIRST}
        self.sent: list[tuple[NodeId, ModelMessage]] = []
        self.updates = {A: 0, B: 0}
        self.moved = mass_of(vector(0.0))

    def update(self, node: NodeId, moves: float = 0.0) -> None:
        """One local update that moves the model, and the ask after it."""
        other = B if node == A else A
        begun = self.rule.advance(self.states[node], self.here(node), ()).state
        assert begun.start is not None
        trained = begun.start + vector(moves)
        seen = (Neighbour(other, 0.5, 1.0, True, False, 0, None, None),)
        self.moved = self.moved + mass_of(trained - begun.start)
        done = self.rule.finish(begun, self.here(node), seen, trained)
        self.states[node] = done.state
        self.updates[node] += 1
        self.post(node, done.outgoing)

    def here(self, node: NodeId) -> Local:
        return Local(node, version=self.updates[node], samples=1, steps=0)

    def post(self, node: NodeId, outgoing: Sequence[Outgoing]) -> None:
        for out in outgoing:
            header = Header(
                run="r",
                schema="s",
                node=node,
                incarnation=self.lives[node],
                sequence=len(self.sent) + 1,
                version=self.updates[node],
                oldest_version=0,
                sent_s=0.0,
                kind=out.kind,
                words=out.words,
            )
            self.sent.append((out.to[0], ModelMessage(header, out.vector, out.extra)))

    def deliver(self, number: int, *, usable: bool = True) -> None:
        """One of the messages ever sent, perhaps again."""
        to, message = self.sent[number]
        heard = self.rule.hear(self.states[to], self.here(to), message, usable=usable)
        self.states[to] = heard.state
        self.post(to, list(heard.outgoing))

    def x(self) -> tuple[float, float]:
        return float(self.states[A].x[0]), float(self.states[B].x[0])

    def on_the_way(self) -> int:
        """What one has taken and the other has not given yet."""
        total = 0
        for giver, taker in ((A, B), (B, A)):
            mine = self.states[taker].accounts.get(giver)
            theirs = self.states[giver].accounts.get(taker)
            if mine is not None:
                seen = theirs.seen if theirs is not None else np.zeros(1, np.uint32)
                total += int(difference(mine.flow, seen)[0]) << BITS
        return total


def test_both_meet_half_way() -> None:
    pair = Pair(0.0, 4.0)
    pair.update(A)
    pair.deliver(0)
    assert pair.x() == (0.0, 2.0)
    pair.deliver(1)
    assert pair.x() == (2.0, 2.0)
    assert pair.states[A].asked is None


def test_an_ask_whose_answer_is_lost_is_repeated_and_answered_with_the_same() -> None:
    pair = Pair(0.0, 4.0)
    pair.update(A)
    pair.deliver(0)
    pair.update(A)
    assert pair.sent[2][1].header.words[0] == 1
    pair.deliver(2)
    assert pair.x() == (0.0, 2.0)
    pair.deliver(3)
    assert pair.x() == (2.0, 2.0)


def test_both_may_ask_at_once_and_train_meanwhile() -> None:
    pair = Pair(0.0, 4.0)
    pair.update(A)
    pair.update(B)
    pair.deliver(0)
    pair.deliver(1)
    pair.update(A, 1.0)
    pair.deliver(2)
    pair.deliver(3)
    assert sum(pair.x()) == 5.0


def test_an_answer_is_not_answered_and_a_model_too_old_is_not_averaged() -> None:
    pair = Pair(0.0, 4.0)
    pair.update(A)
    pair.deliver(0, usable=False)
    assert len(pair.sent) == 1
    pair.deliver(0)
    pair.deliver(1)
    assert len(pair.sent) == 2


def test_a_dead_partner_is_not_waited_for() -> None:
    pair = Pair(0.0, 4.0)
    pair.update(A)
    begun = pair.rule.advance(pair.states[A], pair.here(A), ()).state
    gone = (Neighbour(B, 0.5, 0.0, False, False, 0, None, None),)
    done = pair.rule.finish(begun, pair.here(A), gone, begun.x)
    assert done.outgoing == ()
    assert done.state.asked is None


def test_a_partner_that_came_back_begins_anew() -> None:
    pair = Pair(0.0, 4.0)
    pair.update(A)
    pair.deliver(0)
    pair.deliver(1)
    pair.lives[B] = Incarnation(2, 1)
    pair.states[B] = pair.rule.resumed(pair.states[B])
    pair.updates[B] = 7
    pair.update(A, 2.0)
    pair.deliver(2)
    assert pair.x() == (4.0, 3.0)
    pair.deliver(3)
    assert pair.x() == (3.0, 3.0)
    again = pair.rule.adopt(pair.states[B], vector(9.0))
    assert again.x == vector(9.0)
    assert again.back


def test_who_came_back_does_not_give_what_was_taken_before() -> None:
    pair = Pair(0.0, 4.0)
    pair.update(A)
    pair.deliver(0)
    pair.lives[A] = Incarnation(2, 1)
    pair.states[A] = pair.rule.resumed(pair.states[A])
    pair.update(A)
    pair.deliver(2)
    pair.deliver(3)
    assert pair.x() == (0.0, 1.0)


def test_a_message_without_words_changes_nothing() -> None:
    pair = Pair(0.0, 4.0)
    pair.update(A)
    _, message = pair.sent[0]
    bare = ModelMessage(message.header, message.vector, None)
    state = pair.states[B]
    assert pair.rule.hear(state, pair.here(B), bare, usable=True).state is state
    assert pair.rule.served(state, ()) == vector(4.0)
    assert pair.rule.opening(state) == ()


MOVES = st.lists(
    st.one_of(
        st.tuples(st.just("update"), st.sampled_from([A, B]), st.floats(-3.0, 3.0, width=32)),
        st.tuples(st.just("deliver"), st.integers(0, 40), st.booleans()),
    ),
    max_size=40,
)


@given(MOVES)
def test_the_pairs_sum_is_conserved_to_the_last_bit(moves: list[tuple[str, int, float]]) -> None:
    pair = Pair(0.3, -1.7)
    before = int(sum(state.mass[0] for state in pair.states.values()))
    newest: dict[tuple[NodeId, str], int] = {}
    for what, which, how in moves:
        if what == "update":
            pair.update(NodeId(str(which)), float(how))
        elif which < len(pair.sent):
            to, message = pair.sent[which]
            # A late message never gets through to the algorithm; a lost one is simply not here.
            if message.header.sequence > newest.get((to, ""), 0):
                newest[to, ""] = message.header.sequence
                pair.deliver(which, usable=bool(how))
    states: list[Pairing] = list(pair.states.values())
    now = int(sum(state.mass[0] for state in states)) - int(pair.moved[0])
    # What was taken by one and not yet given by the other is on its way.
    assert now - pair.on_the_way() == before


def test_asks_and_answers_are_of_two_kinds() -> None:
    pair = Pair(0.0, 4.0)
    pair.update(A)
    pair.deliver(0)
    assert pair.sent[0][1].header.kind == ASK
    assert pair.sent[1][1].header.kind != ASK
    assert pair.rule.capabilities.reacts
    assert pytest.approx(2.0) == pair.x()[1]


def test_an_update_counts_by_its_time_where_it_is_to() -> None:
    rule = ADPSGD(step="elapsed").at(NOWHERE._replace(update_s=2.0))

    def at(now_s: float) -> Local:
        return Local(A, version=0, samples=1, steps=0, now_s=now_s)

    begun = rule.advance(rule.initial(vector(0.0)), at(1.0), ()).state
    done = rule.finish(begun, at(7.0), (), vector(1.0)).state
    np.testing.assert_allclose(done.x, 3.0, rtol=1e-6)
    later = rule.advance(done, at(7.5), ()).state
    assert later.since_s == 7.0
