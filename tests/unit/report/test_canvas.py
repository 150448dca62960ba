"""A chart is one element in the page's own colours, and changes no word that it shows."""

import re

from matplotlib.axes import Axes

from p2pfl.report.canvas import INK, SERIES, chart, colour


def _draw(axes: Axes) -> None:
    axes.plot([0, 1], [0.123456, 1], color=colour(0))
    axes.plot([0, 1], [1, 0], color=colour(SERIES - 1))
    axes.annotate("0.123456 and $2 for $3", (0, 0), color=INK)


def test_colours_are_the_pages_variables() -> None:
    svg = chart(_draw, about="a line")
    assert "var(--c0)" in svg
    assert f"var(--c{SERIES - 1})" in svg
    assert "var(--ink)" in svg
    assert "#0102" not in svg


def test_words_stay_as_they_are_while_coordinates_are_shortened() -> None:
    svg = chart(_draw, about="a line")
    assert "0.123456 and $2 for $3" in svg
    assert not re.search(r'd="[^"]*\.\d{3,}', svg)


def test_a_chart_scales_and_brings_nothing_from_outside() -> None:
    svg = chart(_draw, about="a line")
    assert svg.startswith('<svg role="img" aria-label="a line"')
    assert "viewBox" in svg
    assert not re.search(r'^<svg[^>]* width="', svg)
    assert "<metadata" not in svg
    assert "<style" not in svg


def test_the_same_chart_is_the_same_text() -> None:
    assert chart(_draw, about="a line") == chart(_draw, about="a line")


def test_colours_begin_again_after_the_last() -> None:
    assert colour(SERIES) == colour(0)
