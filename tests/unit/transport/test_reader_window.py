"""Large models are pulled a few parts at a time, and nothing that came is asked for again."""

import numpy as np
import pytest

from p2pfl.codec.frame import encode
from p2pfl.codec.parts import Part, Stamp, read_part, split
from p2pfl.messages import Header, Incarnation, ModelMessage
from p2pfl.transport.reader import FOLLOWED_PARTS_MAX, STALL_S, WINDOW, Mode, Reader
from p2pfl.transport.words import Head
from p2pfl.types import NodeId

LARGE = FOLLOWED_PARTS_MAX + 8


def parts(number: int) -> list[Part]:
    header = Header("r", "s", NodeId("a"), Incarnation(1, 9), number, number, 0, 0.5)
    frame = encode(ModelMessage(header, np.full(4000, number, np.float32)))
    chunk = -(-frame.nbytes // LARGE)
    cut = split(frame, stamp=Stamp(1, 9, number), slot=number % 2, chunk_bytes=chunk)
    return [read_part(data) for data in cut]


def head(number: int, *, count: int = LARGE) -> Head:
    return Head("r", NodeId("a"), Stamp(1, 9, number), number, number % 2, count, 300, 0, 0.0)


def deliver(reader: Reader, broker: list[Part], *, now_s: float = 0.0) -> int:
    """One subscription's worth: what is wanted comes; how many models are whole."""
    came = [broker[index] for _, index in sorted(reader.wanted)]
    done = [reader.on_part(part, retained=True, now_s=now_s) for part in came]
    return sum(each is not None for each in done)


@pytest.fixture
def reader() -> Reader:
    return Reader()


def test_how_long_a_model_took_is_told_from_its_first_part_to_its_last(reader: Reader) -> None:
    broker = parts(1)
    reader.on_head(head(1), retained=True, now_s=10.0)
    now_s = 12.0
    while not deliver(reader, broker, now_s=now_s):
        now_s += 1.5
    assert now_s > 12.0
    assert reader.took_s == now_s - 12.0


def test_the_first_large_model_is_pulled_and_a_small_one_followed(reader: Reader) -> None:
    reader.on_head(head(1, count=FOLLOWED_PARTS_MAX), retained=True, now_s=0.0)
    assert reader.mode is Mode.FOLLOWING
    other = Reader()
    other.on_head(head(1), retained=True, now_s=0.0)
    assert other.mode is Mode.PULLING


def test_no_more_than_a_window_of_parts_is_ever_wanted_and_all_come(reader: Reader) -> None:
    broker = parts(1)
    assert len(broker) == LARGE
    reader.on_head(head(1), retained=False, now_s=0.0)
    whole = rounds = 0
    while reader.mode is Mode.PULLING:
        assert 0 < len(reader.wanted) <= WINDOW
        before = reader.wanted_state
        whole += deliver(reader, broker)
        assert reader.wanted_state != before
        rounds += 1
    assert (whole, rounds) == (1, -(-LARGE // WINDOW))


def test_a_pull_that_stands_still_asks_for_what_is_missing_alone(reader: Reader) -> None:
    broker = parts(1)
    reader.on_head(head(1), retained=False, now_s=0.0)
    deliver(reader, broker, now_s=1.0)
    missing, pulls = reader.wanted, reader.pulls
    reader.on_tick(now_s=1.0 + STALL_S + 0.1)
    assert (reader.wanted, reader.pulls) == (missing, pulls + 1)
    assert min(index for _, index in missing) == WINDOW


def test_each_time_a_pull_stands_still_it_waits_for_twice_as_long(reader: Reader) -> None:
    reader.on_head(head(1), retained=False, now_s=0.0)
    asked = []
    for tick in range(200):
        before = reader.pulls
        reader.on_tick(now_s=0.1 * tick)
        if reader.pulls > before:
            asked.append(0.1 * tick)
    assert asked == pytest.approx([STALL_S, 3 * STALL_S, 7 * STALL_S], abs=0.5)


def test_a_large_model_that_is_overwritten_while_it_is_pulled_gives_way_to_the_next(
    reader: Reader,
) -> None:
    old, new = parts(1), parts(3)
    reader.on_head(head(1), retained=False, now_s=0.0)
    deliver(reader, old)
    # The writer has overwritten the slot as far as the window.
    whole = 0
    while reader.mode is Mode.PULLING:
        whole += deliver(reader, new)
    assert whole == 1
    reader.on_read(now_s=0.1)
    reader.on_head(head(3), retained=False, now_s=0.2)
    assert reader.wanted == frozenset()  # it is the one that has come


def test_large_models_are_never_followed_however_prompt_they_are(reader: Reader) -> None:
    for number in range(1, 9):
        reader.on_head(head(number), retained=False, now_s=0.1 * number)
        while reader.mode is Mode.PULLING:
            deliver(reader, parts(number), now_s=0.1 * number)
        assert reader.mode is Mode.WAITING
        reader.on_read(now_s=0.1 * number)


def test_what_has_come_of_a_large_model_outlives_a_broken_connection(reader: Reader) -> None:
    broker = parts(1)
    reader.on_head(head(1), retained=False, now_s=0.0)
    deliver(reader, broker)
    reader.on_reconnected()
    assert reader.wanted == frozenset()
    reader.on_head(head(1), retained=True, now_s=9.0)
    asked: list[int] = []
    whole = 0
    while reader.mode is Mode.PULLING:
        asked += sorted(index for _, index in reader.wanted)
        whole += deliver(reader, broker)
    assert whole == 1
    assert asked == list(range(WINDOW, LARGE))


def test_parts_of_an_older_model_are_forgotten_when_a_newer_one_is_found_after_a_break(
    reader: Reader,
) -> None:
    reader.on_head(head(1), retained=False, now_s=0.0)
    deliver(reader, parts(1))
    reader.on_reconnected()
    for number in (2, 3):
        reader.on_head(head(number), retained=True, now_s=9.0)
        whole = 0
        while reader.mode is Mode.PULLING:
            whole += deliver(reader, parts(number))
        assert whole == 1
        reader.on_read(now_s=9.0)
