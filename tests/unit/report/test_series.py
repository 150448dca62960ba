"""Charts show the spread over the living nodes, and know who is slow."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from p2pfl.comparison.titles import Group
from p2pfl.report.series import class_accuracy, mean_curve, quality_curve, slow_class_curve
from p2pfl.results.record import RunResult

MakeResult = Callable[..., RunResult]


def test_the_band_reaches_from_the_worst_living_node_to_the_best(make_result: MakeResult) -> None:
    run = make_result()
    first, second, third = run.samples[-3:]
    ends = (replace(first, accuracy=0.4), second, replace(third, accuracy=0.1, alive=False))
    group = Group(title="x", runs=(replace(run, samples=(*run.samples[:-3], *ends)),))
    curve = quality_curve(group, 0, "accuracy")
    np.testing.assert_allclose(curve.mean, [0.1, 0.5, 0.9])
    np.testing.assert_allclose((curve.low[-1], curve.high[-1]), (0.4, 0.9))
    losses = quality_curve(group, 0, "loss")
    assert losses.low[0] >= losses.high[0]


def test_seeds_are_averaged_over_the_time_that_all_have_seen(make_result: MakeResult) -> None:
    group = Group(title="x", runs=(make_result(), make_result(accuracies=(0.3, 0.7))))
    curve = quality_curve(group, 0, "accuracy")
    np.testing.assert_allclose(curve.at, [0.0, 1.0])
    np.testing.assert_allclose(curve.mean, [0.2, 0.6])


def test_what_nobody_measured_is_no_curve(make_result: MakeResult) -> None:
    group = Group(title="x", runs=(make_result(accuracies=(None, None)),))
    assert mean_curve(group, 0, axis="seconds", measure="accuracy") is None
    assert class_accuracy(group) is None
    distance = mean_curve(group, 0, axis="seconds")
    assert distance is not None
    np.testing.assert_allclose(distance.mean, [0.0, 0.1])


def test_classes_are_averaged_over_the_nodes_at_the_end(make_result: MakeResult) -> None:
    values = class_accuracy(Group(title="x", runs=(make_result(),)))
    assert values is not None
    np.testing.assert_allclose(values, [0.9, 1.0])


def test_a_class_that_was_never_tested_has_no_accuracy(make_result: MakeResult) -> None:
    run = make_result()
    nan = float("nan")
    tested = [replace(s, per_class=(0.5, nan, nan)) for s in run.samples if s.node == "n0"]
    others = [replace(s, per_class=(0.7, nan, 0.25)) for s in run.samples if s.node == "n1"]
    values = class_accuracy(Group(title="x", runs=(replace(run, samples=(*tested, *others)),)))
    assert values is not None
    np.testing.assert_allclose(values, [0.6, nan, 0.25])


def test_the_slow_nodes_classes_have_a_curve_where_it_is_known_who_holds_what(
    make_result: MakeResult,
) -> None:
    run = make_result()
    assert slow_class_curve(Group(title="x", runs=(run,)), 0, [run]) is None
    counts = ((9, 9), (9, 9), (99, 0))
    nodes = tuple(replace(n, labels=held) for n, held in zip(run.nodes, counts, strict=True))
    known = replace(run, nodes=nodes)
    again = replace(known, seed=1)
    both = slow_class_curve(Group(title="x", runs=(known, again)), 0, [known, again])
    assert both is not None
    np.testing.assert_allclose(both.mean, [0.1, 0.5, 0.9])
