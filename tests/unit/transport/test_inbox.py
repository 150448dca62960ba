"""What an inbox wants to be subscribed to."""

import pytest

from p2pfl.codec.frame import encode
from p2pfl.messages import Incarnation, Presence, PresenceState
from p2pfl.transport.base import Membership, Traffic
from p2pfl.transport.inbox import Inbox
from p2pfl.transport.link import Incoming
from p2pfl.types import NodeId

RUN, A, B = "demo-1a2b", NodeId("a"), NodeId("b")
PRESENCE, HEAD = f"p2pfl/1/{RUN}/b/presence", f"p2pfl/1/{RUN}/b/head"
OWN = [f"p2pfl/1/{RUN}/control", f"p2pfl/1/{RUN}/a/presence"]
"""Words said once: missed, a node would wait for ever, or two would live under one name."""


@pytest.fixture
def inbox() -> Inbox:
    made = Inbox(
        run=RUN,
        node=A,
        incarnation=Incarnation(1, 7),
        membership=Membership(neighbours=[B], schema="abc", dimension=10, digest="beef"),
        traffic=Traffic(),
        on_subscriptions=lambda: None,
        on_own_presence=print,
        on_claim=print,
    )
    made.on_connected()
    return made


def test_all_that_it_is_unsure_of_is_wanted(inbox: Inbox) -> None:
    assert set(inbox.unsure()) == {*OWN, PRESENCE, HEAD}
    assert set(inbox.unsure()) <= set(inbox.wanted())


def test_it_is_unsure_of_a_neighbour_until_it_speaks(inbox: Inbox) -> None:
    there = Presence(RUN, B, Incarnation(1, 9), PresenceState.TRAINING, digest="beef")
    data = encode(there).join()
    inbox.on_message(Incoming(PRESENCE, data, retained=True))
    assert set(inbox.unsure()) == {*OWN, PRESENCE, HEAD}
    inbox.on_message(Incoming(PRESENCE, data, retained=False))
    assert set(inbox.unsure()) == {*OWN, HEAD}
    inbox.on_connected()
    assert set(inbox.unsure()) == {*OWN, PRESENCE, HEAD}
