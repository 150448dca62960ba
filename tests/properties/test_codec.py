"""Laws of the codec, for any message and any bytes."""

import string
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from p2pfl.codec.frame import decode, encode, encoded_bytes, seal, wire_bytes
from p2pfl.codec.parts import Assembly, Stamp, read_part, split
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

NAMES = st.text(string.ascii_letters + string.digits + "_-", min_size=1, max_size=64)
COUNTS = st.integers(0, 2**64 - 1)
TIMES = st.floats(allow_nan=False, allow_infinity=False)
DURATIONS = st.floats(0, allow_nan=False, allow_infinity=False)
WORDS = st.text(max_size=128)
DTYPES: st.SearchStrategy[Dtype] = st.sampled_from(["float32", "float16", "bfloat16"])
VECTORS = st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), max_size=300).map(
    lambda numbers: np.array(numbers, np.float32)
)
INCARNATIONS = st.builds(Incarnation, COUNTS, COUNTS)
HEADERS = st.builds(
    Header,
    run=NAMES,
    schema=WORDS,
    node=NAMES.map(NodeId),
    incarnation=INCARNATIONS,
    sequence=COUNTS,
    version=st.integers(2**63, 2**64 - 1),
    oldest_version=st.integers(0, 2**63),
    sent_s=TIMES,
    period_s=DURATIONS,
    kind=WORDS,
    local_steps=COUNTS,
    samples=COUNTS,
    degree=COUNTS,
    epoch=COUNTS,
    words=st.lists(COUNTS, max_size=5).map(tuple),
    trusts=st.lists(st.tuples(NAMES.map(NodeId), st.floats(0, 1)), max_size=3).map(tuple),
)
EXTRAS: st.SearchStrategy[Extra | None] = st.one_of(
    st.none(),
    VECTORS,
    st.lists(st.integers(0, 2**32 - 1), max_size=30).map(lambda sums: np.array(sums, np.uint32)),
)
MODELS = st.builds(ModelMessage, HEADERS, VECTORS, EXTRAS)
SMALL: st.SearchStrategy[Message] = st.one_of(
    st.builds(VersionRequest, NAMES, NAMES.map(NodeId), COUNTS),
    st.builds(
        Presence,
        NAMES,
        NAMES.map(NodeId),
        INCARNATIONS,
        st.sampled_from(PresenceState),
        COUNTS,
        DURATIONS,
        TIMES,
        WORDS,
    ),
)
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
FRAMES = st.one_of(SMALL.map(encode), MODELS.map(encode)).map(lambda frame: frame.join())


@given(SMALL)
def test_small_messages_come_back(message: Message) -> None:
    assert decode(encode(message).join()) == message
    assert encoded_bytes(message) == encode(message).nbytes


@given(MODELS)
def test_float32_models_come_back(message: ModelMessage) -> None:
    again = decode(encode(message).join())
    assert isinstance(again, ModelMessage)
    assert again.header == message.header
    np.testing.assert_array_equal(again.vector, message.vector)
    if message.extra is None:
        assert again.extra is None
    else:
        assert again.extra is not None
        assert again.extra.dtype == message.extra.dtype
        np.testing.assert_array_equal(again.extra, message.extra)


@given(MODELS, st.sampled_from(["float16", "bfloat16"]))
def test_narrow_models_come_back_rounded_once(message: ModelMessage, dtype: Dtype) -> None:
    once = decode(encode(message, dtype=dtype).join())
    assert isinstance(once, ModelMessage)
    twice = decode(encode(once, dtype=dtype).join())
    assert isinstance(twice, ModelMessage)
    np.testing.assert_array_equal(once.vector, twice.vector)


@given(MODELS, DTYPES, st.integers(64, 2000))
def test_the_length_is_known_without_encoding(
    message: ModelMessage, dtype: Dtype, chunk_bytes: int
) -> None:
    frame = encode(message, dtype=dtype)
    assert encoded_bytes(message, dtype, chunk_bytes) == wire_bytes(frame.nbytes, chunk_bytes)


@given(st.binary(max_size=400))
def test_any_bytes_are_a_message_or_a_protocol_error(data: bytes) -> None:
    with suppress(ProtocolError):
        decode(data)
    with suppress(ProtocolError):
        read_part(data)


@given(st.dictionaries(st.sampled_from(string.ascii_lowercase), PLAIN, max_size=20), st.binary())
@example({"t": "m"}, b"")
def test_any_sealed_map_is_a_message_or_a_protocol_error(
    plain: dict[str, object], payload: bytes
) -> None:
    with suppress(ProtocolError):
        decode(seal(plain, memoryview(payload)).join())


@given(FRAMES, st.data())
def test_a_changed_frame_is_refused(frame: bytes, data: st.DataObject) -> None:
    position = data.draw(st.integers(0, len(frame) - 1))
    changed = bytearray(frame)
    changed[position] ^= data.draw(st.integers(1, 255))
    with pytest.raises(ProtocolError):
        decode(bytes(changed))


@given(MODELS, st.integers(16, 200), st.data())
def test_an_assembly_never_delivers_a_torn_model(
    message: ModelMessage, chunk_bytes: int, data: st.DataObject
) -> None:
    """Parts of three versions in any order, lost and repeated: only whole frames, ever newer."""
    frames = {
        Stamp(1, 1, number): encode(ModelMessage(message.header, message.vector + number))
        for number in range(3)
    }
    pool = [
        part
        for stamp, frame in frames.items()
        for part in split(frame, stamp=stamp, slot=0, chunk_bytes=chunk_bytes)
    ]
    assembly, newest = Assembly(), Stamp(0, 0, 0)
    for part in map(read_part, data.draw(st.lists(st.sampled_from(pool), max_size=60))):
        done = assembly.add(part)
        if done is not None:
            assert done == frames[part.stamp].join()
            assert part.stamp > newest
            newest = part.stamp
