"""What an inbox wants to be subscribed to."""

from types import SimpleNamespace

import pytest

from p2pfl.codec.frame import encode
from p2pfl.messages import Incarnation, Presence, PresenceState
from p2pfl.transport import inbox as module
from p2pfl.transport.base import Membership, Traffic
from p2pfl.transport.inbox import ASK_AGAIN_S, Inbox
from p2pfl.transport.link import Incoming
from p2pfl.types import NodeId

RUN, A, B = "demo-1a2b", NodeId("a"), NodeId("b")
PRESENCE, HEAD = f"p2pfl/1/{RUN}/b/presence", f"p2pfl/1/{RUN}/b/head"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    clock = SimpleNamespace(now_s=100.0)
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: clock.now_s))
    return clock


@pytest.fixture
def inbox(clock: SimpleNamespace) -> Inbox:
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
    assert clock.now_s == 100.0
    return made


def generations(inbox: Inbox) -> tuple[int, int]:
    wanted = inbox.wanted()
    assert wanted[PRESENCE][0] == wanted[HEAD][0] == 1
    return wanted[PRESENCE][1], wanted[HEAD][1]


def test_what_was_not_heard_since_connecting_is_subscribed_to_again_and_no_more(
    inbox: Inbox, clock: SimpleNamespace
) -> None:
    first_s, second_s = ASK_AGAIN_S
    inbox.on_tick()
    assert generations(inbox) == (0, 0)
    clock.now_s = 100.0 + first_s + 0.1
    inbox.on_tick()
    assert generations(inbox) == (1, 1)
    there = Presence(RUN, B, Incarnation(1, 9), PresenceState.TRAINING, digest="beef")
    inbox.on_message(Incoming(PRESENCE, encode(there).join(), retained=True))
    assert generations(inbox) == (1, 1)
    for after_s in (second_s + 0.1, 60.0, 600.0):
        clock.now_s = 100.0 + after_s
        inbox.on_tick()
        assert generations(inbox) == (1, 2)


def test_a_new_connection_begins_anew(inbox: Inbox, clock: SimpleNamespace) -> None:
    clock.now_s += 60.0
    inbox.on_tick()
    inbox.on_connected()
    assert generations(inbox) == (0, 0)
    clock.now_s += ASK_AGAIN_S[0] + 0.1
    inbox.on_tick()
    assert generations(inbox) == (1, 1)
