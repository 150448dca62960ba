"""What a star's algorithms are told in the file: each key read by somebody, in range, possible."""

import pytest

from p2pfl.algorithms.suite import STARS
from p2pfl.config.load import config_from_mapping, with_algorithm, with_values
from p2pfl.config.schema import ExperimentConfig
from p2pfl.errors import ConfigError


def config(**algorithm: object) -> ExperimentConfig:
    return config_from_mapping(
        {
            "name": "small",
            "topology": {"kind": "ring", "nodes": 4},
            "data": "digits",
            "model": "mlp",
            "training": {"learning_rate": 0.1, "local_steps": 2},
            "stop": {"time_s": 10},
            "algorithm": algorithm,
            "comparison": {"algorithms": []},
        },
        source="base",
    )


@pytest.mark.parametrize("kind", STARS)
def test_every_star_is_an_experiment_and_a_side_of_a_comparison(kind: str) -> None:
    assert config(kind=kind).algorithm.kind == kind
    assert with_algorithm(config(kind="pull_mix"), kind).algorithm.kind == kind


@pytest.mark.parametrize(
    ("algorithm", "words"),
    [
        ({"kind": "fedavg", "proximal": 0.1}, "algorithm.proximal is read by fedprox"),
        ({"kind": "fedprox", "proximal": -0.1}, "algorithm.proximal is -0.1; allowed: at least 0"),
        ({"kind": "fedavgm", "server_momentum": 1.0}, "algorithm.server_momentum is 1; allowed"),
        ({"kind": "fedadam", "server_betas": [0.9]}, "server_betas has 1 numbers; allowed: two"),
        ({"kind": "fedadam", "adaptivity": 0.0}, "algorithm.adaptivity is 0; allowed: above 0"),
        ({"kind": "fedavg", "candidates": 4}, 'is read with selection = "loss" only'),
        ({"kind": "fedavg", "selection": "best"}, "algorithm.selection"),
        ({"kind": "fedasync", "alpha": 1.5}, "algorithm.alpha is 1.5; allowed: above 0 and at"),
        ({"kind": "fedbuff", "buffer_size": 0}, "algorithm.buffer_size is 0; allowed: at least 1"),
        ({"kind": "fedasync", "participation": 0.5}, "algorithm.participation is read by fedavg"),
    ],
)
def test_what_a_star_cannot_be_told_is_refused(algorithm: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError) as error:
        config(**algorithm)
    assert words in str(error.value)


def test_scaffold_reads_gradients_off_its_updates_and_refuses_momentum() -> None:
    with pytest.raises(ConfigError, match="reads the gradient off"):
        with_values(config(kind="scaffold"), {"training.momentum": 0.9})
    assert with_values(config(kind="fedavg"), {"training.momentum": 0.9})
