"""`report.html` of a sweep: the table, and every grid point over time in its confidence band."""

from collections.abc import Callable, Iterator, Sequence
from html import escape
from math import prod
from pathlib import Path
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, NullFormatter, PercentFormatter

from p2pfl.comparison.curves import Measure, mean_quality
from p2pfl.comparison.sweep_folder import write_whole
from p2pfl.comparison.sweep_table import Band, Sweep, SweepRow, band
from p2pfl.comparison.sweep_text import failure_lines
from p2pfl.comparison.table import Column
from p2pfl.comparison.units import number_text
from p2pfl.config.write import config_to_toml
from p2pfl.report.canvas import INK, PAPER, SERIES, chart, colour
from p2pfl.report.pictures import Picture, figure_html
from p2pfl.report.style import CSS
from p2pfl.results.record import NetworkSample

_MAX_CHARTS: Final = 12
_MAX_WHISKERS: Final = 60
_ABOVE: Final = 0.22
"""The seeds' dots stand so far above the line of their interval, in rows."""
_LOG_RATIO: Final = 30.0
"""Losses that span so much are shown on a logarithmic axis."""

_BANDS: Final = (
    "Bands are 95 % confidence intervals of the mean over seeds at each time, mean ± t · s / √n"
    " (Student's t distribution, n - 1 degrees of freedom), cut off where an accuracy cannot be."
)
_FOOT: Final = "Written by p2pfl. Bytes are frames and part headers at the nodes."


def write_sweep_report(sweep: Sweep, file: Path) -> Path:
    """Write the page of a sweep, whole or not at all, and return its path.

    Raises:
        ConfigError: the file cannot be written.
    """
    return write_whole(file, sweep_html(sweep))


def sweep_html(sweep: Sweep) -> str:
    """The page as text; it needs no network."""
    heading = escape(f"{sweep.grid.name}: a sweep over {_axes_words(sweep)}")
    captions = "".join(f'<p class="note">{escape(line)}</p>' for line in sweep.captions)
    body = [
        f"<h1>{heading}</h1>",
        f'<p class="lead">{escape(_lead(sweep))}</p>',
        f"<h2>What was reached, and what it cost</h2>{_table(sweep)}{captions}",
        '<h2>Pictures</h2><div class="charts">',
        *map(figure_html, _pictures(sweep)),
        "</div>",
        _failed(sweep),
        "<h2>Details</h2>",
        _experiment(sweep),
        f"<footer>{_FOOT}</footer>",
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{heading}</title><style>{CSS}</style></head>\n<body><main>\n"
        + "\n".join(part for part in body if part)
        + "\n</main></body></html>\n"
    )


def _axes_words(sweep: Sweep) -> str:
    keys = [axis.key for axis in sweep.grid.varying]
    if not keys:
        return f"{len(sweep.grid.seeds)} seeds"
    return " and ".join([", ".join(keys[:-1]), keys[-1]]) if len(keys) > 1 else keys[0]


def _lead(sweep: Sweep) -> str:
    grid = sweep.grid
    seeds = len(grid.seeds)
    parts = [
        f"{len(grid.points):,} grid points, {seeds} seed{'s' * (seeds > 1)} each",
        f"{len(sweep.results):,} of {len(grid.cells):,} runs done, simulated",
        f"{grid.experiment.config.data.kind}, {grid.experiment.config.model.kind}",
    ]
    return " · ".join(parts)


def _table(sweep: Sweep) -> str:
    columns = sweep.columns

    def head(column: Column) -> str:
        return f"<th>{'<br>'.join(map(escape, column.heading))}</th>"

    def line(row: SweepRow) -> str:
        cells = "".join(f"<td>{escape(row.cells[c.key].text)}</td>" for c in columns)
        return f"<tr><td>{escape(row.point.title)}</td>{cells}</tr>"

    return (
        f'<div class="card scroll"><table><thead><tr><th></th>{"".join(map(head, columns))}</tr>'
        f"</thead><tbody>{''.join(map(line, sweep.rows))}</tbody></table></div>"
    )


def _failed(sweep: Sweep) -> str:
    items = "".join(f"<li>{escape(line)}</li>" for line in failure_lines(sweep))
    return f"<h2>Failed</h2><ul>{items}</ul>" if items else ""


def _experiment(sweep: Sweep) -> str:
    text = escape(config_to_toml(sweep.grid.experiment.config))
    name = "The experiment that the sweep changes"
    return f"<details><summary>{name}</summary><pre>{text}</pre></details>"


# ------------------------------------------------------------ pictures


def _pictures(sweep: Sweep) -> Iterator[Picture]:
    rows = [row for row in sweep.rows if row.results]
    if not rows:
        return
    measure = sweep.measure
    groups = _groups(sweep)

    def quality(point: NetworkSample) -> float | None:
        return mean_quality(point, measure)

    yield from _over_time(
        groups, quality, measure, f"{measure.capitalize()} over time",
        f"Mean {measure} of the models that nodes serve.",
    )  # fmt: skip
    if measure == "accuracy":
        yield from _over_time(
            groups, lambda point: point.accuracy_worst, measure, "The worst node over time",
            "Accuracy of the worst node at each time, the mean over seeds.",
        )  # fmt: skip
    if len(rows) > 1:
        yield _final(rows[:_MAX_WHISKERS], measure)


def _groups(sweep: Sweep) -> list[tuple[str, list[SweepRow]]]:
    """The points that share a chart: as many of the last axes as a page has colours for."""
    rows = sweep.rows
    lengths = [len(axis.values) for axis in sweep.grid.axes]
    size = 1
    for start in reversed(range(len(lengths))):
        if prod(lengths[start:]) > SERIES:
            break
        size = prod(lengths[start:])
    size = SERIES if size == 1 < len(rows) else size
    cut = [list(rows[start : start + size]) for start in range(0, len(rows), size)]
    return [(_common(group) if len(cut) > 1 else "", group) for group in cut]


def _common(group: Sequence[SweepRow]) -> str:
    """The part of their titles that all points of one chart share."""
    parts = [row.point.title.split(", ") for row in group]
    shared = [words for words in parts[0] if all(words in each for each in parts)]
    return ", ".join(shared)


def _without(title: str, common: str) -> str:
    """A point's title without what the chart's own title says."""
    said = common.split(", ")
    own = [words for words in title.split(", ") if words not in said]
    return ", ".join(own) or title


def _over_time(
    groups: Sequence[tuple[str, Sequence[SweepRow]]],
    quality: Callable[[NetworkSample], float | None],
    measure: Measure,
    title: str,
    what: str,
) -> Iterator[Picture]:
    for common, group in groups[:_MAX_CHARTS]:
        bands = {
            place: found
            for place, row in enumerate(group)
            if (found := band(row, quality)) is not None
        }
        if not bands:
            continue
        banded = any(np.isfinite(each.low).any() for each in bands.values())
        more = len(groups) - _MAX_CHARTS
        cut = f" {more} more charts like this are left out." if more > 0 else ""
        yield Picture(
            title=f"{title}: {common}" if common else title,
            svg=_band_chart(bands, measure=measure, about=escape(title, quote=True)),
            caption=f"{what} {_BANDS if banded else 'One seed, so there is no band.'}{cut}",
            legend=tuple((_without(each.title, common), p) for p, each in bands.items()),
        )


def _band_chart(bands: dict[int, Band], *, measure: Measure, about: str) -> str:
    def draw(axes: Axes) -> None:
        for place, each in bands.items():
            low, high = _possible(each, measure)
            tint = colour(place)
            axes.fill_between(each.at, low, high, color=tint, alpha=0.16, linewidth=0)
        for place, each in reversed(bands.items()):
            axes.plot(each.at, each.mean, color=colour(place))
            axes.plot(each.at[-1:], each.mean[-1:], "o", color=colour(place), markersize=5)
        _quality_axis(axes, measure, np.concatenate([each.mean for each in bands.values()]))
        axes.set_xlabel("virtual seconds")
        axes.set_xlim(left=0)

    return chart(draw, about=about)


def _possible(each: Band, measure: Measure) -> tuple[np.ndarray, np.ndarray]:
    """The band without what no run can have: accuracies beyond 0 and 1, losses below 0."""
    if measure == "accuracy":
        return np.clip(each.low, 0.0, 1.0), np.clip(each.high, 0.0, 1.0)
    floor = 1e-12 if (each.mean > 0).all() else -np.inf
    return np.maximum(each.low, floor), each.high


def _quality_axis(axes: Axes, measure: Measure, means: np.ndarray) -> None:
    if measure == "accuracy":
        axes.set_ylim(0, 1.02)
        axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        axes.set_ylabel("accuracy")
        return
    axes.set_ylabel("loss")
    positive = means[np.isfinite(means) & (means > 0)]
    if positive.size and positive.max() > _LOG_RATIO * positive.min():
        axes.set_yscale("log")
        axes.set_ylim(0.5 * positive.min(), 2.0 * positive.max())
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: number_text(value)))
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.tick_params(axis="y", which="minor", left=False)


def _final(rows: Sequence[SweepRow], measure: Measure) -> Picture:
    """What each point ended with: the mean in its interval, and every seed as a small dot."""

    def draw(axes: Axes) -> None:
        for place, row in enumerate(rows):
            values = [r.quality_mean for r in row.results if r.quality_mean is not None]
            found = row.cells["mean"].estimate
            if found is None:
                continue
            tint = colour(0)
            above = [place - _ABOVE] * len(values)
            axes.scatter(values, above, s=14, color=tint, alpha=0.45, linewidths=0)
            if found.low is not None and found.high is not None:
                axes.plot([found.low, found.high], [place, place], color=tint, linewidth=2.2)
            axes.plot(
                found.mean, place, "o", color=tint, markersize=6, markeredgecolor=PAPER,
                markeredgewidth=0.8,
            )  # fmt: skip
        axes.set_yticks(np.arange(len(rows)), [row.point.title for row in rows])
        for label in axes.get_yticklabels():
            label.set_color(INK)
            label.set_parse_math(False)
        axes.set_ylim(len(rows) - 0.5, -0.5)
        if measure == "accuracy":
            axes.xaxis.set_major_formatter(PercentFormatter(1.0))
        axes.set_xlabel(measure)

    return Picture(
        title=f"{measure.capitalize()} at the end",
        svg=chart(draw, about=f"{measure} at the end", height=max(1.9, 0.8 + 0.3 * len(rows))),
        caption="The large dot is the mean over seeds, the line its 95 % confidence interval, the"
        " small dots above it are the seeds. Intervals that do not overlap tell two points apart;"
        " if they do, more seeds may.",
    )
