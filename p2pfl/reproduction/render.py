"""A reproduction on a terminal, and for programs."""

import json
import textwrap
from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Final

from p2pfl.reproduction.target import TARGETS, Reproduction, Row

HEADING: Final = ("", "expected", "measured", "holds", "expected by")


def expected_text(row: Row) -> str:
    """`0.0126 ± 15 %`, `at most 1e-6`."""
    number = figure_text(row.expected)
    if row.must != "near":
        return f"{row.must} {number}"
    if row.tolerance == 0:
        return number
    share = row.relative * abs(row.expected)
    if share >= row.absolute:
        return f"{number} ± {figure_text(100 * row.relative)} %"
    return f"{number} ± {figure_text(row.absolute)}"


def figure_text(value: float) -> str:
    """Three or four significant digits, thousands apart; an exponent for very small and large."""
    if isfinite(value) and value and not 1e-3 <= abs(value) < 1e9:  # noqa: PLR2004 - 0.000123 and eleven digits are hard to read
        mantissa, exponent = f"{value:.2e}".split("e")
        return f"{float(mantissa):g}e{int(exponent)}"
    return f"{value:,.0f}" if abs(value) >= 1e3 else f"{value:.4g}"  # noqa: PLR2004 - 1,000


def cells(reproduction: Reproduction) -> list[tuple[str, ...]]:
    """One line per row, in the order of `HEADING`."""
    return [
        (row.what, expected_text(row), figure_text(row.measured), "yes" if row.ok else "NO",
         row.source)
        for row in reproduction.rows
    ]  # fmt: skip


def plain_text(heading: str, reproduction: Reproduction) -> str:
    """An aligned table below its heading, its notes, and how many rows hold."""
    lines = [HEADING, *cells(reproduction)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEADING))]
    return "\n".join(
        [
            heading,
            *(_aligned(line, widths) for line in lines),
            *(line for note in reproduction.notes for line in textwrap.wrap(note, 100)),
            summary(reproduction),
        ]
    )


def summary(reproduction: Reproduction) -> str:
    """In one sentence, how many rows hold."""
    good = sum(row.ok for row in reproduction.rows)
    return f"{good} of {len(reproduction.rows)} rows hold."


def json_text(reproductions: Mapping[str, Reproduction]) -> str:
    """Every number of every target."""
    content = [
        {"target": name, "title": TARGETS[name].title, **as_object(each)}
        for name, each in reproductions.items()
    ]
    return json.dumps(content, indent=1, ensure_ascii=False)


def as_object(reproduction: Reproduction) -> dict[str, object]:
    """Its rows and notes, for JSON."""
    return {
        "ok": reproduction.ok,
        "rows": [_row_object(row) for row in reproduction.rows],
        "notes": list(reproduction.notes),
    }


def _row_object(row: Row) -> dict[str, object]:
    return {
        "what": row.what,
        "must": row.must,
        "expected": row.expected,
        "tolerance": row.tolerance,
        # JSON knows no infinity: what diverged has no number.
        "measured": row.measured if abs(row.measured) < float("inf") else None,
        "ok": row.ok,
        "source": row.source,
    }


def _aligned(line: Sequence[str], widths: Sequence[int]) -> str:
    what, expected, measured, holds, source = line
    return (
        f"  {what:<{widths[0]}}  {expected:>{widths[1]}}  {measured:>{widths[2]}}"
        f"  {holds:<{widths[3]}}  {source}"
    ).rstrip()
