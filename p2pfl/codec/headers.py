"""Messages to plain maps with short keys, and back with every field checked."""

from typing import Final, cast

from p2pfl.codec.fields import Fields, Plain
from p2pfl.codec.tensors import EXTRA_DTYPES, ITEM_BYTES, Dtype, ExtraDtype
from p2pfl.errors import ProtocolError
from p2pfl.messages import Header, Incarnation, Presence, PresenceState, VersionRequest
from p2pfl.types import Extra

MODEL: Final = "m"
PRESENCE: Final = "p"
REQUEST: Final = "q"

SIGNATURE: Final = "z"
"""Reserved: a signature over the rest of the frame. Allowed in any header, and not read yet."""

_MODEL_KEYS: Final = frozenset("trsicoqvwapkhngedlzmbxy")
_PRESENCE_KEYS: Final = frozenset("tricouvpaxz")
_REQUEST_KEYS: Final = frozenset("trivz")
_STATES: Final = frozenset(PresenceState)
_DTYPES: Final = frozenset(ITEM_BYTES)
_EXTRA_DTYPES: Final = frozenset(EXTRA_DTYPES)


def model_plain(header: Header, dtype: Dtype, dimension: int, extra: Extra | None = None) -> Plain:
    """A model's header as a plain map; what few algorithms send is there only if they do."""
    plain: dict[str, object] = {
        "t": MODEL,
        "r": header.run,
        "s": header.schema,
        "i": header.node,
        "c": header.incarnation.counter,
        "o": header.incarnation.nonce,
        "q": header.sequence,
        "v": header.version,
        "w": header.oldest_version,
        "a": float(header.sent_s),
        "p": float(header.period_s),
        "k": header.kind,
        "h": header.local_steps,
        "n": header.samples,
        "g": header.degree,
        "e": header.epoch,
        "d": dtype,
        "l": dimension,
    }
    plain.update(rare_plain(header, extra))
    return plain


def rare_plain(header: Header, extra: Extra | None) -> Plain:
    """The fields that most models do not have: words, trusts, and what travels beside."""
    plain: dict[str, object] = {}
    if header.words:
        plain["m"] = list(header.words)
    if header.trusts:
        plain["b"] = [[node, trust] for node, trust in header.trusts]
    if extra is not None:
        plain["x"] = str(extra.dtype)
        plain["y"] = extra.size
    return plain


def extra_form(plain: Plain) -> tuple[ExtraDtype, int] | None:
    """Width and length of what travels beside the model, or None. Raises ProtocolError."""
    if "x" not in plain and "y" not in plain:
        return None
    fields = Fields(plain, _MODEL_KEYS)
    return cast("ExtraDtype", fields.choice("x", _EXTRA_DTYPES)), fields.integer("y")


def model_header(plain: Plain) -> tuple[Header, Dtype, int]:
    """The header, the width and the dimension. Raises ProtocolError."""
    fields = Fields(plain, _MODEL_KEYS)
    header = Header(
        run=fields.run("r"),
        schema=fields.text("s"),
        node=fields.node("i"),
        incarnation=Incarnation(fields.integer("c"), fields.integer("o")),
        sequence=fields.integer("q"),
        version=fields.integer("v"),
        oldest_version=fields.integer("w"),
        sent_s=fields.number("a"),
        period_s=fields.duration_s("p"),
        kind=fields.text("k"),
        local_steps=fields.integer("h"),
        samples=fields.integer("n"),
        degree=fields.integer("g"),
        epoch=fields.integer("e"),
        words=fields.integers("m") if "m" in plain else (),
        trusts=fields.shares("b") if "b" in plain else (),
    )
    if header.oldest_version > header.version:
        raise ProtocolError("field", "w is above v")
    return header, cast("Dtype", fields.choice("d", _DTYPES)), fields.integer("l")


def presence_plain(presence: Presence) -> Plain:
    """A presence as a plain map."""
    return {
        "t": PRESENCE,
        "r": presence.run,
        "i": presence.node,
        "c": presence.incarnation.counter,
        "o": presence.incarnation.nonce,
        "u": presence.state.value,
        "v": presence.version,
        "p": float(presence.period_s),
        "a": float(presence.sent_s),
        "x": presence.digest,
    }


def presence_of(plain: Plain) -> Presence:
    """The presence of a plain map. Raises ProtocolError."""
    fields = Fields(plain, _PRESENCE_KEYS)
    return Presence(
        run=fields.run("r"),
        node=fields.node("i"),
        incarnation=Incarnation(fields.integer("c"), fields.integer("o")),
        state=PresenceState(fields.choice("u", _STATES)),
        version=fields.integer("v"),
        period_s=fields.duration_s("p"),
        sent_s=fields.number("a"),
        digest=fields.text("x"),
    )


def request_plain(request: VersionRequest) -> Plain:
    """A version request as a plain map."""
    return {"t": REQUEST, "r": request.run, "i": request.node, "v": request.version}


def request_of(plain: Plain) -> VersionRequest:
    """The version request of a plain map. Raises ProtocolError."""
    fields = Fields(plain, _REQUEST_KEYS)
    return VersionRequest(run=fields.run("r"), node=fields.node("i"), version=fields.integer("v"))
