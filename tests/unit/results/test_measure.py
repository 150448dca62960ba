"""The numbers of one evaluation time mean what they say."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from p2pfl.results.measure import consensus_distance, mean_model, network_sample
from p2pfl.results.record import RunResult

MakeResult = Callable[..., RunResult]


def test_consensus_distance_is_the_root_mean_square_distance_to_the_mean() -> None:
    models = [np.array([0.0, 0.0], np.float32), np.array([6.0, 8.0], np.float32)]
    assert consensus_distance(models) == 5.0
    np.testing.assert_array_equal(mean_model(models), [3.0, 4.0])


def test_the_dead_count_for_work_and_not_for_accuracy(make_result: MakeResult) -> None:
    first, second, third = make_result().samples[-3:]
    nodes = [
        replace(first, accuracy=0.9, steps=5),
        replace(second, accuracy=0.7, steps=5),
        replace(third, accuracy=0.1, steps=5, loss=float("nan"), alive=False),
    ]
    point = network_sample(
        nodes, at_s=1.0, accuracy_average_model=None, distance=None, endpoint_bytes=[1, 4, 2]
    )
    assert point.accuracy_mean == 0.8
    assert point.accuracy_worst == 0.7
    assert np.isfinite(point.loss_mean)
    assert (point.steps, point.bytes_total, point.bytes_busiest) == (15, 7, 4)


def test_a_run_tells_when_it_first_reached_a_target(make_result: MakeResult) -> None:
    result = make_result(accuracies=(0.1, 0.8, 0.7, 0.9))
    assert result.time_to_s(0.8) == 1.0
    assert result.time_to_s(0.95) is None
