"""The transport's own small frames: heads of large models, claims to a name, words of control."""

from dataclasses import dataclass
from typing import Final, Literal, cast

from p2pfl.codec.fields import Fields, Plain
from p2pfl.codec.frame import seal, unseal
from p2pfl.codec.limits import Limits
from p2pfl.codec.parts import Stamp
from p2pfl.errors import ProtocolError
from p2pfl.messages import Incarnation
from p2pfl.transport.base import Row
from p2pfl.transport.topics import SLOTS
from p2pfl.types import NodeId

Word = Literal["go", "end"]

_SMALL: Final = Limits(frame_bytes_max=16_384, header_bytes_max=16_000)
_REASON_CHARACTERS_MAX: Final = 1024
_32_BITS: Final = 2**32 - 1
_16_BITS: Final = 2**16 - 1


@dataclass(frozen=True, slots=True)
class Head:
    """Where the parts of a node's newest model are."""

    run: str
    node: NodeId
    stamp: Stamp
    version: int
    slot: int
    count: int
    frame_bytes: int
    digest: int
    """The frame's own checksum."""
    sent_s: float
    """When it was published, on the sender's monotonic clock: tells queueing from distance."""

    def encode(self) -> bytes:
        """As a frame."""
        plain = {
            "t": "h",
            "r": self.run,
            "i": self.node,
            "c": self.stamp.counter,
            "o": self.stamp.nonce,
            "b": self.stamp.number,
            "v": self.version,
            "s": self.slot,
            "n": self.count,
            "l": self.frame_bytes,
            "x": self.digest,
            "a": float(self.sent_s),
        }
        return seal(plain).join()


@dataclass(frozen=True, slots=True)
class Claim:
    """`ask`: somebody wants to be this node. `alive`: this node answers that it lives."""

    kind: Literal["ask", "alive"]
    run: str
    node: NodeId
    incarnation: Incarnation
    """The holder's in an answer; in a question the nonce tells the askers apart."""

    def encode(self) -> bytes:
        """As a frame."""
        return seal(
            {
                "t": self.kind,
                "r": self.run,
                "i": self.node,
                "c": self.incarnation.counter,
                "o": self.incarnation.nonce,
            }
        ).join()


@dataclass(frozen=True, slots=True)
class Control:
    """What the process that started the run says to all."""

    word: Word
    reason: str = ""

    def encode(self) -> bytes:
        """As a frame."""
        plain = {"t": "c", "w": self.word, "y": self.reason[:_REASON_CHARACTERS_MAX]}
        return seal(plain).join()


def kind_of(data: bytes) -> str:
    """The kind of a small frame's map, a small model's too. Raises ProtocolError."""
    kind = unseal(data, limits=_SMALL)[0].get("t")
    if not isinstance(kind, str):
        raise ProtocolError("kind", repr(kind)[:64])
    return kind


def read_head(data: bytes) -> Head:
    """The head in a frame. Raises ProtocolError."""
    kind, plain = _plain(data)
    if kind != "h":
        raise ProtocolError("kind", f"{kind} is no head")
    fields = Fields(plain, frozenset("tricobvsnlxaz"))
    return Head(
        run=fields.run("r"),
        node=fields.node("i"),
        stamp=Stamp(
            fields.integer("c", _32_BITS), fields.integer("o"), fields.integer("b", _32_BITS)
        ),
        version=fields.integer("v"),
        slot=fields.integer("s", SLOTS - 1),
        count=fields.integer("n", _16_BITS),
        frame_bytes=fields.integer("l", _32_BITS),
        digest=fields.integer("x"),
        sent_s=fields.number("a"),
    )


def read_claim(data: bytes) -> Claim:
    """The claim in a frame. Raises ProtocolError."""
    kind, plain = _plain(data)
    if kind not in {"ask", "alive"}:
        raise ProtocolError("kind", f"{kind} is no claim")
    fields = Fields(plain, frozenset("tricoz"))
    incarnation = Incarnation(fields.integer("c"), fields.integer("o"))
    return Claim(
        cast("Literal['ask', 'alive']", kind), fields.run("r"), fields.node("i"), incarnation
    )


def read_control(data: bytes) -> Control:
    """The word of control in a frame. Raises ProtocolError."""
    kind, plain = _plain(data)
    if kind != "c":
        raise ProtocolError("kind", f"{kind} is no word of control")
    fields = Fields(plain, frozenset("twyz"))
    word = cast("Word", fields.choice("w", frozenset({"go", "end"})))
    return Control(word, fields.text("y", _REASON_CHARACTERS_MAX))


def encode_row(row: Row) -> bytes:
    """A line of metrics as a frame."""
    return seal(dict(row)).join()


def read_row(data: bytes) -> Row:
    """The line of metrics in a frame. Raises ProtocolError."""
    plain, _ = unseal(data, limits=_SMALL)
    row: dict[str, str | int | float | None] = {}
    for key, value in plain.items():
        if value is not None and not isinstance(value, str | int | float):
            raise ProtocolError("field", f"{key[:64]} is no plain value")
        row[key] = value
    return row


def _plain(data: bytes) -> tuple[str, Plain]:
    plain, payload = unseal(data, limits=_SMALL)
    kind = plain.get("t")
    if not isinstance(kind, str) or payload.nbytes:
        raise ProtocolError("kind", repr(kind)[:64])
    return kind, plain
