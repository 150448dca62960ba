import struct
from typing import Any

import msgpack  # type: ignore[import-untyped]  # msgpack ships no types.
import numpy as np
import pytest
import xxhash

from p2pfl.codec.frame import (
    PART_HEADER_BYTES,
    decode,
    encode,
    encoded_bytes,
    frame_digest,
    seal,
    unseal,
    wire_bytes,
)
from p2pfl.codec.headers import model_plain
from p2pfl.codec.limits import Limits
from p2pfl.codec.tensors import Dtype
from p2pfl.errors import ProtocolError
from p2pfl.messages import (
    Header,
    Incarnation,
    Message,
    ModelMessage,
    Presence,
    PresenceState,
    VersionRequest,
)
from p2pfl.types import Extra, NodeId

HEADER = Header(
    run="digits-1a2b",
    schema="abc",
    node=NodeId("n3"),
    incarnation=Incarnation(2, 2**64 - 1),
    sequence=7,
    version=70000,
    oldest_version=69999,
    sent_s=12.5,
    period_s=0.25,
    kind="model",
    local_steps=20,
    samples=300,
    degree=4,
    epoch=1,
)
VECTOR = np.array([1.0, -2.5, 3.25], np.float32)
PRESENCE = Presence(
    "digits-1a2b", NodeId("n3"), Incarnation(1, 5), PresenceState.TRAINING, 3, 0.5, 9.0, "beef"
)
REQUEST = VersionRequest("digits-1a2b", NodeId("n3"), 12)


def model_frame(**changes: object) -> bytes:
    plain = {**model_plain(HEADER, "float32", 3), **changes}
    return seal(plain, memoryview(VECTOR.tobytes())).join()


def forged(packed: bytes, payload: bytes = b"") -> bytes:
    packed += bytes(-len(packed) % 8)
    digest = xxhash.xxh3_64_intdigest(packed + payload)
    return struct.pack("<4sBBHQ", b"p2pf", 1, 0, len(packed), digest) + packed + payload


def refusal(data: bytes, **options: Any) -> str:  # noqa: ANN401 - passed on to decode.
    with pytest.raises(ProtocolError) as caught:
        decode(data, **options)
    return caught.value.reason


def test_a_model_comes_back_as_it_was_sent() -> None:
    message = decode(encode(ModelMessage(HEADER, VECTOR)).join(), schema="abc", dimension=3)
    assert isinstance(message, ModelMessage)
    assert message.header == HEADER
    np.testing.assert_array_equal(message.vector, VECTOR)
    assert message.vector.dtype == np.float32
    assert not message.vector.flags.writeable


def test_a_decoded_float32_model_is_a_view_of_the_frame() -> None:
    data = encode(ModelMessage(HEADER, VECTOR)).join()
    message = decode(data)
    assert isinstance(message, ModelMessage)
    assert np.shares_memory(message.vector, np.frombuffer(data, np.uint8))


def test_an_encoded_float32_model_is_a_view_of_the_vector() -> None:
    frame = encode(ModelMessage(HEADER, VECTOR))
    assert np.shares_memory(np.frombuffer(frame.payload, np.uint8), VECTOR)


@pytest.mark.parametrize("message", [PRESENCE, REQUEST])
def test_small_messages_come_back_as_they_were_sent(message: Message) -> None:
    assert decode(encode(message).join()) == message


def test_numbers_lie_aligned_behind_the_header() -> None:
    frame = encode(ModelMessage(HEADER, VECTOR))
    assert len(frame.head) % 8 == 0


def test_a_frame_can_be_cut_anywhere() -> None:
    frame = encode(ModelMessage(HEADER, VECTOR))
    whole = frame.join()
    for start in range(0, frame.nbytes, 5):
        assert b"".join(frame.cut(start, start + 5)) == whole[start : start + 5]


def test_a_frame_tells_its_checksum() -> None:
    frame = encode(PRESENCE)
    assert frame_digest(frame) == xxhash.xxh3_64_intdigest(frame.join()[16:])


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("dimension", [0, 1, 1000, 40_000])
@pytest.mark.parametrize("chunk_bytes", [1024, 100_000])
def test_the_length_is_known_without_encoding(
    dtype: Dtype, dimension: int, chunk_bytes: int
) -> None:
    message = ModelMessage(HEADER, np.zeros(dimension, np.float32))
    frame_bytes = encode(message, dtype=dtype).nbytes
    expected = frame_bytes
    if frame_bytes > min(65536, chunk_bytes):
        expected += PART_HEADER_BYTES * -(-frame_bytes // chunk_bytes)
    assert encoded_bytes(message, dtype, chunk_bytes) == expected


@pytest.mark.parametrize("message", [PRESENCE, REQUEST])
def test_the_length_of_small_messages_is_their_frames(message: Message) -> None:
    assert encoded_bytes(message) == encode(message).nbytes


def test_a_frame_at_the_limit_travels_whole_and_above_it_in_parts() -> None:
    assert wire_bytes(65536) == 65536
    assert wire_bytes(65537) == 65537 + PART_HEADER_BYTES
    assert wire_bytes(2048, 1024) == 2048 + 2 * PART_HEADER_BYTES


def test_every_changed_byte_is_noticed() -> None:
    data = encode(ModelMessage(HEADER, VECTOR)).join()
    for position in range(len(data)):
        changed = bytearray(data)
        changed[position] ^= 0x41
        with pytest.raises(ProtocolError):
            decode(bytes(changed))


def test_every_torn_frame_is_noticed() -> None:
    data = encode(ModelMessage(HEADER, VECTOR)).join()
    for length in range(len(data)):
        with pytest.raises(ProtocolError):
            decode(data[:length])
    assert refusal(data + b"x") == "checksum"


def test_frames_above_the_limits_are_refused() -> None:
    data = model_frame()
    assert refusal(data, limits=Limits(frame_bytes_max=len(data) - 1)) == "frame_bytes"
    assert decode(data, limits=Limits(frame_bytes_max=len(data)))
    header_bytes = struct.unpack_from("<H", data, 6)[0]
    assert refusal(data, limits=Limits(header_bytes_max=header_bytes - 1)) == "header_bytes"
    assert decode(data, limits=Limits(header_bytes_max=header_bytes))


def test_a_header_too_long_for_its_length_field_is_refused_at_the_sender() -> None:
    with pytest.raises(ProtocolError, match="header_bytes"):
        seal({"text": "x" * 70_000})


def test_another_protocol_is_refused() -> None:
    data = model_frame()
    assert refusal(b"http" + data[4:]) == "magic"
    assert refusal(data[:4] + b"\x02" + data[5:]) == "protocol_version"
    assert refusal(data[:5] + b"\x01" + data[6:]) == "protocol_version"
    assert refusal(data[:6] + b"\x01\x00" + data[8:]) == "torn"


@pytest.mark.parametrize(
    "packed",
    [
        msgpack.packb([1, 2]),
        msgpack.packb("word"),
        msgpack.packb({1: 2}),
        msgpack.packb({b"t": "m"}),
        b"",
        b"\xc1",
        b"\x81\xa1t\xa1\xff",
        b"\x81\xa1t\xd9\xff",
        b"\x91" * 2000,
        b"\xdf\xff\xff\xff\xff",
        b"\xdd\xff\xff\xff\xff",
        b"\xc6\xff\xff\xff\xff",
        b"\x81\xa1t\xc7\x01\x05x",
        b"\x81\x81\xa1t\xa1x\xa1t",
        msgpack.packb({"t": "q"}) + b"junk",
        msgpack.packb({"t": "q"}) + bytes(8),
    ],
)
def test_what_is_no_map_is_refused(packed: bytes) -> None:
    assert refusal(forged(packed)) == "map"


@pytest.mark.parametrize("kind", ["x", 5, None, ["m"], {"m": "m"}])
def test_an_unknown_kind_is_refused(kind: object) -> None:
    assert refusal(seal({"t": kind}).join()) == "kind"


def test_a_frame_without_a_kind_is_refused() -> None:
    assert refusal(seal({}).join()) == "kind"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("r", "a/b"),
        ("r", ""),
        ("r", "x" * 129),
        ("s", 5),
        ("s", "x" * 129),
        ("i", "n/3"),
        ("i", "#"),
        ("i", "x" * 65),
        ("i", None),
        ("c", -1),
        ("c", 1.0),
        ("c", True),
        ("o", "1"),
        ("q", None),
        ("v", -5),
        ("w", 70001),
        ("a", 5),
        ("a", float("nan")),
        ("a", float("inf")),
        ("p", -0.5),
        ("p", float("inf")),
        ("k", b"model"),
        ("h", [1]),
        ("d", "float64"),
        ("d", []),
        ("l", -3),
    ],
)
def test_a_model_with_a_wrong_field_is_refused(key: str, value: object) -> None:
    assert refusal(model_frame(**{key: value})) == "field"


def test_a_model_with_an_unknown_field_is_refused() -> None:
    assert refusal(model_frame(extra=1)) == "field"


def test_a_signature_is_reserved() -> None:
    assert decode(model_frame(z=b"signature"))


def test_a_missing_field_is_refused() -> None:
    for key in model_plain(HEADER, "float32", 3).keys() - {"t"}:
        plain = dict(model_plain(HEADER, "float32", 3))
        del plain[key]
        assert refusal(seal(plain, memoryview(VECTOR.tobytes())).join()) == "field"


@pytest.mark.parametrize(
    ("key", "value"), [("u", "dead"), ("u", 1), ("x", 5), ("i", ""), ("p", -1.0), ("c", None)]
)
def test_a_presence_with_a_wrong_field_is_refused(key: str, value: object) -> None:
    plain, _ = unseal(encode(PRESENCE).join())
    assert refusal(seal({**plain, key: value}).join()) == "field"


def test_a_request_with_a_wrong_field_is_refused() -> None:
    plain, _ = unseal(encode(REQUEST).join())
    assert refusal(seal({**plain, "v": -1}).join()) == "field"


def test_numbers_behind_a_small_message_are_refused() -> None:
    plain, _ = unseal(encode(PRESENCE).join())
    assert refusal(seal(plain, memoryview(b"12345678")).join()) == "payload"


def test_a_model_of_another_length_than_told_is_refused() -> None:
    assert refusal(model_frame(l=4)) == "payload"
    assert refusal(model_frame(d="float16")) == "payload"


def test_a_model_of_another_schema_is_refused() -> None:
    assert refusal(model_frame(), schema="abd") == "schema"
    assert refusal(model_frame(), dimension=4) == "dimension"


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_a_model_that_is_not_finite_is_refused(bad: float, dtype: Dtype) -> None:
    vector = np.ones(100_000, np.float32)
    vector[77_777] = bad
    assert refusal(encode(ModelMessage(HEADER, vector), dtype=dtype).join()) == "non_finite"


def with_extra(extra: Extra) -> ModelMessage:
    return ModelMessage(HEADER, VECTOR, extra)


def test_what_travels_beside_a_model_is_exact_in_every_width() -> None:
    sums = np.array([0, 1, 2**32 - 1], np.uint32)
    again = decode(encode(with_extra(sums), dtype="bfloat16").join())
    assert isinstance(again, ModelMessage)
    assert again.extra is not None
    assert again.extra.dtype == np.uint32
    assert again.extra.tolist() == sums.tolist()
    assert not again.extra.flags.writeable


def test_a_tracker_beside_a_model_must_be_finite() -> None:
    tracker = np.array([1.0, np.inf], np.float32)
    assert refusal(encode(with_extra(tracker)).join()) == "non_finite"


@pytest.mark.parametrize(
    "changes",
    [
        {"x": "uint32"},
        {"y": 3},
        {"x": "float64", "y": 0},
        {"x": "uint32", "y": -1},
        {"m": []},
        {"m": [1, -1]},
        {"m": [True]},
        {"m": 5},
        {"b": []},
        {"b": [["n1"]]},
        {"b": [["n1", 2.0]]},
        {"b": [["no node", 0.5]]},
        {"b": "n1"},
    ],
)
def test_words_trusts_and_extras_of_a_wrong_form_are_refused(changes: dict[str, object]) -> None:
    assert refusal(model_frame(**changes)) == "field"


def test_an_extra_that_is_longer_than_its_bytes_is_refused() -> None:
    assert refusal(model_frame(x="uint32", y=1)) == "payload"


def test_words_and_trusts_come_back() -> None:
    header = HEADER._replace(words=(1, 2**40), trusts=((NodeId("n1"), 0.5),))
    again = decode(encode(ModelMessage(header, VECTOR)).join())
    assert isinstance(again, ModelMessage)
    assert again.header == header
