"""Seeds of one experiment share a row; what differs otherwise stands in the title."""

from collections.abc import Callable
from dataclasses import replace

from p2pfl.comparison.titles import group_runs
from p2pfl.config.schema import ComparisonConfig, NetworkConfig
from p2pfl.results.record import RunResult

MakeResult = Callable[..., RunResult]


def _seeded(run: RunResult, seed: int) -> RunResult:
    return replace(run, seed=seed, config=replace(run.config, seed=seed))


def test_runs_that_differ_in_their_seed_alone_share_a_row(make_result: MakeResult) -> None:
    run = make_result()
    other = _seeded(run, 1)
    other = replace(other, config=replace(other.config, comparison=ComparisonConfig(algorithms=())))
    (group,) = group_runs([run, other])
    assert (group.title, len(group.runs)) == ("PullMix", 2)


def test_algorithms_have_their_own_rows_in_order(make_result: MakeResult) -> None:
    groups = group_runs([make_result(label="FedAvg", kind="fedavg"), make_result()])
    assert [group.title for group in groups] == ["FedAvg", "PullMix"]


def test_a_changed_value_stands_in_the_title(make_result: MakeResult) -> None:
    run = make_result()
    rough = replace(run, config=replace(run.config, network=NetworkConfig(latency_s=0.08)))
    groups = group_runs([run, rough, make_result(label="FedAvg", kind="fedavg")])
    assert [group.title for group in groups] == [
        "PullMix, latency_s 0.001",
        "PullMix, latency_s 0.08",
        "FedAvg",
    ]


def test_experiments_of_other_names_are_told_apart_by_them(make_result: MakeResult) -> None:
    run = make_result()
    other = replace(run, name="rough", config=replace(run.config, name="rough", seed=3))
    assert [g.title for g in group_runs([run, other])] == ["PullMix, made-up", "PullMix, rough"]


def test_real_runs_are_told_from_simulated_ones(make_result: MakeResult) -> None:
    groups = group_runs([make_result(), make_result(driver="runtime")])
    assert [group.title for group in groups] == ["PullMix, simulated", "PullMix, real"]
