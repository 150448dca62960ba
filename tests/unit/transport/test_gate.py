import numpy as np
import pytest

from p2pfl.errors import ProtocolError
from p2pfl.messages import (
    Header,
    Incarnation,
    Message,
    ModelMessage,
    PeerLost,
    Presence,
    PresenceState,
    Received,
    VersionRequest,
)
from p2pfl.transport.base import Membership
from p2pfl.transport.gate import Gate, event_of
from p2pfl.types import NodeId

A, B = NodeId("a"), NodeId("b")


def model(sequence: int, *, counter: int = 1, nonce: int = 5, run: str = "r") -> ModelMessage:
    header = Header(run, "s", A, Incarnation(counter, nonce), sequence, sequence, 0, 0.0)
    return ModelMessage(header, np.zeros(1, np.float32))


def presence(counter: int = 1, *, digest: str = "beef") -> Presence:
    return Presence("r", A, Incarnation(counter, 5), PresenceState.TRAINING, digest=digest)


@pytest.fixture
def gate() -> Gate:
    return Gate(
        run="r", membership=Membership(neighbours=[A], schema="s", dimension=1, digest="beef")
    )


def refusal(gate: Gate, message: Message, sender: NodeId = A) -> str:
    with pytest.raises(ProtocolError) as caught:
        gate.admit(message, sender=sender)
    return caught.value.reason


def test_news_is_admitted_and_a_repetition_is_not(gate: Gate) -> None:
    assert gate.admit(model(1), sender=A)
    assert not gate.admit(model(1), sender=A)
    assert gate.admit(model(2), sender=A)


def test_a_late_model_never_replaces_a_newer_one(gate: Gate) -> None:
    gate.admit(model(2), sender=A)
    assert refusal(gate, model(1)) == "old_sequence"


def test_letters_may_come_in_any_order(gate: Gate) -> None:
    gate.admit(model(2), sender=A)
    assert gate.admit(model(1), sender=A, directed=True)
    assert gate.admit(VersionRequest("r", A, 0), sender=A, directed=True)


def test_a_new_life_begins_its_sequence_anew(gate: Gate) -> None:
    gate.admit(model(9), sender=A)
    assert gate.admit(model(1, counter=2), sender=A)
    assert refusal(gate, model(10)) == "old_incarnation"
    assert refusal(gate, presence(1)) == "old_incarnation"


def test_two_lives_of_one_count_are_ordered_by_their_nonces(gate: Gate) -> None:
    gate.admit(model(9, nonce=6), sender=A)
    assert refusal(gate, model(10, nonce=5)) == "old_incarnation"
    assert gate.admit(model(1, nonce=7), sender=A)


def test_strangers_and_other_runs_are_refused(gate: Gate) -> None:
    assert refusal(gate, model(1), sender=B) == "stranger"
    assert refusal(gate, model(1, run="other")) == "run"
    assert refusal(gate, VersionRequest("r", B, 1)) == "sender"


def test_all_of_a_peer_with_another_experiment_is_refused_until_it_is_mended(gate: Gate) -> None:
    assert refusal(gate, presence(digest="cafe")) == "digest"
    assert refusal(gate, model(1)) == "digest"
    assert refusal(gate, VersionRequest("r", A, 1)) == "digest"
    assert gate.admit(presence(2), sender=A)
    assert gate.admit(model(1, counter=2), sender=A)


def test_a_last_will_tells_of_a_lost_peer() -> None:
    lost = Presence("r", A, Incarnation(1, 5), PresenceState.LOST)
    assert event_of(lost, retained=True) == PeerLost(A, Incarnation(1, 5))
    assert event_of(presence(), retained=True) == Received(presence(), retained=True)
