"""Names of topics, and what a name says."""

from dataclasses import dataclass
from typing import Final, Literal

from p2pfl.codec.fields import NODE_ID, RUN_ID
from p2pfl.types import PROTOCOL_VERSION, NodeId

ROOT: Final = f"p2pfl/{PROTOCOL_VERSION}"

SLOTS: Final = 2
"""Retained parts alternate between two slots: a reader of one is never overtaken by its writer."""

_NOBODY: Final = NodeId("")

Kind = Literal["manifest", "control", "head", "part", "presence", "metrics", "letter"]


def manifest(run: str) -> str:
    """The experiment; under an experiment's plain name, the pointer to its newest run."""
    return f"{ROOT}/{run}/manifest"


def control(run: str) -> str:
    """The words `go` and `end` of the process that started the run."""
    return f"{ROOT}/{run}/control"


def head(run: str, node: str) -> str:
    """A node's newest model, or where its parts are."""
    return f"{ROOT}/{run}/{node}/head"


def part(run: str, node: str, slot: int, index: int) -> str:
    """One part of a large model."""
    return f"{ROOT}/{run}/{node}/part/{slot}/{index}"


def parts(run: str, node: str) -> str:
    """All parts of a node's large models: a filter, for access rules."""
    return f"{ROOT}/{run}/{node}/part/#"


def presence(run: str, node: str) -> str:
    """A node's sign of life, and its last will."""
    return f"{ROOT}/{run}/{node}/presence"


def metrics(run: str, node: str) -> str:
    """What a node reports."""
    return f"{ROOT}/{run}/{node}/metrics"


def letter(run: str, sender: str, receiver: str) -> str:
    """What one node tells another alone."""
    return f"{ROOT}/{run}/{sender}/to/{receiver}"


@dataclass(frozen=True, slots=True)
class Address:
    """What a topic's name says."""

    kind: Kind
    run: str
    node: NodeId = _NOBODY
    """Whose topic it is: the writer."""
    slot: int = 0
    index: int = 0
    receiver: NodeId = _NOBODY


def parse(topic: str) -> Address | None:
    """What a topic's name says; None if it is none of ours."""
    if not topic.startswith(f"{ROOT}/"):
        return None
    run, *rest = topic.removeprefix(f"{ROOT}/").split("/")
    if not RUN_ID.fullmatch(run):
        return None
    match rest:
        case ["manifest"]:
            return Address("manifest", run)
        case ["control"]:
            return Address("control", run)
        case [node, "head" | "presence" | "metrics" as kind] if NODE_ID.fullmatch(node):
            return Address(kind, run, NodeId(node))
        case [node, "to", receiver] if NODE_ID.fullmatch(node) and NODE_ID.fullmatch(receiver):
            return Address("letter", run, NodeId(node), receiver=NodeId(receiver))
        case [node, "part", slot, index] if (
            NODE_ID.fullmatch(node) and _is_number(slot) and _is_number(index)
        ):
            return Address("part", run, NodeId(node), slot=int(slot), index=int(index))
    return None


def _is_number(word: str) -> bool:
    return word.isascii() and word.isdigit() and len(word) <= len("65535")
