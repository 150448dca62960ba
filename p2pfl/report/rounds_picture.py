"""A graph that changes from round to round as a picture: its rounds side by side."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from matplotlib.figure import Figure

from p2pfl.report.graph_picture import INK, Point, check_ending, draw_on, write_picture
from p2pfl.types import NodeId

MAX_PANELS: Final = 16
"""More rounds than these are too small to read side by side."""

MAX_IN_PANEL: Final = 64
"""More nodes than these are dust in a small picture."""

_COLUMNS: Final = 4
_PANEL_INCHES: Final = 2.6
_WHOLE_INCHES: Final = 5.2
"""The width for which the sizes of a single graph are made."""


def draw_rounds(
    nodes: Sequence[NodeId],
    rounds: Sequence[Sequence[tuple[int, int]]],
    positions: Mapping[NodeId, Point],
    *,
    file: Path,
    directed: bool = False,
    title: str = "",
    caption: str = "",
) -> Path:
    """Writes one small graph for each round, in order, and returns the file's path.

    `rounds` are pairs of places in `nodes`; directed, the second hears the first.

    Raises:
        ConfigError: another ending than .svg, .png or .pdf, or a folder that cannot be written to.
    """
    check_ending(file)
    columns = min(_COLUMNS, len(rounds))
    lines = math.ceil(len(rounds) / columns)
    size = (_PANEL_INCHES * columns, (_PANEL_INCHES + 0.2) * lines + 0.6)
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(lines, columns, squeeze=False).ravel()
    for number, axes in enumerate(panels):
        if number >= len(rounds):
            axes.set_axis_off()
            continue
        scale = _PANEL_INCHES / _WHOLE_INCHES
        draw_on(axes, nodes, rounds[number], positions, directed=directed, scale=scale)
        axes.set_title(f"round {number}", color=INK, fontsize=9)
    if title:
        figure.suptitle(title, color=INK, fontsize=13, fontweight="bold")
    if caption:
        figure.supxlabel(caption, color=INK, fontsize=9.5)
    return write_picture(figure, file)
