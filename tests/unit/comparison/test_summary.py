"""Runs are held to common levels: what the one that did least had done at its end."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from p2pfl.comparison.summary import levels_of, summary_of
from p2pfl.config.schema import EvaluationConfig
from p2pfl.results.record import RunResult

MakeResult = Callable[..., RunResult]


def test_the_levels_are_those_of_the_run_that_did_least(make_result: MakeResult) -> None:
    short = make_result(accuracies=(0.1, 0.8))
    levels = levels_of([make_result(), short])
    assert (levels.seconds, levels.work) == (1.0, 30.0)
    assert (levels.node_bytes, levels.busiest_bytes) == (300.0, 300.0)
    summary = summary_of(make_result(), levels)
    assert summary.at_equal_seconds == pytest.approx(0.5)
    assert summary.at_equal_work == pytest.approx(0.5)


def test_a_run_that_sends_nothing_sets_no_level_of_bytes(make_result: MakeResult) -> None:
    silent = make_result(label="local only", edges=(), busiest=1)
    levels = levels_of([make_result(), silent])
    assert levels.busiest_bytes == 600.0
    assert summary_of(silent, levels).at_equal_busiest_bytes is None
    alone = levels_of([silent])
    assert alone.node_bytes is None


def test_one_machine_sets_no_level_of_work(make_result: MakeResult) -> None:
    whole = make_result()
    one = replace(whole, nodes=whole.nodes[:1], curve=whole.curve[:2], edges=())
    levels = levels_of([whole, one])
    assert levels.work == 60.0
    assert summary_of(one, levels).at_equal_work is None


def test_the_target_is_the_experiments_or_a_share_of_the_best(make_result: MakeResult) -> None:
    run = make_result(accuracies=(0.1, 0.5, 0.8))
    assert levels_of([run]).target == pytest.approx(0.76)
    assert not levels_of([run]).target_given
    asked = replace(run, config=replace(run.config, evaluation=EvaluationConfig(target=0.5)))
    assert levels_of([run, asked]).target == 0.5
    assert summary_of(run, levels_of([asked])).time_to_target_s == 1.0


def test_a_level_before_the_second_evaluation_is_called_coarse(make_result: MakeResult) -> None:
    busy = make_result(busiest=9000)
    assert not levels_of([busy]).coarse
    assert levels_of([busy, make_result(busiest=30)]).coarse


def test_losses_are_compared_where_there_is_no_accuracy(make_result: MakeResult) -> None:
    run = make_result(accuracies=(None, None, None))
    worst = replace(run.samples[-1], loss=7.0)
    run = replace(run, samples=(*run.samples[:-1], worst))
    levels = levels_of([run])
    summary = summary_of(run, levels)
    assert (levels.measure, levels.target) == ("loss", None)
    assert (summary.quality_mean, summary.quality_worst) == (1.0, 7.0)
    assert summary.quality_average_model is None


def test_the_busiest_endpoint_is_named_and_its_unicast_cost_told(make_result: MakeResult) -> None:
    run = make_result()
    hub = replace(run.nodes[1], out_bytes=500, fan_out_bytes=5000)
    run = replace(run, nodes=(run.nodes[0], hub, replace(run.nodes[2], outcome="crashed")))
    summary = summary_of(run, levels_of([run]))
    assert (summary.busiest, summary.bytes_busiest) == ("n1", 900)
    assert summary.bytes_busiest_unicast == 5400
    assert summary.bytes_node_mean == pytest.approx((600 + 900 + 600) / 3)
    assert summary.unfinished == ("n2: crashed",)
