import numpy as np
import pytest

from p2pfl.messages import (
    Header,
    Incarnation,
    ModelMessage,
    Presence,
    PresenceState,
    VersionRequest,
)
from p2pfl.transport.outbox import LETTERS_MAX, ROWS_MAX, Outbox
from p2pfl.types import NodeId

A = NodeId("a")
LIFE = Incarnation(1, 2)


def model(version: int) -> ModelMessage:
    return ModelMessage(
        Header("r", "s", A, LIFE, version, version, 0, 0.0), np.zeros(1, np.float32)
    )


def presence(version: int) -> Presence:
    return Presence("r", A, LIFE, PresenceState.TRAINING, version)


@pytest.fixture
def outbox() -> Outbox:
    return Outbox()


def taken(outbox: Outbox) -> tuple[int, int] | None:
    outgoing = outbox.take_model()
    return None if outgoing is None else (outgoing.number, outgoing.message.header.version)


def test_the_newest_model_wins_while_one_is_under_way(outbox: Outbox) -> None:
    outbox.put_model(model(1))
    assert taken(outbox) == (1, 1)
    for version in (2, 3, 4):
        outbox.put_model(model(version))
    assert taken(outbox) is None
    outbox.model_acknowledged()
    assert taken(outbox) == (2, 4)
    assert outbox.superseded == 2


def test_it_is_idle_only_when_all_is_acknowledged(outbox: Outbox) -> None:
    idle = [outbox.idle]
    outbox.put_model(model(1))
    outbox.take_model()
    idle.append(outbox.idle)
    outbox.model_acknowledged()
    idle.append(outbox.idle)
    outbox.put_letter(A, VersionRequest("r", A, 1))
    outbox.take_letter()
    idle.append(outbox.idle)
    outbox.letter_acknowledged()
    idle.append(outbox.idle)
    outbox.put_presence(presence(1))
    outbox.presence_acknowledged(presence(1))  # Another one.
    idle.append(outbox.idle)
    assert idle == [True, False, True, False, True, False]


def test_a_newer_presence_left_meanwhile_is_still_to_be_sent(outbox: Outbox) -> None:
    outbox.put_presence(presence(1))
    first = outbox.take_presence()
    assert first is not None
    newer = presence(2)
    outbox.put_presence(newer)
    outbox.presence_acknowledged(first)
    assert outbox.take_presence() is newer
    outbox.presence_acknowledged(newer)
    assert outbox.take_presence() is None


def test_after_a_reconnect_the_last_model_and_presence_go_again(outbox: Outbox) -> None:
    said = presence(1)
    outbox.put_model(model(1))
    outbox.put_presence(said)
    outbox.take_model()
    outbox.model_acknowledged()
    outbox.presence_acknowledged(said)
    outbox.restore()
    assert outbox.take_presence() is said
    assert taken(outbox) == (1, 1)
    outbox.model_acknowledged()
    assert taken(outbox) is None


def test_after_a_reconnect_a_newer_model_goes_instead(outbox: Outbox) -> None:
    outbox.put_model(model(1))
    outbox.take_model()
    outbox.put_model(model(2))
    outbox.restore()
    assert taken(outbox) == (2, 2)


def test_a_letter_under_way_goes_again_after_a_reconnect(outbox: Outbox) -> None:
    for version in (1, 2):
        outbox.put_letter(A, VersionRequest("r", A, version))
    first = outbox.take_letter()
    outbox.restore()
    assert outbox.take_letter() is first
    outbox.letter_acknowledged()
    second = outbox.take_letter()
    assert second is not None
    assert second.message == VersionRequest("r", A, 2)
    outbox.letter_acknowledged()
    assert outbox.take_letter() is None


def test_nothing_piles_up_while_the_network_stands_still(outbox: Outbox) -> None:
    for number in range(1000):
        outbox.put_letter(A, VersionRequest("r", A, number))
        outbox.put_row({"step": number})
    letters = []
    while (letter := outbox.take_letter()) is not None:
        letters.append(letter.message)
        outbox.letter_acknowledged()
    rows = []
    while (row := outbox.take_row()) is not None:
        rows.append(row)
    assert letters == [VersionRequest("r", A, n) for n in range(1000 - LETTERS_MAX, 1000)]
    assert rows == [{"step": n} for n in range(1000 - ROWS_MAX, 1000)]
    assert outbox.superseded == 1000 - LETTERS_MAX


def test_the_state_can_be_read(outbox: Outbox) -> None:
    outbox.put_model(model(1))
    assert repr(outbox) == "Outbox(a model and 0 letters waiting, 0 sent)"
