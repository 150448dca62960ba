"""Whatever the network does to messages, push-sum loses and invents no mass, to the last bit."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.views import here, seen

from p2pfl.algorithms.base import Outgoing, Surroundings
from p2pfl.algorithms.fixed_point import Mass, difference, in_own_steps, mass_of, no_sums
from p2pfl.algorithms.push_sum import PushState, RobustPushSum
from p2pfl.messages import Header, Incarnation, ModelMessage
from p2pfl.types import NodeId

HEARERS = {"n0": ("n1", "n2"), "n1": ("n2",), "n2": ("n0",)}
"""One-way links, but for those between n0 and n2."""


class Letter(NamedTuple):
    """A message on its way."""

    to: str
    message: ModelMessage


class Society:
    """Three nodes, and a network that keeps every message for as long as it likes."""

    def __init__(self, rule: RobustPushSum) -> None:
        self.rules = {}
        self.states: dict[str, PushState] = {}
        for node, hearers in HEARERS.items():
            heard = tuple((NodeId(p), 0.5) for p, theirs in HEARERS.items() if node in theirs)
            place = Surroundings(NodeId(node), heard, tuple(NodeId(h) for h in hearers))
            self.rules[node] = rule.at(place)
            self.states[node] = self.rules[node].initial(np.ones(2, np.float32))
        self.letters: list[Letter] = []
        self.newest: dict[tuple[str, str], int] = {}
        self.sent = 0
        self.stepped = len(HEARERS) * mass_of(np.ones(3, np.float32))
        self.now_s = 0.0

    def update(self, node: str, moved: float) -> None:
        """The node steps and says what it has to say."""
        self.now_s += 1.0
        rule, state = self.rules[node], self.states[node]
        local = here(node=node, now_s=self.now_s)
        state = rule.advance(state, local, []).state
        everybody = [seen(peer, None) for peer in HEARERS if peer != node]
        trained = state.start + np.float32(moved)
        done = rule.finish(state, local, everybody, trained)
        self.stepped[:-1] += mass_of(trained - state.start)
        self.states[node] = done.state
        for out in done.outgoing:
            self._post(node, out)

    def _post(self, node: str, out: Outgoing) -> None:
        self.sent += 1
        header = Header(
            run="r",
            schema="s",
            node=NodeId(node),
            incarnation=Incarnation(1, 1),
            sequence=self.sent,
            version=0,
            oldest_version=0,
            sent_s=0.0,
            words=out.words,
        )
        self.letters += [Letter(to, ModelMessage(header, out.vector, out.extra)) for to in out.to]

    def deliver(self, number: int) -> None:
        """One of all letters ever sent arrives, maybe again; a node takes only what is newer."""
        if not self.letters:
            return
        to, message = self.letters[number % len(self.letters)]
        link = (message.header.node, to)
        if message.header.sequence <= self.newest.get(link, 0):
            return
        self.newest[link] = message.header.sequence
        heard = self.rules[to].hear(self.states[to], here(), message, usable=True)
        self.states[to] = heard.state

    def total(self) -> Mass:
        """What all nodes hold, and what is on the links."""
        total: Mass = sum((s.mass for s in self.states.values()), on_links(self.states))
        return total


def on_links(states: Mapping[str, PushState]) -> Mass:
    total = np.zeros(3, dtype=np.int64)
    for sender, state in states.items():
        for hearer, link in state.out.items():
            came = states[hearer].into.get(NodeId(sender))
            known = no_sums(link.sums.size) if came is None else came.sums
            total += in_own_steps(difference(link.sums, known))
    return total


OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(sorted(HEARERS)), st.floats(-3.0, 3.0, width=32)),
        st.integers(0, 10_000),
    ),
    max_size=60,
)


@pytest.mark.parametrize("window", [0, 1, 2])
@settings(max_examples=60)
@given(operations=OPERATIONS)
def test_all_mass_is_at_a_node_or_on_a_link(
    window: int, operations: list[tuple[str, float] | int]
) -> None:
    society = Society(RobustPushSum(window=window, step="x", step_max=1e9))
    for operation in operations:
        if isinstance(operation, int):
            society.deliver(operation)
        else:
            society.update(*operation)
        assert np.array_equal(society.total(), society.stepped)
        assert all(s.mass[-1] > 0 for s in society.states.values())
        for state in society.states.values():
            for link in state.out.values():
                assert window == 0 or link.pushes - link.acknowledged <= window
