"""Numbers are written as people read them."""

import pytest

from p2pfl.comparison.units import bytes_text, count_text, number_text, percent_text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (539_192, "539 kB"), (12_900_000, "12.9 MB"),
     (3e15, "3000 TB")],
)  # fmt: skip
def test_bytes_have_decimal_units(value: float, text: str) -> None:
    assert bytes_text(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (0.18912, "0.189"), (12.0, "12"), (1234.5, "1,234"), (float("nan"), "no number"),
     (float("inf"), "inf")],
)  # fmt: skip
def test_numbers_have_three_digits_and_no_needless_exponent(value: float, text: str) -> None:
    assert number_text(value) == text


def test_shares_are_percent_and_counts_have_their_thousands_apart() -> None:
    assert percent_text(0.9432) == "94.3"
    assert count_text(6496) == "6,496"
