"""A comparison on a terminal, in a pipe, and for programs."""

import json
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from p2pfl.comparison.table import Cell, Column, ComparisonTable
from p2pfl.results.lines import to_object

if TYPE_CHECKING:
    from rich.console import RenderableType

WIDTH: Final = 100
"""Captions are wrapped, and the columns chosen, for a terminal of this width."""

_GAP: Final = "  "

_EDGES: Final = 2
"""The frame's own columns, left and right."""

_DISPENSABLE: Final = (
    "bytes_busiest_unicast",
    "quality_average_model",
    "steps_node",
    "at_equal_node_bytes",
    "consensus_distance",
    "at_equal_seconds",
    "at_equal_work",
    "steps",
    "at_equal_busiest_bytes",
    "time_to_target_s",
    "staleness",
)
"""Columns in the order in which a narrow terminal loses them."""

_QUALITY: Final = "WHAT WAS REACHED"
_COST: Final = "WHAT IT COST"


def plain_text(table: ComparisonTable) -> str:
    """Two aligned blocks and the captions: readable in a pipe, a log or a commit message."""
    blocks = [
        f"{title}\n{_block(table, columns)}"
        for title, columns in ((_QUALITY, table.quality), (_COST, table.cost))
    ]
    return "\n\n".join([*blocks, "\n".join(_wrapped(table.captions))])


def json_text(table: ComparisonTable) -> str:
    """Every number: per run, and per row with its mean and spread over seeds."""
    content = {
        "levels": to_object(table.levels),
        "rows": [
            {
                "title": row.title,
                "cells": {key: _cell_object(cell) for key, cell in row.cells.items()},
                "runs": [to_object(summary) for summary in row.summaries],
            }
            for row in table.rows
        ],
        "captions": list(table.captions),
    }
    return json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)


def rich_tables(table: ComparisonTable, *, width: int = WIDTH) -> "RenderableType":
    """The same with a frame, the best of each column in bold, and only columns that fit."""
    from rich.console import Group
    from rich.text import Text

    return Group(
        _rich_table(table, fitting(table, table.quality, width - _EDGES), _QUALITY),
        _rich_table(table, fitting(table, table.cost, width - _EDGES), _COST),
        Text(" ".join(table.captions), style="dim"),
    )


def fitting(table: ComparisonTable, columns: Sequence[Column], width: int) -> tuple[Column, ...]:
    """As many columns as fit: those that say least by themselves go first."""
    kept = list(columns)
    for key in _DISPENSABLE:
        needed = max(len(row.title) for row in table.rows) + sum(
            len(_GAP) + max(*map(len, c.heading), *(len(r.cells[c.key].text) for r in table.rows))
            for c in kept
        )
        if needed <= width:
            break
        kept = [column for column in kept if column.key != key]
    return tuple(kept)


def _rich_table(table: ComparisonTable, columns: Sequence[Column], title: str) -> "RenderableType":
    from rich import box
    from rich.table import Table
    from rich.text import Text

    frame = Table(
        title=title.capitalize(), title_justify="left", title_style="bold", box=box.SIMPLE_HEAD,
        pad_edge=False, padding=(0, 0, 0, 1),
    )  # fmt: skip
    frame.add_column("", no_wrap=True)
    for column in columns:
        frame.add_column("\n".join(column.heading), justify="right", no_wrap=True)
    best = {column.key: table.best(column) for column in columns}
    for row in table.rows:
        cells = [
            Text(row.cells[c.key].text, style="bold green" if row.title in best[c.key] else "")
            for c in columns
        ]
        frame.add_row(Text(row.title), *cells)
    return frame


def _block(table: ComparisonTable, columns: Sequence[Column]) -> str:
    lines = max(len(column.heading) for column in columns)
    headings = [("",) * (lines - len(c.heading)) + c.heading for c in columns]
    rows = [["", *(heading[i] for heading in headings)] for i in range(lines)]
    rows += [[row.title, *(row.cells[c.key].text for c in columns)] for row in table.rows]
    widths = [max(len(row[i]) for row in rows) for i in range(len(columns) + 1)]
    return "\n".join(
        _GAP.join(
            [
                row[0].ljust(widths[0]),
                *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True)),
            ]
        ).rstrip()
        for row in rows
    )


def _wrapped(captions: Sequence[str]) -> list[str]:
    return [line for caption in captions for line in textwrap.wrap(caption, WIDTH)]


def _cell_object(cell: Cell) -> dict[str, object]:
    return to_object(cell)
