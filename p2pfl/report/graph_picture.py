"""A graph as a picture: a file for a paper, or inline SVG for a page in light or dark."""

import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import FancyArrowPatch, PathPatch
from matplotlib.path import Path as Curve
from numpy.typing import NDArray

from p2pfl.errors import ConfigError
from p2pfl.types import NodeId

Point = tuple[float, float]

Points = NDArray[np.float64]
"""`[n, 2]`, in the order of the nodes."""

MAX_DRAWN: Final = 2_000
"""More nodes than this make a grey disc, not a picture."""

PALETTE: Final = ("#2a6f97", "#e07a3f", "#4c956c", "#9d4edd", "#c9a227", "#c1496b", "#5f6c7b")
"""Group colours in order: apart from each other for colour-blind readers and in grey print."""

INK: Final = "#22303c"
"""On white paper."""

_INK: Final = "#010203"
"""Stands for the page's own text colour until the SVG is written."""

_BEND: Final = 0.16
"""The least swing of a bent edge that the eye still sees."""

_POINTS_PER_UNIT: Final = 145.0
"""The picture is 374 points wide, and holds about 2.6 units."""

_MAX_LABELS: Final = 64
"""More labels than this are too small to read."""

_MARGIN: Final = 0.14


@dataclass(frozen=True, slots=True, kw_only=True)
class _Style:
    """Sizes that follow from the number of nodes, in points."""

    node: float
    label: float
    per_unit: float
    """Of the coordinates."""
    line: float
    alpha: float
    inside: bool
    """Whether a label has room within its node."""


def draw_graph(
    nodes: Sequence[NodeId],
    edges: Sequence[tuple[int, int]],
    positions: Mapping[NodeId, Point],
    *,
    file: Path,
    directed: bool = False,
    groups: Mapping[NodeId, str] | None = None,
    title: str = "",
    caption: str = "",
) -> Path:
    """Writes the picture (by the file's ending: .svg, .png or .pdf) and returns its path.

    `edges` are pairs of places in `nodes`. `groups` names each node's group (for example slow),
    which gives it a colour and a line in the legend.

    Raises:
        ConfigError: too many nodes, another ending, or a folder that cannot be written to.
    """
    check_ending(file)
    figure = _figure(
        nodes, edges, positions, directed=directed, groups=groups or {}, ink=INK, title=title,
        caption=caption,
    )  # fmt: skip
    return write_picture(figure, file)


def check_ending(file: Path) -> None:
    """Raises ConfigError unless the file's ending is one of a picture."""
    if file.suffix not in {".svg", ".png", ".pdf"}:
        raise ConfigError(
            f"{file}: a picture's name ends in .svg, .png or .pdf, not {file.suffix!r}"
        )


def write_picture(figure: Figure, file: Path) -> Path:
    """Writes the figure on white, the same bytes each time, and returns the path.

    Raises:
        ConfigError: the folder cannot be written to.
    """
    figure.patch.set_facecolor("white")
    # Without a date, and with a fixed salt for its ids, the same graph gives the same bytes.
    dateless = {"Date": None} if file.suffix == ".svg" else None
    try:
        with rc_context({"svg.hashsalt": "p2pfl", "svg.fonttype": "none"}):
            FigureCanvasAgg(figure)
            figure.savefig(file, dpi=200, metadata=dateless)
    except OSError as error:
        raise ConfigError(f"{file}: cannot write this picture: {error.strerror}") from None
    return file


def graph_svg(
    nodes: Sequence[NodeId],
    edges: Sequence[tuple[int, int]],
    positions: Mapping[NodeId, Point],
    *,
    directed: bool = False,
    groups: Mapping[NodeId, str] | None = None,
) -> str:
    """The picture as one `<svg>` element without background, in the page's own text colour.

    Raises:
        ConfigError: too many nodes.
    """
    figure = _figure(
        nodes, edges, positions, directed=directed, groups=groups or {}, ink=_INK, title="",
        caption="",
    )  # fmt: skip
    figure.patch.set_visible(False)
    stream = io.StringIO()
    with rc_context({"svg.hashsalt": "p2pfl", "svg.fonttype": "none"}):
        FigureCanvasSVG(figure)
        figure.savefig(stream, format="svg", metadata={"Date": None})
    text = stream.getvalue()
    return text[text.index("<svg") :].replace(_INK, "currentColor")


def _figure(
    nodes: Sequence[NodeId],
    edges: Sequence[tuple[int, int]],
    positions: Mapping[NodeId, Point],
    *,
    directed: bool,
    groups: Mapping[NodeId, str],
    ink: str,
    title: str,
    caption: str,
) -> Figure:
    if len(nodes) > MAX_DRAWN:
        raise ConfigError(
            f"picture: {len(nodes):,} nodes; up to {MAX_DRAWN:,} can be told apart in a picture"
        )
    figure = Figure(figsize=(5.2, 5.2), layout="constrained")
    axes = figure.add_subplot()
    names = list(dict.fromkeys(groups.get(node, "") for node in nodes))
    colours = {name: PALETTE[i % len(PALETTE)] for i, name in enumerate(names)}
    draw_on(
        axes,
        nodes,
        edges,
        positions,
        directed=directed,
        ink=ink,
        colours=[colours[groups.get(node, "")] for node in nodes],
    )
    if title:
        axes.set_title(title, color=ink, fontsize=13, fontweight="bold", pad=10)
    if caption:
        figure.supxlabel(caption, color=ink, fontsize=9.5)
    if len(names) > 1:
        handles = [
            Line2D([], [], marker="o", linestyle="", color=colours[name], label=name or "other")
            for name in names
        ]
        figure.legend(
            handles=handles, loc="outside upper center", ncols=4, frameon=False, labelcolor=ink
        )
    return figure


def draw_on(
    axes: Axes,
    nodes: Sequence[NodeId],
    edges: Sequence[tuple[int, int]],
    positions: Mapping[NodeId, Point],
    *,
    directed: bool,
    ink: str = INK,
    colours: Sequence[str] = (),
    scale: float = 1.0,
) -> None:
    """The graph on these axes; `scale` is their size against a picture of its own."""
    axes.set_axis_off()
    axes.set_aspect("equal")
    points = np.array([positions[node] for node in nodes], dtype=np.float64)
    style = _style(nodes, scale)
    _draw_edges(axes, points, edges, style, ink=ink, directed=directed)
    axes.scatter(
        points[:, 0],
        points[:, 1],
        s=style.node**2,
        c=list(colours) or PALETTE[0],
        linewidths=0,
        zorder=3,
    )
    _label(axes, nodes, points, style, ink)
    _frame(axes, points)


def _style(nodes: Sequence[NodeId], scale: float) -> _Style:
    count = len(nodes)
    longest = max(len(node) for node in nodes)
    node = scale * float(np.clip(115.0 / math.sqrt(count), 3.0, 30.0))
    label = float(np.clip(node * 0.42, 5.0 * scale, 11.0))
    return _Style(
        node=node,
        label=label,
        per_unit=_POINTS_PER_UNIT * scale,
        line=float(np.clip(5.0 / math.sqrt(count), 0.35, 1.6)),
        alpha=float(np.clip(6.0 / math.sqrt(count), 0.25, 0.55)),
        inside=longest * label * 0.62 <= node * 0.92,
    )


def _draw_edges(
    axes: Axes,
    points: Points,
    edges: Sequence[tuple[int, int]],
    style: _Style,
    *,
    ink: str,
    directed: bool,
) -> None:
    both_ways = set(edges) if directed else set()
    radius = style.node / 2 / style.per_unit
    for a, b in edges:
        bend = _BEND if (b, a) in both_ways else _bend(points, a, b, radius=radius)
        if directed:
            axes.add_patch(
                FancyArrowPatch(
                    tuple(points[a]),
                    tuple(points[b]),
                    arrowstyle="-|>",
                    connectionstyle=f"arc3,rad={bend}",
                    shrinkA=style.node / 2,
                    shrinkB=style.node / 2 + 1,
                    mutation_scale=6 + 3 * style.line,
                    linewidth=style.line,
                    color=ink,
                    alpha=style.alpha,
                    zorder=1,
                )
            )
            continue
        start, end = points[a], points[b]
        along = end - start
        middle = (start + end) / 2 + bend * np.array([along[1], -along[0]])
        curve = Curve([start, middle, end], [Curve.MOVETO, Curve.CURVE3, Curve.CURVE3])
        axes.add_patch(
            PathPatch(
                curve,
                fill=False,
                linewidth=style.line,
                edgecolor=ink,
                alpha=style.alpha,
                capstyle="round",
                zorder=1,
            )
        )


def _bend(points: Points, a: int, b: int, *, radius: float) -> float:
    """How far the edge must swing, in shares of its length, to pass by the nodes in its way."""
    along = points[b] - points[a]
    length = float(np.hypot(*along))
    if length == 0.0:
        return 0.0
    to_each = points - points[a]
    share = to_each @ along / length**2
    # Positive: the node stands on the side to which a positive bend swings.
    off = (to_each[:, 0] * along[1] - to_each[:, 1] * along[0]) / length
    in_way = (share > 0.05) & (share < 0.95) & (np.abs(off) < radius)  # noqa: PLR2004 - clear of both ends
    in_way[[a, b]] = False
    if not in_way.any():
        return 0.0
    bend = float(np.clip(2.6 * radius / length, _BEND, 4 * _BEND))
    return -bend if float(off[in_way].mean()) > 1e-9 else bend  # noqa: PLR2004 - rounding


def _label(
    axes: Axes,
    nodes: Sequence[NodeId],
    points: Points,
    style: _Style,
    ink: str,
) -> None:
    if len(nodes) > _MAX_LABELS:
        return
    middle = points.mean(axis=0)
    for node, point in zip(nodes, points, strict=True):
        if style.inside:
            axes.annotate(
                node, (point[0], point[1]), ha="center", va="center_baseline", color="white",
                fontsize=style.label, zorder=4,
            )  # fmt: skip
            continue
        out = point - middle
        length = float(np.hypot(*out))
        out = out / length if length > 0.05 else np.array([0.0, 1.0])  # noqa: PLR2004 - the centre
        axes.annotate(
            node, (point[0], point[1]), xytext=tuple(out * (style.node / 2 + 4)),
            textcoords="offset points",
            ha=_aligned(out[0], "right", "left"), va=_aligned(out[1], "top", "bottom"),
            color=ink, fontsize=max(style.label, 7.0), zorder=4,
        )  # fmt: skip


def _aligned(direction: float, before: str, after: str) -> str:
    if abs(direction) < 0.35:  # noqa: PLR2004 - nearly straight up, or to the side
        return "center"
    return after if direction > 0 else before


def _frame(axes: Axes, points: Points) -> None:
    """Room for the nodes' discs and for bent edges."""
    low, high = points.min(axis=0), points.max(axis=0)
    margin = _MARGIN * max(float((high - low).max()), 1.0)
    axes.set_xlim(low[0] - margin, high[0] + margin)
    axes.set_ylim(low[1] - margin, high[1] + margin)
