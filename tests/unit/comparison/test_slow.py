"""What only slow nodes know is found from who holds what, and measured on its own."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from p2pfl.comparison.slow import accuracy_on, slow_classes, slow_classes_among, slow_nodes
from p2pfl.comparison.table import compare
from p2pfl.config.schema import ComputeConfig
from p2pfl.results.record import RunResult

MakeResult = Callable[..., RunResult]


def holding(run: RunResult, *labels: tuple[int, ...]) -> RunResult:
    """The run, whose nodes hold so many samples of each class; n2 is the slow one."""
    nodes = tuple(replace(n, labels=held) for n, held in zip(run.nodes, labels, strict=True))
    return replace(run, nodes=nodes)


def test_slow_nodes_are_those_named_or_those_that_did_far_less(make_result: MakeResult) -> None:
    run = make_result()
    assert slow_nodes(run) == {"n2"}
    even = replace(run, config=replace(run.config, compute=ComputeConfig()))
    assert slow_nodes(even) == frozenset()
    lazy = replace(even.nodes[0], steps=3)
    assert slow_nodes(replace(even, nodes=(lazy, *even.nodes[1:]))) == {"n0"}


def test_a_class_is_the_slow_nodes_if_they_hold_more_than_half_of_it(
    make_result: MakeResult,
) -> None:
    run = make_result()
    assert slow_classes(holding(run, (5, 9), (4, 9), (10, 2))) == (0,)
    assert slow_classes(holding(run, (5, 9), (5, 9), (10, 2))) == ()
    assert slow_classes(holding(run, (1, 1), (1, 1), (9, 9))) == ()
    assert slow_classes(run) == ()
    even = replace(run, config=replace(run.config, compute=ComputeConfig()))
    assert slow_classes(holding(even, (5, 9), (4, 9), (10, 2))) == ()


def test_one_machine_is_measured_on_the_classes_of_those_who_share_its_data(
    make_result: MakeResult,
) -> None:
    run = holding(make_result(), (5, 9), (4, 9), (10, 2))
    central = holding(make_result(label="centralized"), (19, 20), (0, 0), (0, 0))
    central = replace(central, nodes=central.nodes[:1])
    assert slow_classes_among(central, [central, run]) == (0,)
    assert slow_classes_among(central, [central, replace(run, seed=1)]) == ()


def test_the_living_count_alike_and_untested_classes_not_at_all(make_result: MakeResult) -> None:
    run = make_result()
    *others, dead = run.samples
    told = [replace(s, per_class=(0.2, float("nan"))) for s in others]
    ended = replace(run, samples=(*told, replace(dead, per_class=(1.0, 1.0), alive=False)))
    found = accuracy_on(ended, (0, 1))
    assert [at_s for at_s, _ in found] == [0.0, 1.0, 2.0]
    assert [accuracy for _, accuracy in found] == pytest.approx([0.2, 0.2, 0.2])
    assert accuracy_on(ended, (1,)) == []


def test_the_table_has_a_column_for_them_and_says_which_they_are(make_result: MakeResult) -> None:
    run = holding(make_result(), (5, 9), (4, 9), (10, 2))
    table = compare(run, make_result(label="FedAvg", kind="fedavg", accuracies=(0.1, 0.2, 0.3)))
    assert [row.cells["quality_slow_classes"].text for row in table.rows] == ["90.0", "30.0"]
    (column,) = (c for c in table.quality if c.key == "quality_slow_classes")
    assert table.best(column) == {"PullMix"}
    assert any(line.startswith("Slow nodes' classes (0):") for line in table.captions)
    nobody_knows = compare(make_result())
    assert "quality_slow_classes" not in {c.key for c in nobody_knows.quality}
