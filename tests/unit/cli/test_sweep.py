"""How far a sweep is, in words."""

import pytest

from p2pfl.cli.sweep import Estimate, duration_words
from p2pfl.comparison.sweep_workers import Failed, UnderWay


def test_the_estimate_counts_runs_under_way_in_part() -> None:
    now = [0.0]
    state = Estimate(10, 2, clock=lambda: now[0])
    assert state.left_s is None
    assert str(state) == "2 of 10 runs"
    now[0] = 30.0
    state.hear(Failed(key="a", sentence="no data"))
    state.hear(UnderWay(key="b", share=0.5))
    # One and a half in 30 s, so 20 s each; six and a half are left.
    assert state.left_s == pytest.approx(130.0)
    assert str(state) == "3 of 10 runs, about 2 min left"
    state.hear(Failed(key="b", sentence="no data"))
    assert state.done == 4.0


@pytest.mark.parametrize(
    ("left_s", "words"), [(0.2, "1 s"), (80.0, "80 s"), (600.0, "10 min"), (9000.0, "2 h")]
)
def test_durations_are_told_in_one_unit(left_s: float, words: str) -> None:
    assert duration_words(left_s) == f"about {words} left"
