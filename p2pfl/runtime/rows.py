"""What a node reports while it lives: one flat line, from a node to whoever watches the run."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from itertools import islice
from typing import Final

from p2pfl.codec.fields import NODE_ID
from p2pfl.errors import DataError, ProtocolError
from p2pfl.learning.trainer import Score
from p2pfl.results.lines import from_object, to_object
from p2pfl.results.record import NodeSample, NodeTotals
from p2pfl.transport.base import Row

_REFUSED_MAX: Final = 20
"""Entries of refused messages in a line: it must fit a frame, whatever peers do."""

_TRANSFERS: Final = "transfers"
"""The one key of a line that tells of slow transfers, as JSON text."""

_TRANSFERS_MAX: Final = 16

_MB: Final = 1e6

_NESTED: Final = ("per_class", "refused")
"""Keys that are no plain values: they travel as JSON text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """One node at one moment: its sample, its totals so far, and where it is in its life."""

    sample: NodeSample
    totals: NodeTotals
    phase: str
    """As the node core names it; `joining` before the start."""
    life: int
    """Counter of the incarnation: totals begin anew with each."""
    eval_s: float
    """Seconds that the evaluation took."""

    def scored(self, score: Score | None, eval_s: float) -> "Report":
        """The same with a score of the model that was served then; None: there is none."""
        if score is None:
            return self
        sample = replace(
            self.sample, loss=score.loss, accuracy=score.accuracy, per_class=score.per_class
        )
        return replace(self, sample=sample, eval_s=eval_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class OnTheWay:
    """A large model that is slow on its way to a node, or from it."""

    peer: str
    """Whose it is; empty: the node's own, going out."""
    done_bytes: int
    total_bytes: int
    bytes_per_s: float
    """Over the last seconds; 0: nothing came."""

    @property
    def rest_s(self) -> float:
        """Seconds that it still needs at this rate; inf where nothing comes."""
        left = self.total_bytes - self.done_bytes
        return left / self.bytes_per_s if self.bytes_per_s > 0.0 else math.inf

    def text(self, node: str) -> str:
        """In a few words; `n0 <- n1 54 of 99 MB, 19 s to go`."""
        way = f"{node} <- {self.peer}" if self.peer else f"{node} ->"
        rest = f"{self.rest_s:.0f} s to go" if self.bytes_per_s > 0.0 else "nothing comes"
        return f"{way} {self.done_bytes / _MB:.0f} of {self.total_bytes / _MB:.0f} MB, {rest}"


def to_transfers_row(slow: Sequence[OnTheWay]) -> Row:
    """All slow transfers of a node at one moment, as a flat line; the first ones of very many."""
    return {_TRANSFERS: json.dumps([to_object(one) for one in slow[:_TRANSFERS_MAX]])}


def from_transfers_row(row: Row) -> tuple[OnTheWay, ...] | None:
    """The slow transfers that a line holds; None: it is another kind of line.

    Raises:
        ProtocolError: it is nonsense.
    """
    if _TRANSFERS not in row:
        return None
    try:
        found = json.loads(str(row[_TRANSFERS]))
        slow = [from_object(OnTheWay, each, where="row") for each in found[:_TRANSFERS_MAX]]
    except (DataError, ValueError, TypeError, KeyError, RecursionError) as problem:
        raise ProtocolError("row", str(problem)[:200]) from None
    return tuple(one for one in slow if _is_plausible(one))


def _is_plausible(one: OnTheWay) -> bool:
    """Shown on a terminal: no name but one of the grammar's, no number that is none."""
    named = not one.peer or NODE_ID.fullmatch(one.peer) is not None
    return named and 0 <= one.done_bytes <= one.total_bytes and math.isfinite(one.bytes_per_s)


def to_row(report: Report) -> Row:
    """The report as a flat line; sample and totals share the keys that mean the same."""
    plain = {
        "phase": report.phase,
        "life": report.life,
        "eval_s": report.eval_s,
        **to_object(report.totals, leave_out=("labels",)),
        **to_object(report.sample),
    }
    refused = dict(islice(report.totals.refused.items(), _REFUSED_MAX))
    plain["refused"] = json.dumps(refused)
    plain["per_class"] = json.dumps(plain["per_class"])
    row: dict[str, str | int | float | None] = {}
    for key, value in plain.items():
        assert value is None or isinstance(value, str | int | float)
        row[key] = value
    return row


def from_row(row: Row) -> Report:
    """The report that a line holds.

    Raises:
        ProtocolError: it is none.
    """
    try:
        plain: dict[str, object] = dict(row)
        for key in _NESTED:
            plain[key] = json.loads(str(plain[key]))
        return Report(
            sample=from_object(NodeSample, _part(NodeSample, plain), where="row"),
            totals=from_object(NodeTotals, _part(NodeTotals, plain), where="row"),
            phase=str(plain["phase"]),
            life=int(str(plain["life"])),
            eval_s=float(str(plain["eval_s"])),
        )
    except (DataError, ValueError, KeyError, RecursionError) as problem:
        raise ProtocolError("row", str(problem)[:200]) from None


def _part(kind: type[NodeSample | NodeTotals], plain: Mapping[str, object]) -> dict[str, object]:
    names = {field.name for field in fields(kind)}
    return {key: value for key, value in plain.items() if key in names}


def over_lives(lives: list[NodeTotals]) -> NodeTotals:
    """The totals of one node over all its lives, the newest last."""
    last = lives[-1]
    mixes = sum(t.mixes for t in lives)
    refused: dict[str, int] = {}
    for one in lives:
        for reason, number in one.refused.items():
            refused[reason] = refused.get(reason, 0) + number
    return NodeTotals(
        node=last.node,
        role=last.role,
        versions=sum(t.versions for t in lives),
        steps=sum(t.steps for t in lives),
        samples=sum(t.samples for t in lives),
        mixes=mixes,
        staleness_max=max(t.staleness_max for t in lives),
        staleness_mean=sum(t.staleness_mean * t.mixes for t in lives) / mixes if mixes else 0.0,
        age_max_s=max(t.age_max_s for t in lives),
        left_out=sum(t.left_out for t in lives),
        out_bytes=sum(t.out_bytes for t in lives),
        in_bytes=sum(t.in_bytes for t in lives),
        fan_out_bytes=sum(t.fan_out_bytes for t in lives),
        control_bytes=sum(t.control_bytes for t in lives),
        out_messages=sum(t.out_messages for t in lives),
        in_messages=sum(t.in_messages for t in lives),
        superseded=sum(t.superseded for t in lives),
        period_s=last.period_s,
        way_s=last.way_s,
        refused=refused,
        outcome=last.outcome,
    )
