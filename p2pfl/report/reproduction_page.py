"""The page of one reproduction: the table of expected and measured, and the curves."""

from html import escape
from pathlib import Path

import numpy as np

from p2pfl.comparison.sweep_folder import write_whole
from p2pfl.comparison.units import bytes_text
from p2pfl.report.charts import against_chart, distance_chart
from p2pfl.report.pictures import Picture, figure_html
from p2pfl.report.series import Curve
from p2pfl.report.style import CSS
from p2pfl.reproduction.render import HEADING, cells, figure_text, summary
from p2pfl.reproduction.target import TARGETS, Chart, Reproduction


def write_reproduction(name: str, reproduction: Reproduction, file: Path) -> Path:
    """Write the page, whole or not at all, and return its path; it needs no network.

    Raises:
        ConfigError: the file cannot be written.
    """
    heading = escape(f"{name}: {TARGETS[name].title}")
    notes = "".join(f'<p class="note">{escape(note)}</p>' for note in reproduction.notes)
    head = "".join(f"<th>{escape(each)}</th>" for each in HEADING)
    body = "".join(
        f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in line)}</tr>"
        for line in cells(reproduction)
    )
    return write_whole(
        file,
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{heading}</title><style>{CSS}</style></head>\n<body><main>\n<h1>{heading}</h1>\n"
        f'<p class="lead">{summary(reproduction)}</p>\n'
        '<div class="charts">'
        + "".join(figure_html(_picture(each)) for each in reproduction.charts)
        + f'</div>\n<div class="card scroll"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>{notes}\n"
        "<footer>Written by p2pfl.</footer>\n</main></body></html>\n",
    )


def _picture(chart: Chart) -> Picture:
    curves = [
        Curve(line.title, place, np.array(line.x), *(np.array(line.y),) * 3)
        for place, line in enumerate(chart.lines)
    ]
    about = escape(chart.title, quote=True)
    if chart.percent:
        svg = against_chart(
            curves, measure="accuracy", label=chart.x_label, about=about,
            form=bytes_text if chart.x_bytes else figure_text,
        )  # fmt: skip
    else:
        svg = distance_chart(curves, unit=chart.x_label, label=chart.y_label, about=about)
    legend = tuple((line.title, place) for place, line in enumerate(chart.lines))
    return Picture(title=chart.title, svg=svg, caption=chart.caption, legend=legend)
