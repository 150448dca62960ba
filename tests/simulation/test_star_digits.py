"""Every server learns the digits from clients whose data differ, side by side."""

import pytest

from p2pfl.algorithms.suite import STARS
from p2pfl.comparison.side_by_side import Comparison, compare_algorithms
from p2pfl.config.load import config_from_mapping
from p2pfl.experiment import Experiment


def digits(**algorithm: object) -> Experiment:
    table = {
        "name": "digits",
        "topology": {"kind": "star", "nodes": 8},
        "data": "digits",
        "model": "softmax",
        "partition": {"kind": "dirichlet", "alpha": 0.3},
        "training": {"learning_rate": 0.1, "local_steps": 10},
        "compute": {"step_s": 0.02},
        "algorithm": algorithm,
        "comparison": {"algorithms": list(STARS)},
        "stop": {"time_s": 12.0},
        "evaluation": {"every_s": 12.0},
    }
    return Experiment(config_from_mapping(table, source="test"))


@pytest.fixture(scope="module")
def compared() -> Comparison:
    return compare_algorithms(digits(kind="fedavg"))


def test_every_server_learns_from_clients_whose_data_differ(compared: Comparison) -> None:
    final = {run.label: run.final.accuracy_mean or 0.0 for run in compared.results}
    assert set(final) == {star.label for star in STARS.values()}
    assert min(final.values()) > 0.85


def test_a_quarter_of_the_clients_chosen_by_loss_teach_the_server_too() -> None:
    chosen = digits(kind="fedavg", participation=0.25, selection="loss", candidates=8)
    (run,) = compare_algorithms(chosen, algorithms=[]).results
    assert (run.final.accuracy_mean or 0.0) > 0.8
