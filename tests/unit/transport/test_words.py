import json

import pytest

from p2pfl.codec.frame import seal
from p2pfl.codec.parts import Stamp
from p2pfl.errors import ProtocolError
from p2pfl.messages import Incarnation
from p2pfl.transport.base import Row
from p2pfl.transport.inbox import HEAD_BYTES_MAX
from p2pfl.transport.manifest import (
    Manifest,
    encode_pointer,
    read_manifest,
    read_pointer,
)
from p2pfl.transport.words import (
    Claim,
    Control,
    Head,
    encode_row,
    kind_of,
    read_claim,
    read_control,
    read_head,
    read_row,
)
from p2pfl.types import NodeId

MAX = 2**32 - 1
HEAD = Head("r" * 128, NodeId("a" * 64), Stamp(MAX, 2**64 - 1, MAX), 7, 1, 65535, MAX, 5, 1.5)
CLAIM = Claim("alive", "r", NodeId("a"), Incarnation(3, 4))
MANIFEST = Manifest(
    run="demo-1a2b", name="demo", digest="beef", schema="abc", nodes=("a", "b"), experiment="ä = 1"
)


def test_the_transports_own_frames_come_back() -> None:
    assert read_head(HEAD.encode()) == HEAD
    assert kind_of(HEAD.encode()) == "h"
    assert read_claim(CLAIM.encode()) == CLAIM
    assert read_control(Control("end", "why").encode()) == Control("end", "why")


def test_the_longest_head_is_still_taken_for_one() -> None:
    assert len(HEAD.encode()) <= HEAD_BYTES_MAX


def test_a_frame_is_not_read_as_another_kind() -> None:
    for reader, data in (
        (read_head, CLAIM.encode()),
        (read_claim, HEAD.encode()),
        (read_control, HEAD.encode()),
    ):
        with pytest.raises(ProtocolError, match="kind"):
            reader(data)
    with pytest.raises(ProtocolError, match="kind"):
        kind_of(seal({"t": 5}).join())
    with pytest.raises(ProtocolError, match="kind"):
        read_head(seal({"t": "h"}, memoryview(b"12345678")).join())


def test_a_model_as_small_as_a_head_is_told_from_one() -> None:
    assert kind_of(seal({"t": "m"}, memoryview(b"12345678")).join()) == "m"


def test_a_long_reason_is_cut() -> None:
    assert len(read_control(Control("end", "x" * 5000).encode()).reason) == 1024


def test_a_line_of_metrics_comes_back() -> None:
    row: Row = {"step": 5, "loss": 0.5, "phase": "train", "accuracy": None}
    assert read_row(encode_row(row)) == row


def test_a_line_of_metrics_is_flat() -> None:
    with pytest.raises(ProtocolError, match="loss is no plain value"):
        read_row(seal({"loss": [1]}).join())


def test_a_manifest_comes_back_and_goes_on() -> None:
    assert read_manifest(MANIFEST.encode()) == MANIFEST
    assert read_manifest(MANIFEST.with_state("ended").encode()).state == "ended"
    assert read_pointer(encode_pointer("demo-1a2b")) == "demo-1a2b"


@pytest.mark.parametrize(
    "change",
    [
        {"run": "a/b"},
        {"state": "over"},
        {"state": ["open"]},
        {"nodes": ["a/b"]},
        {"nodes": [1]},
        {"nodes": None},
        {"digest": 5},
        {"extra": 1},
    ],
)
def test_a_manifest_with_a_wrong_field_is_refused(change: dict[str, object]) -> None:
    plain = json.loads(MANIFEST.encode()) | change
    with pytest.raises(ProtocolError, match="manifest"):
        read_manifest(json.dumps(plain).encode())


@pytest.mark.parametrize(
    "data", [b"", b"[]", b"5", b"{}", b"\xff", b"[" * 100_000, b"x" * 1_000_001]
)
def test_what_is_no_manifest_is_refused(data: bytes) -> None:
    for reader in (read_manifest, read_pointer):
        with pytest.raises(ProtocolError, match="manifest"):
            reader(data)


def test_a_pointer_names_a_run() -> None:
    with pytest.raises(ProtocolError, match="no run id"):
        read_pointer(b'{"run": "a/b"}')
