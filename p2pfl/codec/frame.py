"""Messages to frames and back: magic, version, one msgpack map, then raw little-endian numbers.

    offset  bytes  content
         0      4  magic "p2pf"
         4      1  protocol version
         5      1  zero
         6      2  length of the map, with its padding, little-endian: a multiple of 8
         8      8  xxh3_64 of all that follows, little-endian
        16         the map, zero-padded, so that the numbers behind it are aligned
                   the numbers

What a stranger sends gives a message or ProtocolError, never anything else. No pickle.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, assert_never

import msgpack  # type: ignore[import-untyped]  # msgpack ships no types.
import xxhash

from p2pfl.codec import headers
from p2pfl.codec.fields import Plain
from p2pfl.codec.limits import CHUNK_BYTES, INLINE_BYTES_MAX, LIMITS, Limits
from p2pfl.codec.tensors import (
    EXTRA_ITEM_BYTES,
    ITEM_BYTES,
    Dtype,
    extra_of,
    extra_payload,
    payload_of,
    vector_of,
)
from p2pfl.errors import ProtocolError
from p2pfl.messages import Header, Message, ModelMessage, Presence, VersionRequest
from p2pfl.types import PROTOCOL_VERSION, Extra

MAGIC: Final = b"p2pf"
PART_HEADER_BYTES: Final = 32

_PREFIX: Final = struct.Struct("<4sBBHQ")
_ALIGNMENT: Final = 8
_NOTHING: Final = memoryview(b"")
_HEADER_BYTES_MAX: Final = 2**16 - _ALIGNMENT
_ENTRIES_MAX: Final = 64
"""A header has 23 entries and a line of metrics not many more; longer maps are an attack."""

_ITEMS_MAX: Final = 1024
"""Lists in a header have an item per neighbour at most."""


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One encoded message; the payload is a view of the model, so it must not be written to."""

    head: bytes
    payload: memoryview

    @property
    def nbytes(self) -> int:
        """Length in bytes."""
        return len(self.head) + self.payload.nbytes

    def join(self) -> bytes:
        """The whole frame in one piece; copies the payload once."""
        return b"".join((self.head, self.payload))

    def cut(self, start: int, stop: int) -> tuple[memoryview, memoryview]:
        """The bytes from `start` to `stop` without a copy: what lies in the head, and behind it."""
        own = len(self.head)
        head = memoryview(self.head)[start:stop]
        return head, self.payload[max(0, start - own) : max(0, stop - own)]


def seal(plain: Plain, payload: memoryview = _NOTHING, *, checksum: bool = True) -> Frame:
    """A frame around any plain map and raw numbers.

    Without `checksum` the field is zero, for measuring lengths only.
    """
    packed: bytes = msgpack.packb(plain)
    packed += bytes(-len(packed) % _ALIGNMENT)
    if len(packed) > _HEADER_BYTES_MAX:
        raise ProtocolError("header_bytes", f"{len(packed)} are more than {_HEADER_BYTES_MAX}")
    digest = _checksum(packed, payload) if checksum else 0
    return Frame(_PREFIX.pack(MAGIC, PROTOCOL_VERSION, 0, len(packed), digest) + packed, payload)


def unseal(data: bytes | memoryview, *, limits: Limits = LIMITS) -> tuple[Plain, memoryview]:
    """The plain map and the raw numbers of a frame, of right form and checksum.

    Raises:
        ProtocolError: `frame_bytes`, `header_bytes`, `magic`, `protocol_version`, `torn`,
            `checksum` or `map`.
    """
    view = memoryview(data)
    if view.nbytes > limits.frame_bytes_max:
        raise ProtocolError("frame_bytes", f"{view.nbytes} are more than {limits.frame_bytes_max}")
    if view.nbytes < _PREFIX.size:
        raise ProtocolError("torn", f"{view.nbytes} bytes are no frame")
    magic, protocol_version, zero, length, digest = _PREFIX.unpack_from(view)
    if magic != MAGIC:
        raise ProtocolError("magic", magic.hex())
    if protocol_version != PROTOCOL_VERSION or zero:
        raise ProtocolError("protocol_version", f"{protocol_version}, not {PROTOCOL_VERSION}")
    if length > limits.header_bytes_max:
        raise ProtocolError("header_bytes", f"{length} are more than {limits.header_bytes_max}")
    if length % _ALIGNMENT or _PREFIX.size + length > view.nbytes:
        raise ProtocolError("torn", f"a map of {length} bytes in a frame of {view.nbytes}")
    packed, payload = view[_PREFIX.size : _PREFIX.size + length], view[_PREFIX.size + length :]
    if _checksum(packed, payload) != digest:
        raise ProtocolError("checksum", "the frame is not what was sent")
    return _unpack(packed), payload


def frame_digest(frame: Frame) -> int:
    """The checksum that the frame carries."""
    digest: int = _PREFIX.unpack_from(frame.head)[-1]
    return digest


def encode(message: Message, *, dtype: Dtype = "float32") -> Frame:
    """The message as a frame; its payload is a view of the vector where the width allows."""
    match message:
        case ModelMessage(header=header, vector=vector, extra=extra):
            plain = headers.model_plain(header, dtype, vector.size, extra)
            payload = payload_of(vector, dtype)
            if extra is not None:
                payload = memoryview(b"".join((payload, extra_payload(extra))))
            return seal(plain, payload)
        case Presence():
            return seal(headers.presence_plain(message))
        case VersionRequest():
            return seal(headers.request_plain(message))
        case _:
            assert_never(message)


def decode(
    data: bytes | memoryview,
    *,
    limits: Limits = LIMITS,
    schema: str | None = None,
    dimension: int | None = None,
) -> Message:
    """The message that a frame holds; a float32 vector is a read-only view of `data`.

    `schema` and `dimension`: what a model must have; None takes any.

    Raises:
        ProtocolError: the frame breaks a limit or the form, or the model is of another schema, or
            not finite. `reason` is a short key to count under.
    """
    plain, payload = unseal(data, limits=limits)
    kind = plain.get("t")
    if kind == headers.MODEL:
        return _model(plain, payload, schema, dimension)
    if payload.nbytes:
        raise ProtocolError("payload", f"{payload.nbytes} bytes behind a frame without numbers")
    if kind == headers.PRESENCE:
        return headers.presence_of(plain)
    if kind == headers.REQUEST:
        return headers.request_of(plain)
    raise ProtocolError("kind", repr(kind)[:64])


def _model(
    plain: Plain, payload: memoryview, schema: str | None, dimension: int | None
) -> ModelMessage:
    header, dtype, length = headers.model_header(plain)
    if schema is not None and header.schema != schema:
        raise ProtocolError("schema", f"{header.schema}, not {schema}")
    if dimension is not None and length != dimension:
        raise ProtocolError("dimension", f"{length}, not {dimension}")
    beside = headers.extra_form(plain)
    own = length * ITEM_BYTES[dtype]
    more = 0 if beside is None else beside[1] * EXTRA_ITEM_BYTES
    if payload.nbytes != own + more:
        raise ProtocolError("payload", f"{payload.nbytes} bytes for {length} x {dtype} and {more}")
    extra = None if beside is None else extra_of(payload[own:], beside[0])
    return ModelMessage(header, vector_of(payload[:own], dtype), extra)


def encoded_bytes(
    message: Message,
    dtype: Dtype = "float32",
    chunk_bytes: int = CHUNK_BYTES,
    *,
    inline_bytes_max: int = INLINE_BYTES_MAX,
) -> int:
    """Exact bytes on the wire with part headers, in constant time: the numbers are not touched."""
    if isinstance(message, ModelMessage):
        header = message.header
        length = _map_bytes(header, dtype, message.vector.size, message.extra)
        frame = _PREFIX.size + length + message.vector.size * ITEM_BYTES[dtype]
        if message.extra is not None:
            frame += message.extra.nbytes
    else:
        frame = encode(message).nbytes
    return wire_bytes(frame, chunk_bytes, inline_bytes_max)


def wire_bytes(
    frame_bytes: int, chunk_bytes: int = CHUNK_BYTES, inline_bytes_max: int = INLINE_BYTES_MAX
) -> int:
    """What a frame of this length weighs when it travels: with part headers where it is cut."""
    if frame_bytes <= min(inline_bytes_max, chunk_bytes):
        return frame_bytes
    return frame_bytes + PART_HEADER_BYTES * -(-frame_bytes // chunk_bytes)


_INTEGER_BYTES: Final = tuple(len(msgpack.packb(2**bits - 1)) for bits in range(65))
"""Length of a msgpack unsigned integer by its number of bits."""


def integer_bytes(number: int) -> int:
    """What a whole number takes in a header: all of one length make frames of one length."""
    return _INTEGER_BYTES[number.bit_length()]


def _map_bytes(header: Header, dtype: Dtype, dimension: int, extra: Extra | None) -> int:
    size = _INTEGER_BYTES
    length = (
        _fixed_bytes(header.run, header.schema, header.node, header.kind, dtype, dimension)
        + size[header.incarnation.counter.bit_length()]
        + size[header.incarnation.nonce.bit_length()]
        + size[header.sequence.bit_length()]
        + size[header.version.bit_length()]
        + size[header.oldest_version.bit_length()]
        + size[header.local_steps.bit_length()]
        + size[header.samples.bit_length()]
        + size[header.degree.bit_length()]
        + size[header.epoch.bit_length()]
    )
    if extra is not None or header.words or header.trusts:
        # One byte begins a map of so few entries, and the model's own map has begun already.
        length += len(msgpack.packb(headers.rare_plain(header, extra))) - 1
    return length + -length % _ALIGNMENT


@lru_cache(maxsize=65536)
def _fixed_bytes(run: str, schema: str, node: str, kind: str, dtype: Dtype, dimension: int) -> int:
    """Bytes of a model's map without its nine counters; one entry per node and kind."""
    plain = {
        "t": headers.MODEL,
        "r": run,
        "s": schema,
        "i": node,
        "a": 0.0,
        "p": 0.0,
        "k": kind,
        "d": dtype,
        "l": dimension,
    }
    packed: bytes = msgpack.packb(plain)
    # One byte begins a map of up to 15 entries; a model's map has 18, and three bytes begin it.
    return len(packed) - 1 + 3 + 9 * len(msgpack.packb("c"))


def _checksum(packed: bytes | memoryview, payload: memoryview) -> int:
    state = xxhash.xxh3_64(packed)
    state.update(payload)
    return state.intdigest()


def _unpack(packed: memoryview) -> Plain:
    unpacker = msgpack.Unpacker(
        strict_map_key=True,
        max_buffer_size=max(1, packed.nbytes),
        max_array_len=_ITEMS_MAX,
        max_map_len=_ENTRIES_MAX,
        max_ext_len=0,
    )
    try:
        unpacker.feed(packed)
        plain = unpacker.unpack()
        end = unpacker.tell()
    # msgpack's own errors, nesting too deep, bad UTF-8 and unhashable keys are all a bad map.
    except (ValueError, TypeError, RecursionError, msgpack.UnpackException) as problem:
        raise ProtocolError("map", type(problem).__name__) from None
    if not isinstance(plain, Mapping) or not all(isinstance(key, str) for key in plain):
        raise ProtocolError("map", "no map with words as keys")
    if packed.nbytes - end >= _ALIGNMENT or any(packed[end:]):
        raise ProtocolError("map", "bytes behind the map")
    return plain
