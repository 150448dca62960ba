"""What to say where models are longer on their way than the time between two updates.

A model that comes each 40 s, mixed each second, is mixed forty times: each time it pulls back what
has been learned since. So the rule is: an update takes at least as long as a model on its way.
"""

from collections.abc import Sequence
from typing import Final

from p2pfl.results.record import NodeTotals

_NAMED_MAX: Final = 4


def holds_back(way_s: float, period_s: float) -> bool:
    """The rule: `way_s` for a model out or in, `period_s` from update to update; 0: not known."""
    return way_s > period_s > 0.0


def way_warning(way_s: float, period_s: float, *, codec: str) -> str:
    """For the node itself, in one line."""
    return (
        f"a model is {_seconds(way_s)} on its way, and the node mixes every {_seconds(period_s)}:"
        " it mixes the same old models again and again, which holds training back;"
        f" {_remedy(way_s / period_s, codec)}"
    )


def way_notes(nodes: Sequence[NodeTotals], *, codec: str) -> list[str]:
    """For the run's summary: whom it concerns, with what was measured, and what to do."""
    found = [one for one in nodes if one.role == "node" and holds_back(one.way_s, one.period_s)]
    if not found:
        return []
    found.sort(key=lambda one: one.period_s / one.way_s)
    named = [
        f"{one.node} {_seconds(one.way_s)}, update every {_seconds(one.period_s)}"
        for one in found[:_NAMED_MAX]
    ]
    more = f"; and {len(found) - _NAMED_MAX} more" if len(found) > _NAMED_MAX else ""
    worst = found[0]
    note = (
        f"models were longer on their way than an update takes ({'; '.join(named)}{more}): the same"
        " old ones were mixed again and again, which holds training back;"
        f" {_remedy(worst.way_s / worst.period_s, codec)}"
    )
    return [note]


def _remedy(times: float, codec: str) -> str:
    steps = f"raise training.local_steps to {_times(times)} what it is"
    halve = "" if codec != "float32" else ', or set network.codec = "bfloat16"'
    return f"{steps}{halve}, or choose a sparser topology"


def _times(times: float) -> str:
    return f"{times:.1f} times" if times < 10 else f"{times:.0f} times"  # noqa: PLR2004 - two digits


def _seconds(seconds: float) -> str:
    return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"  # noqa: PLR2004 - the same
