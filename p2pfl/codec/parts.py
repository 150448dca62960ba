"""A large frame in parts, and back together: newest wins, torn ones are never delivered.

A part is a header of 32 bytes and a piece of the frame. Little-endian, in this order: magic "pP"
(2 bytes), protocol version (1), slot (1), index (2), count (2), bytes of the whole frame (4), the
stamp (incarnation's counter 4 and nonce 8, number of the publish 4), and a checksum (4), the low
half of xxh3_64 of the 28 bytes before it and the piece behind it.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
import xxhash
from numpy.typing import NDArray

from p2pfl.codec.frame import PART_HEADER_BYTES, Frame
from p2pfl.codec.limits import LIMITS, Limits
from p2pfl.errors import ProtocolError
from p2pfl.types import PROTOCOL_VERSION

MAGIC: Final = b"pP"

_FIELDS: Final = struct.Struct("<2sBBHHIIQI")
_CHECKSUM: Final = struct.Struct("<I")
_LOW: Final = 2**32 - 1


class Stamp(NamedTuple):
    """Which model a part belongs to; a larger one is newer, over restarts of its sender too."""

    counter: int
    nonce: int
    number: int
    """Position among this incarnation's publishes (or letters to one peer)."""


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """One piece of a frame, of right form and checksum."""

    stamp: Stamp
    slot: int
    index: int
    count: int
    frame_bytes: int
    piece: memoryview


def part_count(frame_bytes: int, chunk_bytes: int) -> int:
    """How many parts a frame of this length is cut into."""
    return -(-frame_bytes // chunk_bytes)


def is_part(data: bytes | memoryview) -> bool:
    """Whether this claims to be a part rather than a whole frame."""
    return bytes(data[:2]) == MAGIC


def split(frame: Frame, *, stamp: Stamp, slot: int, chunk_bytes: int) -> Iterator[bytes]:
    """The frame's parts in order, each made when it is asked for: one part's memory at a time."""
    count = part_count(frame.nbytes, chunk_bytes)
    for index in range(count):
        pieces = frame.cut(index * chunk_bytes, (index + 1) * chunk_bytes)
        fields = _FIELDS.pack(
            MAGIC,
            PROTOCOL_VERSION,
            slot,
            index,
            count,
            frame.nbytes,
            stamp.counter,
            stamp.nonce,
            stamp.number,
        )
        yield b"".join((fields, _CHECKSUM.pack(_checksum(fields, *pieces)), *pieces))


def read_part(data: bytes | memoryview, *, limits: Limits = LIMITS) -> Part:
    """The part that these bytes are.

    Raises:
        ProtocolError: `torn`, `magic`, `protocol_version`, `parts`, `frame_bytes` or `checksum`.
    """
    view = memoryview(data)
    if view.nbytes <= PART_HEADER_BYTES:
        raise ProtocolError("torn", f"{view.nbytes} bytes are no part")
    magic, protocol_version, slot, index, count, frame_bytes, *stamp = _FIELDS.unpack_from(view)
    piece = view[PART_HEADER_BYTES:]
    if magic != MAGIC:
        raise ProtocolError("magic", magic.hex())
    if protocol_version != PROTOCOL_VERSION:
        raise ProtocolError("protocol_version", f"{protocol_version}, not {PROTOCOL_VERSION}")
    if not index < count <= limits.parts_max:
        raise ProtocolError("parts", f"part {index} of {count}")
    if frame_bytes > limits.frame_bytes_max:
        raise ProtocolError("frame_bytes", f"{frame_bytes} are more than {limits.frame_bytes_max}")
    (checksum,) = _CHECKSUM.unpack_from(view, _FIELDS.size)
    if _checksum(view[: _FIELDS.size], piece) != checksum:
        raise ProtocolError("checksum", f"part {index} of {count} is not what was sent")
    return Part(Stamp(*stamp), slot, index, count, frame_bytes, piece)


class Assembly:
    """Puts one sender's parts together; holds at most one unfinished frame.

    A part of a newer stamp discards the unfinished older frame, older parts and duplicates change
    nothing, and a finished stamp is never delivered twice.
    """

    __slots__ = ("_buffer", "_count", "_missing", "_piece_bytes", "_stamp", "discarded")

    def __init__(self) -> None:
        self._stamp: Stamp | None = None
        self._buffer: NDArray[np.uint8] | None = None
        self._missing: set[int] = set()
        self._count = 0
        self._piece_bytes = 0
        self.discarded = 0
        """Unfinished frames that a newer one pushed out."""

    def __repr__(self) -> str:
        have = self._count - len(self._missing)
        return f"Assembly({self._stamp}, {have} of {self._count} parts)"

    @property
    def stamp(self) -> Stamp | None:
        """The newest stamp seen, finished or not."""
        return self._stamp

    @property
    def complete(self) -> bool:
        """Whether nothing is missing of the newest stamp (or none was seen)."""
        return not self._missing

    @property
    def progress(self) -> tuple[int, int, int]:
        """The newest frame's number, how many of its bytes came in, and of how many; 0 of 0: none.

        The last piece counts as one of the others, which is at most one piece too many.
        """
        if self._stamp is None or self._buffer is None:
            return 0, 0, 0
        done = (self._count - len(self._missing)) * self._piece_bytes
        return self._stamp.number, min(done, self._buffer.size), self._buffer.size

    @property
    def missing(self) -> frozenset[int]:
        """Indices that have not come in yet."""
        return frozenset(self._missing)

    def add(self, part: Part) -> memoryview | None:
        """Take a part; the whole frame when this was the last one missing.

        Raises:
            ProtocolError: `torn`: the part contradicts others of its stamp, or its own length.
        """
        if self._stamp is not None and part.stamp < self._stamp:
            return None
        if part.stamp != self._stamp:
            self._begin(part)
        buffer = self._buffer
        if buffer is None or part.index not in self._missing:
            return None
        if part.count != self._count or part.frame_bytes != buffer.size:
            raise ProtocolError("torn", f"part {part.index} is of another frame of one stamp")
        start = part.index * self._piece_bytes
        stop = min(start + self._piece_bytes, buffer.size)
        if stop - start != part.piece.nbytes:
            raise ProtocolError("torn", f"part {part.index} has {part.piece.nbytes} bytes")
        buffer[start:stop] = part.piece
        self._missing.discard(part.index)
        if self._missing:
            return None
        self._buffer = None
        return buffer.data

    def forget(self) -> None:
        """Drop the unfinished frame and the memory of stamps (its sender began anew)."""
        self._stamp = None
        self._buffer = None
        self._missing = set()
        self._count = 0

    def _begin(self, part: Part) -> None:
        piece_bytes = _piece_bytes(part)
        if self._missing:
            self.discarded += 1
        self._stamp = part.stamp
        # Not touched before parts come in, so a lying length costs address space alone.
        self._buffer = np.empty(part.frame_bytes, np.uint8)
        self._missing = set(range(part.count))
        self._count = part.count
        self._piece_bytes = piece_bytes


def _piece_bytes(part: Part) -> int:
    """Bytes of every piece but the last. Raises ProtocolError where the lengths do not add up."""
    length = part.piece.nbytes
    if part.index == part.count - 1 and part.count > 1:
        before = part.frame_bytes - length
        length, remainder = divmod(before, part.count - 1)
        if before < 0 or remainder:
            raise ProtocolError("torn", f"{part.frame_bytes} bytes do not make {part.count} parts")
    if part_count(part.frame_bytes, length or 1) != part.count:
        raise ProtocolError("torn", f"{part.frame_bytes} bytes do not make {part.count} parts")
    return length


def _checksum(fields: bytes | memoryview, *pieces: memoryview) -> int:
    state = xxhash.xxh3_64(fields)
    for piece in pieces:
        state.update(piece)
    return state.intdigest() & _LOW
