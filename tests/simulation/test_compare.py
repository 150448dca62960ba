"""Side by side on real data: the same work gives the same numbers, alone or compared."""

from pathlib import Path

import pytest

from p2pfl.comparison.side_by_side import Comparison, compare_algorithms
from p2pfl.config.load import config_from_mapping
from p2pfl.config.schema import PartitionConfig
from p2pfl.experiment import Experiment
from p2pfl.report.page import write_report
from p2pfl.simulation.simulate import simulate


@pytest.fixture(scope="module")
def experiment() -> Experiment:
    return Experiment(
        config_from_mapping(
            {
                "name": "digits",
                "topology": {"kind": "ring", "nodes": 4},
                "data": "digits",
                "model": "softmax",
                "partition": {"kind": "dirichlet", "alpha": 0.5},
                "training": {"learning_rate": 0.1, "local_steps": 2},
                "compute": {"slowdown": {"n1": 4.0}},
                "stop": {"time_s": 2.0},
                "evaluation": {"every_s": 0.5},
            },
            source="test",
        )
    )


@pytest.fixture(scope="module")
def compared(experiment: Experiment) -> Comparison:
    return compare_algorithms(experiment)


def test_sharing_the_data_between_runs_changes_no_run(
    experiment: Experiment, compared: Comparison
) -> None:
    alone = simulate(experiment)
    assert compared.results[0].trace_hash == alone.trace_hash
    assert compared.results[0].final == alone.final


def test_every_algorithm_runs_for_the_same_virtual_time(compared: Comparison) -> None:
    labels = [run.label for run in compared.results]
    assert labels == ["PullMix", "FedAvg", "D-PSGD", "local only", "centralized"]
    assert {run.final.at_s for run in compared.results} == {2.0}


def test_what_most_lies_at_slow_nodes_is_told_apart(experiment: Experiment) -> None:
    uneven = experiment.replace(partition=PartitionConfig(kind="sorted"))
    compared = compare_algorithms(uneven, algorithms=["local"])
    slow = {run.slow_classes for row in compared.table.rows for run in row.summaries}
    (classes,) = slow
    assert 0 < len(classes) <= 4
    pull, local = (row.cells["quality_slow_classes"].mean for row in compared.table.rows)
    assert pull is not None
    assert local is not None
    assert pull > local


def test_learning_together_beats_learning_alone_and_pooled_data_beats_both(
    compared: Comparison,
) -> None:
    final = {run.label: run.final.accuracy_mean or 0.0 for run in compared.results}
    assert final["PullMix"] > final["local only"] + 0.1
    assert final["centralized"] > final["local only"] + 0.1


def test_the_server_is_the_busiest_endpoint_of_fedavg(compared: Comparison) -> None:
    cells = {row.title: row.cells["bytes_busiest"].text for row in compared.table.rows}
    assert cells["FedAvg"].endswith(" server")
    assert cells["local only"] == "-"


def test_the_page_of_a_comparison_stays_small(compared: Comparison, tmp_path: Path) -> None:
    page = write_report(compared.results, tmp_path / "report.html")
    assert page.stat().st_size < 1_500_000
