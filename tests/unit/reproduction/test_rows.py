import json
import math

import pytest

from p2pfl.errors import ConfigError
from p2pfl.reproduction.render import expected_text, figure_text, json_text, plain_text
from p2pfl.reproduction.reproduce import checked, reproduce
from p2pfl.reproduction.target import Reproduction, Row


def row(measured: float, **parts: object) -> Row:
    return Row(**{"what": "bias", "expected": 0.2, "measured": measured, **parts})  # type: ignore[arg-type]


def test_a_law_may_be_off_by_a_share_and_near_zero_by_a_thousandth() -> None:
    assert row(0.229).ok
    assert not row(0.231).ok
    assert row(0.0009, expected=0.0).ok
    assert not row(0.0011, expected=0.0).ok


def test_a_bound_has_one_side() -> None:
    assert row(-3.0, must="at most").ok
    assert not row(0.21, must="at most").ok
    assert row(7.0, must="at least").ok
    assert not row(0.19, must="at least").ok


@pytest.mark.parametrize("measured", [math.nan, math.inf])
def test_what_diverged_holds_nothing(measured: float) -> None:
    assert not row(measured, must="at least").ok
    assert json.loads(json_text({"R1": Reproduction(rows=(row(measured),))}))[0]["rows"][0][
        "measured"
    ] is (None)


def test_the_table_says_what_holds_and_what_does_not() -> None:
    text = plain_text("R1: title", Reproduction(rows=(row(0.2), row(0.5)), notes=("One seed.",)))
    lines = text.splitlines()
    assert lines[0] == "R1: title"
    assert lines[2].split() == ["bias", "0.2", "±", "15", "%", "0.2", "yes"]
    assert lines[3].split()[-2:] == ["0.5", "NO"]
    assert lines[-2:] == ["One seed.", "1 of 2 rows hold."]


def test_expectations_are_told_with_their_tolerance() -> None:
    assert expected_text(row(0.0, must="at most")) == "at most 0.2"
    assert expected_text(row(0.0, expected=0.0)) == "0 ± 0.001"
    assert expected_text(row(0.0, relative=0.0, absolute=0.0)) == "0.2"


def test_numbers_are_told_as_people_read_them() -> None:
    assert [figure_text(x) for x in (0.0, 0.000123, 0.05, 12345.6, 1.77e11, math.inf)] == [
        "0",
        "1.23e-4",
        "0.05",
        "12,346",
        "1.77e11",
        "inf",
    ]


def test_an_unknown_target_is_told_with_those_there_are() -> None:
    with pytest.raises(ConfigError, match="no target 'R99' to reproduce; there are R1"):
        reproduce("R99")
    assert checked(["R1", "R1"]) == ("R1",)
