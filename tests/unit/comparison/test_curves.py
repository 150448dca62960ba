"""A run is read at a time, at a work and at a traffic that lie between its evaluations."""

from collections.abc import Callable

import pytest

from p2pfl.comparison.curves import along, measure_of, quality_at
from p2pfl.results.record import RunResult

MakeResult = Callable[..., RunResult]


def test_between_two_evaluations_quality_is_read_in_a_straight_line(
    make_result: MakeResult,
) -> None:
    run = make_result(accuracies=(0.1, 0.5, 0.9))
    assert quality_at(run, "seconds", 1.5, measure="accuracy") == pytest.approx(0.7)
    assert quality_at(run, "work", 15.0, measure="accuracy") == pytest.approx(0.3)
    assert quality_at(run, "node_bytes", 600.0, measure="accuracy") == pytest.approx(0.9)
    assert quality_at(run, "busiest_bytes", 150.0, measure="accuracy") == pytest.approx(0.3)
    assert quality_at(run, "seconds", 1.0, measure="loss") == pytest.approx(1.5)


def test_what_a_run_never_reached_is_unknown(make_result: MakeResult) -> None:
    run = make_result()
    assert quality_at(run, "work", 61.0, measure="accuracy") is None
    assert quality_at(make_result(accuracies=(None, None)), "work", 0.0, measure="accuracy") is None


def test_an_axis_never_runs_backwards(make_result: MakeResult) -> None:
    run = make_result()
    assert along(run, "seconds") == [0.0, 1.0, 2.0]
    assert along(run, "node_bytes") == [0.0, 300.0, 600.0]


def test_without_accuracies_loss_is_what_counts(make_result: MakeResult) -> None:
    assert measure_of(make_result()) == "accuracy"
    assert measure_of(make_result(accuracies=(None, None))) == "loss"
