"""Steps by the time that an update took."""

from p2pfl.algorithms.elapsed import elapsed_steps


def test_an_update_counts_by_its_time_within_bounds() -> None:
    assert elapsed_steps(6.0, 2.0, most=10.0) == 3.0
    assert elapsed_steps(600.0, 2.0, most=10.0) == 10.0


def test_where_updates_take_no_time_each_counts_once() -> None:
    assert elapsed_steps(0.0, 0.0, most=10.0) == 1.0
