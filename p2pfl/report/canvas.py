"""One chart as inline SVG in the page's own colours, so that it follows light and dark."""

import io
import re
from collections.abc import Callable
from typing import Any, Final

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

INK: Final = "#010203"
MUTED: Final = "#010204"
GRID: Final = "#010205"
PAPER: Final = "#010206"
"""Stand-ins: the page's variables replace them when the SVG is written."""

SERIES: Final = 9
"""How many colours a page has; more series begin again."""

_STAND_INS: Final = {
    INK: "var(--ink)",
    MUTED: "var(--muted)",
    GRID: "var(--grid)",
    PAPER: "var(--card)",
    **{f"#0102{16 + i:02x}": f"var(--c{i})" for i in range(SERIES)},
}

_INCHES: Final = (5.2, 3.1)

_SETTINGS: Final[dict[Any, Any]] = {
    "svg.hashsalt": "p2pfl",
    "svg.fonttype": "none",
    "font.size": 9.5,
    # A user's title with two dollar signs is no formula.
    "text.parse_math": False,
    "axes.edgecolor": GRID,
    "axes.labelcolor": MUTED,
    "xtick.color": GRID,
    "ytick.color": GRID,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "text.color": INK,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.linewidth": 0.8,
    "xtick.major.size": 3,
    "ytick.major.size": 0,
    "ytick.minor.size": 0,
    "lines.linewidth": 1.9,
    "lines.solid_capstyle": "round",
    "path.simplify": True,
    "path.simplify_threshold": 0.3,
}

_UNUSED_ID: Final = re.compile(r' id="[A-Za-z0-9]+_\d+"')
_SIZE: Final = re.compile(r' width="[^"]*pt" height="[^"]*pt"')
_METADATA: Final = re.compile(r"\s*<metadata>.*?</metadata>", re.DOTALL)
_STYLE: Final = re.compile(r"\s*<style type=\"text/css\">.*?</style>", re.DOTALL)
_TAG: Final = re.compile(r"<[^>]+>")
_LONG_NUMBER: Final = re.compile(r"(\d+\.\d\d)\d+")


def colour(index: int) -> str:
    """The colour of a series, as a stand-in for the page's variable."""
    return f"#0102{16 + index % SERIES:02x}"


def chart(draw: Callable[[Axes], None], *, about: str, height: float = _INCHES[1]) -> str:
    """The `<svg>` of one pair of axes that `draw` fills; `height` in inches, the width is fixed."""
    with rc_context(_SETTINGS):
        figure = Figure(figsize=(_INCHES[0], height), layout="constrained")
        FigureCanvasSVG(figure)
        figure.patch.set_visible(False)
        axes = figure.add_subplot()
        axes.patch.set_visible(False)
        draw(axes)
        stream = io.StringIO()
        figure.savefig(stream, format="svg", metadata={"Date": None})
    return inline(stream.getvalue(), about=about)


def inline(svg: str, *, about: str) -> str:
    """An SVG document as an element that scales with the page and brings no rules of its own.

    `about` is what a screen reader says; the caller has escaped it.
    """
    text = svg[svg.index("<svg") :]
    for pattern in (_METADATA, _STYLE, _UNUSED_ID):
        text = pattern.sub("", text)
    text = _SIZE.sub("", text, count=1)
    # Coordinates need no hundred-thousandths; the words between the tags stay as they are.
    text = _TAG.sub(lambda tag: _LONG_NUMBER.sub(r"\1", tag.group()), text)
    for stand_in, variable in _STAND_INS.items():
        text = text.replace(stand_in, variable)
    return text.replace("<svg", f'<svg role="img" aria-label="{about}"', 1)
