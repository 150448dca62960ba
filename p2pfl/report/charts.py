"""The charts of a report, each drawn on one pair of axes."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter, PercentFormatter

from p2pfl.comparison.curves import Measure
from p2pfl.comparison.table import ComparisonTable
from p2pfl.comparison.units import bytes_text, number_text
from p2pfl.report.canvas import GRID, INK, MUTED, PAPER, chart, colour
from p2pfl.report.series import Curve, Numbers
from p2pfl.results.record import NodeTotals, RunResult
from p2pfl.types import NodeId

MAX_BARS: Final = 24
"""More nodes than this are drawn as one sorted profile."""

_MAX_TITLE: Final = 24
_LOG_RATIO: Final = 30.0
"""A span this wide is shown on a logarithmic axis."""
_NOTHING: Final = 0.01
"""A share of the whole cost that is next to nothing, such as the first signs of life."""


def quality_chart(curves: Sequence[Curve], *, measure: Measure, unit: str, about: str) -> str:
    """Mean lines over time, in bands from the worst node to the best."""

    def draw(axes: Axes) -> None:
        for curve in curves:
            tint = colour(curve.colour)
            axes.fill_between(curve.at, curve.low, curve.high, color=tint, alpha=0.13, linewidth=0)
            axes.plot(curve.at, curve.low, color=tint, linewidth=0.9, linestyle=(0, (3, 2)))
        for curve in reversed(curves):
            _line(axes, curve)
        _quality_axis(axes, measure, curves)
        axes.set_xlabel(unit)
        axes.set_xlim(left=0)

    return chart(draw, about=about)


def against_chart(
    curves: Sequence[Curve],
    *,
    measure: Measure,
    label: str,
    form: Callable[[float], str],
    about: str,
) -> str:
    """Mean quality against what was spent; the axis is logarithmic if the ends lie far apart."""
    ends = [float(curve.at[-1]) for curve in curves]
    wide = max(ends) > _LOG_RATIO * min(ends)

    def draw(axes: Axes) -> None:
        shown = [_from_first_cost(curve) for curve in curves] if wide else curves
        for curve in reversed(shown):
            _line(axes, curve)
        if wide:
            axes.set_xscale("log")
            axes.xaxis.set_minor_formatter(NullFormatter())
            axes.tick_params(axis="x", which="minor", length=0)
        else:
            axes.xaxis.set_major_locator(MaxNLocator(5))
            axes.set_xlim(left=0)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: form(value)))
        _quality_axis(axes, measure, shown)
        axes.set_xlabel(label)

    return chart(draw, about=about)


def distance_chart(curves: Sequence[Curve], *, unit: str, label: str, about: str) -> str:
    """Positive numbers over time; the axis is logarithmic if they span much."""

    def draw(axes: Axes) -> None:
        for curve in reversed(curves):
            _line(axes, curve)
        if not _logarithmic(axes, curves):
            axes.set_ylim(bottom=0)
        axes.set_xlabel(unit)
        axes.set_ylabel(label)
        axes.set_xlim(left=0)

    return chart(draw, about=about)


def class_chart(rows: Sequence[tuple[str, int, Numbers]], *, about: str) -> str:
    """One line per class, one dot per row: title, colour, accuracy per class."""
    classes = max(len(values) for _, _, values in rows)

    def draw(axes: Axes) -> None:
        places = np.arange(classes)
        # Dots of equal accuracy would hide each other: rows stand a little apart.
        apart = np.linspace(-0.24, 0.24, len(rows)) if len(rows) > 1 else np.zeros(1)
        for (_, tint, values), shift in zip(rows, apart, strict=True):
            axes.scatter(
                values, places + shift, s=34, color=colour(tint), linewidths=0.6,
                edgecolors=PAPER, zorder=3,
            )  # fmt: skip
        axes.set_yticks(places, [str(place) for place in places])
        axes.invert_yaxis()
        axes.set_ylabel("class")
        axes.set_xlim(-0.02, 1.02)
        axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        axes.set_xlabel("accuracy on the class, mean over nodes")

    return chart(draw, about=about, height=max(2.4, 0.6 + 0.27 * classes))


def staleness_chart(run: RunResult, slow: frozenset[NodeId], *, about: str) -> str:
    """The largest staleness that each node ever mixed, and the bound."""
    nodes = [node for node in run.nodes if node.mixes]

    def draw(axes: Axes) -> None:
        values = {node.node: node.staleness_max for node in nodes}
        _profile(axes, values, {n: 1 if n in slow else 0 for n in values})
        top = max(values.values(), default=0.0)
        if np.isfinite(run.staleness_bound):
            top = max(top, run.staleness_bound)
            axes.axhline(run.staleness_bound, color=INK, linewidth=1.2, linestyle=(0, (4, 3)))
            axes.annotate(
                f"bound: {number_text(run.staleness_bound)}", (1.0, run.staleness_bound),
                xycoords=("axes fraction", "data"), xytext=(0, 4), textcoords="offset points",
                ha="right", color=INK,
            )  # fmt: skip
        axes.set_ylim(0, 1.18 * top if top > 0 else 1.0)
        axes.set_ylabel(run.staleness_unit)

    return chart(draw, about=about)


def staleness_shares(table: ComparisonTable, tints: Mapping[str, int], *, about: str) -> str:
    """Each row's largest staleness as a share of its own bound."""
    rows = [row for row in table.rows if any(summary.mixes for summary in row.summaries)]

    def draw(axes: Axes) -> None:
        for place, row in enumerate(rows):
            bound = row.summaries[0].staleness_bound
            largest = max(summary.staleness_max for summary in row.summaries)
            share = largest / bound if np.isfinite(bound) and bound > 0 else 0.0
            axes.barh(place, share, height=0.5, color=colour(tints[row.title]))
            axes.annotate(
                row.cells["staleness"].text, (share, place), xytext=(5, 0),
                textcoords="offset points", va="center", color=INK,
            )  # fmt: skip
        axes.axvline(1.0, color=INK, linewidth=1.2, linestyle=(0, (4, 3)))
        axes.annotate(
            "bound", (1.0, 1.0), xycoords=("data", "axes fraction"), xytext=(0, 3),
            textcoords="offset points", ha="center", color=INK,
        )  # fmt: skip
        _titles(axes, [row.title for row in rows])
        axes.set_xlim(0, 1.12)
        axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        axes.set_xlabel("share of the bound")
        axes.grid(visible=False, axis="y")

    return chart(draw, about=about, height=max(1.9, 0.9 + 0.42 * len(rows)))


def bytes_chart(run: RunResult, *, about: str) -> str:
    """Bytes out and in at every endpoint."""
    nodes = run.nodes

    def draw(axes: Axes) -> None:
        if len(nodes) > MAX_BARS:
            total = {n.node: float(n.out_bytes + n.in_bytes) for n in nodes}
            _profile(axes, total, dict.fromkeys(total, 0))
            axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: bytes_text(value)))
            return
        _endpoint_bars(axes, nodes)

    height = max(2.0, 0.8 + 0.27 * len(nodes)) if len(nodes) <= MAX_BARS else 3.1
    return chart(draw, about=about, height=height)


def traffic_chart(table: ComparisonTable, tints: Mapping[str, int], *, about: str) -> str:
    """Each row's bytes: per node, at the busiest endpoint, and there without a broker's fan-out."""
    rows = [row for row in table.rows if any(s.sends_models for s in row.summaries)]
    kinds = (("bytes_node_mean", 1.0), ("bytes_busiest", 0.55), ("bytes_busiest_unicast", 0.22))

    def draw(axes: Axes) -> None:
        top = 0.0
        for place, row in enumerate(rows):
            for lane, (key, strength) in enumerate(kinds):
                value = row.cells[key].mean or 0.0
                top = max(top, value)
                y = place + (lane - 1) * 0.26
                axes.barh(y, value, height=0.22, color=PAPER)
                axes.barh(y, value, height=0.22, color=colour(tints[row.title]), alpha=strength)
                axes.annotate(
                    bytes_text(value), (value, y), xytext=(4, 0), textcoords="offset points",
                    va="center", color=MUTED, fontsize=8,
                )  # fmt: skip
        _titles(axes, [row.title for row in rows])
        axes.set_xlim(0, 1.16 * top if top else 1.0)
        axes.xaxis.set_major_locator(MaxNLocator(4))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: bytes_text(value)))
        axes.grid(visible=False, axis="y")

    return chart(draw, about=about, height=max(2.0, 0.6 + 0.8 * len(rows)))


# ------------------------------------------------------------ what they share


def _line(axes: Axes, curve: Curve) -> None:
    few = len(curve.at) <= 40  # noqa: PLR2004 - more markers would make a rope
    axes.plot(
        curve.at, curve.mean, color=colour(curve.colour), marker="o" if few else "", markersize=3
    )
    if len(curve.at):
        axes.plot(curve.at[-1:], curve.mean[-1:], "o", color=colour(curve.colour), markersize=5)


def _quality_axis(axes: Axes, measure: Measure, curves: Sequence[Curve]) -> None:
    if measure == "accuracy":
        axes.set_ylim(0, 1.02)
        axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        axes.set_ylabel("accuracy")
        return
    _logarithmic(axes, curves)
    axes.set_ylabel("loss")


def _logarithmic(axes: Axes, curves: Sequence[Curve]) -> bool:
    """Makes the values' axis logarithmic if they span much; whether it did."""
    every = np.concatenate([curve.mean for curve in curves])
    positive = every[np.isfinite(every) & (every > 0)]
    if not positive.size or positive.max() <= _LOG_RATIO * positive.min():
        return False
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: number_text(value)))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.tick_params(axis="y", which="minor", left=False)
    return True


def _from_first_cost(curve: Curve) -> Curve:
    """Without the points at which next to nothing was spent: a logarithmic axis has no zero."""
    spent = curve.at > _NOTHING * curve.at[-1]
    return Curve(
        curve.title, curve.colour, curve.at[spent], curve.mean[spent], curve.low[spent],
        curve.high[spent],
    )  # fmt: skip


def _profile(axes: Axes, values: Mapping[NodeId, float], tints: Mapping[NodeId, int]) -> None:
    """A bar per node; of many nodes their values in falling order."""
    if len(values) > MAX_BARS:
        falling = sorted(values.values(), reverse=True)
        axes.fill_between(np.arange(len(falling)), falling, step="mid", color=colour(0), alpha=0.75)
        axes.set_xlabel("nodes, from the largest to the smallest")
        return
    names = list(values)
    axes.bar(names, list(values.values()), color=[colour(tints[n]) for n in names], width=0.62)
    axes.grid(visible=False, axis="x")
    crowded = sum(map(len, names)) > 48  # noqa: PLR2004 - characters in the picture's width
    axes.tick_params(axis="x", length=0, rotation=90 if crowded else 0)


def _endpoint_bars(axes: Axes, nodes: Sequence[NodeTotals]) -> None:
    places = np.arange(len(nodes))
    out = np.array([node.out_bytes for node in nodes], dtype=np.float64)
    into = np.array([node.in_bytes for node in nodes], dtype=np.float64)
    axes.barh(places, into, height=0.6, color=PAPER)
    axes.barh(places, into, height=0.6, color=colour(0), alpha=0.45)
    axes.barh(places, out, left=into, height=0.6, color=colour(0))
    busiest = int(np.argmax(out + into))
    axes.annotate(
        bytes_text(float(out[busiest] + into[busiest])), (out[busiest] + into[busiest], busiest),
        xytext=(4, 0), textcoords="offset points", va="center", color=INK,
    )  # fmt: skip
    _titles(axes, [node.node for node in nodes])
    axes.set_xlim(0, 1.16 * float((out + into).max()) or 1.0)
    axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: bytes_text(value)))
    axes.grid(visible=False, axis="y")


def _titles(axes: Axes, titles: Sequence[str]) -> None:
    """Names down the left side, the first on top."""
    short = [t if len(t) <= _MAX_TITLE else f"{t[: _MAX_TITLE - 1]}…" for t in titles]
    axes.set_yticks(np.arange(len(titles)), short)
    for label in axes.get_yticklabels():
        label.set_color(INK)
        label.set_parse_math(False)
    axes.set_ylim(len(titles) - 0.5, -0.5)
    axes.spines["bottom"].set_color(GRID)
