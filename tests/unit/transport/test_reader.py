import numpy as np
import pytest

from p2pfl.codec.frame import encode
from p2pfl.codec.parts import Part, Stamp, read_part, split
from p2pfl.messages import Header, Incarnation, ModelMessage
from p2pfl.transport.reader import BEHIND_MAX, BEHIND_S, CAUGHT_UP, STALL_S, Mode, Reader
from p2pfl.transport.words import Head
from p2pfl.types import NodeId

COUNT = 3


def stamp(number: int, counter: int = 1) -> Stamp:
    return Stamp(counter, 9, number)


def head(number: int, *, counter: int = 1, sent_s: float = 0.0) -> Head:
    return Head("r", NodeId("a"), stamp(number, counter), number, number % 2, COUNT, 300, 0, sent_s)


def parts(number: int, counter: int = 1) -> list[Part]:
    header = Header("r", "s", NodeId("a"), Incarnation(counter, 9), number, number, 0, 0.5)
    frame = encode(ModelMessage(header, np.full(40, number, np.float32)))
    chunk = -(-frame.nbytes // COUNT)
    cut = split(frame, stamp=stamp(number, counter), slot=number % 2, chunk_bytes=chunk)
    return [read_part(data) for data in cut]


def feed(reader: Reader, number: int, *, now_s: float = 0.0, counter: int = 1) -> list[bool]:
    """The retained flags of the models that come out."""
    done = [
        reader.on_part(part, retained=False, now_s=now_s) for part in parts(number, counter=counter)
    ]
    return [each[1] for each in done if each is not None]


def slot(number: int) -> frozenset[tuple[int, int]]:
    return frozenset((number % 2, index) for index in range(COUNT))


@pytest.fixture
def reader() -> Reader:
    return Reader()


def behind(reader: Reader) -> None:
    """Bring a reader to WAITING with one unread model."""
    reader.on_head(head(1), retained=False, now_s=0.0)
    feed(reader, 1)
    for _ in range(BEHIND_MAX):
        reader.on_unread()
    assert reader.mode is Mode.WAITING


def test_a_late_reader_wants_the_slot_that_the_head_names(reader: Reader) -> None:
    reader.on_head(head(4), retained=True, now_s=0.0)
    assert reader.wanted == slot(4)
    assert feed(reader, 4) == [True]


def test_a_follower_is_subscribed_to_both_slots_after_two_heads(reader: Reader) -> None:
    for number in (1, 2):
        reader.on_head(head(number), retained=False, now_s=0.0)
    assert reader.wanted == slot(1) | slot(2)


def test_a_followed_model_comes_out_before_its_head_and_once(reader: Reader) -> None:
    assert feed(reader, 1) == [False]
    assert feed(reader, 1) == []
    reader.on_head(head(1), retained=False, now_s=0.0)
    assert reader.wanted == frozenset()


def test_an_older_head_changes_nothing(reader: Reader) -> None:
    reader.on_head(head(2), retained=False, now_s=0.0)
    reader.on_head(head(1), retained=True, now_s=0.0)
    assert reader.wanted == slot(2)


def test_a_reader_that_nobody_reads_stops_following(reader: Reader) -> None:
    behind(reader)
    reader.on_head(head(2), retained=False, now_s=0.1)
    assert reader.wanted == frozenset()
    assert feed(reader, 2) == []


def test_a_waiting_reader_pulls_the_newest_when_it_is_read(reader: Reader) -> None:
    behind(reader)
    reader.on_head(head(5), retained=False, now_s=0.1)
    reader.on_read(now_s=0.2)
    assert (reader.mode, reader.pulls, reader.wanted) == (Mode.PULLING, 1, slot(5))
    assert feed(reader, 3) == []
    assert feed(reader, 4) == []
    assert feed(reader, 5) == [False]
    assert reader.mode is Mode.WAITING


def test_a_waiting_reader_that_was_read_pulls_at_the_next_head(reader: Reader) -> None:
    behind(reader)
    reader.on_read(now_s=0.1)
    assert reader.wanted == frozenset()
    reader.on_head(head(2), retained=False, now_s=0.2)
    assert reader.mode is Mode.PULLING


def test_a_pull_whose_writer_was_faster_takes_the_next_in_the_slot(reader: Reader) -> None:
    behind(reader)
    reader.on_head(head(5), retained=False, now_s=0.1)
    reader.on_read(now_s=0.2)
    reader.on_part(parts(5)[0], retained=True, now_s=0.3)
    assert feed(reader, 7) == [False]


def test_a_reader_that_pulls_in_time_follows_again(reader: Reader) -> None:
    behind(reader)
    for number in range(2, 2 + CAUGHT_UP):
        reader.on_read(now_s=0.1)
        reader.on_head(head(number), retained=False, now_s=0.1)
        assert feed(reader, number) == [False]
    assert reader.mode is Mode.FOLLOWING


def test_heads_that_queue_at_the_broker_stop_the_stream_until_it_is_empty(reader: Reader) -> None:
    reader.on_head(head(1, sent_s=100.0), retained=False, now_s=0.5)
    feed(reader, 1, now_s=0.5)
    reader.on_head(head(2, sent_s=101.0), retained=False, now_s=1.5 + BEHIND_S + 0.1)
    assert reader.wanted == frozenset()
    reader.on_head(head(3, sent_s=102.0), retained=False, now_s=2.5 + BEHIND_S + 0.1)
    assert reader.wanted == frozenset()
    reader.on_head(head(4, sent_s=105.0), retained=False, now_s=5.6)
    assert (reader.mode, reader.wanted) == (Mode.PULLING, slot(4))


def test_models_that_push_each_other_out_unfinished_stop_the_stream(reader: Reader) -> None:
    for number in range(1, BEHIND_MAX + 2):
        reader.on_part(parts(number)[0], retained=False, now_s=0.0)
    assert reader.mode is Mode.WAITING


def test_what_has_stopped_coming_is_asked_for_again(reader: Reader) -> None:
    reader.on_head(head(1), retained=False, now_s=0.0)
    reader.on_part(parts(1)[0], retained=False, now_s=0.5)
    reader.on_tick(now_s=STALL_S)
    assert reader.pulls == 0
    reader.on_tick(now_s=0.6 + STALL_S)
    assert (reader.mode, reader.pulls) == (Mode.PULLING, 1)
    reader.on_tick(now_s=0.7 + STALL_S)
    assert reader.pulls == 1
    reader.on_tick(now_s=0.7 + 2 * STALL_S)
    assert reader.pulls == 2
    assert feed(reader, 1) == [False]
    reader.on_tick(now_s=100.0)
    assert reader.pulls == 2


def test_another_life_of_the_sender_begins_anew(reader: Reader) -> None:
    reader.on_head(head(7), retained=False, now_s=0.0)
    feed(reader, 7)
    reader.on_head(head(1, counter=2), retained=False, now_s=1.0)
    assert reader.wanted == slot(1)
    assert feed(reader, 1, counter=2) == [False]


def test_after_a_reconnect_the_model_that_is_known_is_not_fetched_again(reader: Reader) -> None:
    reader.on_head(head(1), retained=False, now_s=0.0)
    feed(reader, 1)
    reader.on_reconnected()
    assert reader.wanted == frozenset()
    reader.on_head(head(1), retained=True, now_s=1.0)
    assert reader.wanted == frozenset()
    reader.on_head(head(2, sent_s=2.0), retained=False, now_s=2.0)
    assert reader.wanted == slot(2)


def test_every_change_of_what_is_wanted_shows_in_the_cheap_state(reader: Reader) -> None:
    before = reader.wanted_state
    reader.on_head(head(1), retained=False, now_s=0.0)
    assert reader.wanted_state != before
    assert repr(reader) == "Reader(following, Assembly(None, 0 of 0 parts))"
