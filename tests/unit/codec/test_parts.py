import struct

import numpy as np
import pytest
import xxhash

from p2pfl.codec.frame import PART_HEADER_BYTES, Frame, encode, encoded_bytes
from p2pfl.codec.limits import Limits
from p2pfl.codec.parts import Assembly, Part, Stamp, is_part, read_part, split
from p2pfl.errors import ProtocolError
from p2pfl.messages import Header, Incarnation, ModelMessage
from p2pfl.types import NodeId

STAMP = Stamp(1, 2**63, 7)
NEWER = Stamp(1, 2**63, 8)


def frame_of(dimension: int = 1000, fill: float = 1.0) -> Frame:
    header = Header("r", "s", NodeId("n"), Incarnation(1, 2**63), 1, 1, 0, 0.5)
    return encode(ModelMessage(header, np.full(dimension, fill, np.float32)))


def parts_of(frame: Frame, stamp: Stamp = STAMP, chunk_bytes: int = 1024) -> list[Part]:
    return [read_part(data) for data in split(frame, stamp=stamp, slot=0, chunk_bytes=chunk_bytes)]


def part(index: int, count: int, frame_bytes: int, piece: bytes, stamp: Stamp = STAMP) -> Part:
    return Part(stamp, 0, index, count, frame_bytes, memoryview(piece))


@pytest.mark.parametrize("dimension", [0, 1, 200, 1000])
@pytest.mark.parametrize("chunk_bytes", [1, 7, 1024, 100_000])
def test_parts_in_any_order_make_the_frame(dimension: int, chunk_bytes: int) -> None:
    frame = frame_of(dimension)
    parts = parts_of(frame, chunk_bytes=chunk_bytes)
    for order in (parts, parts[::-1]):
        assembly = Assembly()
        done = [assembly.add(each) for each in order]
        assert done[:-1] == [None] * (len(order) - 1)
        assert bytes(done[-1] or b"") == frame.join()
        assert assembly.complete


def test_part_lengths_are_as_the_codec_counts_them() -> None:
    frame = frame_of(30_000)
    data = list(split(frame, stamp=STAMP, slot=0, chunk_bytes=10_000))
    header = Header("r", "s", NodeId("n"), Incarnation(1, 2**63), 1, 1, 0, 0.5)
    message = ModelMessage(header, np.ones(30_000, np.float32))
    assert sum(map(len, data)) == encoded_bytes(message, "float32", 10_000)
    assert len(data[0]) == 10_000 + PART_HEADER_BYTES


def test_a_part_says_what_it_is() -> None:
    data = list(split(frame_of(), stamp=STAMP, slot=1, chunk_bytes=1024))
    assert all(is_part(each) for each in data)
    assert not is_part(frame_of().join())
    second = read_part(data[1])
    assert (second.stamp, second.slot, second.index, second.count) == (STAMP, 1, 1, len(data))


def test_a_newer_model_discards_the_unfinished_older_one() -> None:
    old, new = parts_of(frame_of()), parts_of(frame_of(fill=2.0), NEWER)
    assembly = Assembly()
    assembly.add(old[0])
    for each in new[:-1]:
        assert assembly.add(each) is None
    assert assembly.discarded == 1
    for each in old:
        assert assembly.add(each) is None
    done = assembly.add(new[-1])
    assert bytes(done or b"") == frame_of(fill=2.0).join()


def test_a_finished_model_is_never_delivered_twice() -> None:
    parts = parts_of(frame_of())
    assembly = Assembly()
    for each in parts:
        assembly.add(each)
    assert [assembly.add(each) for each in parts] == [None] * len(parts)
    assert assembly.stamp == STAMP


def test_duplicates_change_nothing() -> None:
    parts = parts_of(frame_of())
    assembly = Assembly()
    for each in parts[:-1]:
        assembly.add(each)
        assert assembly.add(each) is None
    assert assembly.missing == {len(parts) - 1}
    assert assembly.add(parts[-1]) is not None


def test_after_forgetting_an_older_stamp_is_welcome() -> None:
    assembly = Assembly()
    assembly.add(parts_of(frame_of(), NEWER)[0])
    assembly.forget()
    assert assembly.complete
    done = [assembly.add(each) for each in parts_of(frame_of())]
    assert done[-1] is not None


def test_the_state_can_be_read() -> None:
    parts = parts_of(frame_of())
    assembly = Assembly()
    assembly.add(parts[0])
    assert repr(assembly) == f"Assembly({STAMP!r}, 1 of {len(parts)} parts)"


def test_every_changed_byte_is_noticed() -> None:
    (data,) = split(frame_of(3), stamp=STAMP, slot=0, chunk_bytes=1024)
    for position in range(len(data)):
        changed = bytearray(data)
        changed[position] ^= 0x10
        with pytest.raises(ProtocolError):
            read_part(bytes(changed))


def test_every_torn_part_is_noticed() -> None:
    (data,) = split(frame_of(3), stamp=STAMP, slot=0, chunk_bytes=1024)
    for length in range(len(data)):
        with pytest.raises(ProtocolError):
            read_part(data[:length])


def forged(
    *,
    magic: bytes = b"pP",
    protocol: int = 1,
    index: int = 0,
    count: int = 1,
    frame_bytes: int = 4,
) -> bytes:
    fields = struct.pack("<2sBBHHIIQI", magic, protocol, 0, index, count, frame_bytes, 1, 2, 3)
    checksum = xxhash.xxh3_64_intdigest(fields + b"abcd") & 0xFFFFFFFF
    return fields + struct.pack("<I", checksum) + b"abcd"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (forged(magic=b"XX"), "magic"),
        (forged(protocol=9), "protocol_version"),
        (forged(index=1), "parts"),
        (forged(count=0), "parts"),
        (forged(count=101), "parts"),
        (forged(frame_bytes=1001), "frame_bytes"),
        (forged()[:32], "torn"),
    ],
)
def test_parts_that_break_the_form_or_a_limit_are_refused(data: bytes, reason: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        read_part(data, limits=Limits(parts_max=100, frame_bytes_max=1000))
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    "parts",
    [
        [part(0, 2, 10, b"12345"), part(1, 3, 10, b"12345")],
        [part(0, 2, 10, b"12345"), part(1, 2, 9, b"1234")],
        [part(0, 2, 10, b"12345"), part(1, 2, 10, b"1234")],
        [part(0, 2, 10, b"1234")],
        [part(0, 1, 10, b"1234")],
        [part(2, 3, 10, b"123")],
        [part(1, 2, 3, b"12345")],
        [part(1, 2, 5, b"12345")],
        [part(0, 2, 0, b"1")],
    ],
)
def test_parts_that_contradict_each_other_are_torn(parts: list[Part]) -> None:
    assembly = Assembly()
    for each in parts[:-1]:
        assembly.add(each)
    with pytest.raises(ProtocolError, match="torn"):
        assembly.add(parts[-1])


def test_an_assembly_tells_how_far_it_is() -> None:
    frame, assembly = frame_of(), Assembly()
    parts = parts_of(frame, chunk_bytes=1000)
    assert assembly.progress == (0, 0, 0)
    for count, each in enumerate(parts[:-1], start=1):
        assembly.add(each)
        assert assembly.progress == (STAMP.number, count * 1000, frame.nbytes)
    assembly.add(parts[-1])
    assert assembly.progress == (0, 0, 0)
