"""Which variants of an experiment stand side by side, and what they share."""

import pytest

from p2pfl.comparison.side_by_side import compare_algorithms, variants
from p2pfl.config.load import config_from_mapping
from p2pfl.errors import ConfigError
from p2pfl.experiment import Experiment
from p2pfl.results.record import NetworkSample


def _experiment() -> Experiment:
    return Experiment(
        config_from_mapping(
            {
                "name": "bowls",
                "topology": {"kind": "ring", "nodes": 4},
                "data": "quadratic",
                "model": "quadratic",
                "training": {"learning_rate": 0.05, "local_steps": 2},
                "stop": {"time_s": 1.0},
                "evaluation": {"every_s": 0.5},
                "comparison": {"algorithms": ["fedavg", "pull_mix", "dpsgd"]},
            },
            source="test",
        )
    )


def test_the_experiments_own_algorithm_comes_first_and_each_once() -> None:
    assert [one.label for one in variants(_experiment())] == ["PullMix", "FedAvg", "D-PSGD"]
    twice = variants(_experiment(), ["local", "local", "pull_mix"])
    assert [one.label for one in twice] == ["PullMix", "local only"]
    with pytest.raises(ConfigError, match="algorithm"):
        variants(_experiment(), ["magic"])


def test_every_run_of_a_seed_starts_from_the_same_model() -> None:
    compared = compare_algorithms(_experiment(), seeds=[0, 1])
    assert [(run.label, run.seed) for run in compared.results] == [
        ("PullMix", 0),
        ("FedAvg", 0),
        ("D-PSGD", 0),
        ("PullMix", 1),
        ("FedAvg", 1),
        ("D-PSGD", 1),
    ]
    first = {(run.seed, run.curve[0].loss_mean) for run in compared.results}
    assert len(first) == 2
    assert str(compared).startswith("WHAT WAS REACHED")
    assert "standard deviations over 2 seeds" in str(compared)


def test_progress_is_told_at_the_start_of_each_run_and_at_each_evaluation() -> None:
    told: list[tuple[str, float | None]] = []

    def progress(one: Experiment, sample: NetworkSample | None) -> None:
        told.append((one.label, None if sample is None else sample.at_s))

    compare_algorithms(_experiment(), algorithms=["local"], progress=progress)
    times = [None, 0.0, 0.5, 1.0]
    assert told == [("PullMix", t) for t in times] + [("local only", t) for t in times]
