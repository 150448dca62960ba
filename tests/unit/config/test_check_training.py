"""A training section whose keys contradict each other is refused in one line."""

from typing import cast

import pytest

from p2pfl.algorithms.local import LocalOnly
from p2pfl.algorithms.suite import GOSSIPS, Gossip
from p2pfl.config.load import config_from_mapping, with_values
from p2pfl.config.schema import ExperimentConfig
from p2pfl.errors import ConfigError

BASE: dict[str, object] = {
    "name": "small",
    "topology": {"kind": "ring", "nodes": 4},
    "data": "digits",
    "model": "mlp",
    "training": {"learning_rate": 0.1, "local_steps": 2},
    "algorithm": {"kind": "local"},
    "stop": {"time_s": 10},
}


def base(**training: object) -> ExperimentConfig:
    values = {f"training.{key}": value for key, value in training.items()}
    return with_values(config_from_mapping(BASE, source="base"), values)


@pytest.mark.parametrize(
    ("training", "sentence"),
    [
        ({"schedule": "exponential"}, 'training.schedule is "exponential" (allowed: "constant"'),
        ({"schedule": "step"}, 'training.decay_at is missing; the schedule "step" needs it'),
        (
            {"schedule": "step", "decay_at": [5, 5]},
            "training.decay_at is [5, 5]; allowed: steps in ascending order, each once",
        ),
        ({"schedule": "step", "decay_at": [0]}, "training.decay_at[0] is 0; allowed: at least 1"),
        ({"decay_at": [5]}, 'training.decay_at is not read by the schedule "constant"; remove it'),
        ({"decay": 0.5}, 'training.decay is not read by the schedule "constant"; remove it'),
        (
            {"schedule": "step", "decay_at": [5], "schedule_steps": 9},
            'training.schedule_steps is not read by the schedule "step"; remove it',
        ),
        (
            {"learning_rate_min": 0.01},
            'training.learning_rate_min is not read by the schedule "constant"; remove it',
        ),
        (
            {"schedule": "cosine"},
            'training.schedule_steps is missing; the schedule "cosine" needs it, or stop.steps',
        ),
        (
            {"schedule": "cosine", "schedule_steps": 9, "warmup_steps": 9},
            "training.warmup_steps is 9; allowed: below the schedule's 9 steps",
        ),
        (
            {"schedule": "linear", "schedule_steps": 9, "learning_rate_min": 0.2},
            "training.learning_rate_min is 0.2; allowed: at most learning_rate, which is 0.1",
        ),
        ({"warmup_steps": -1}, "training.warmup_steps is -1; allowed: at least 0"),
        ({"clip_norm": 0.0}, "training.clip_norm is 0; allowed: above 0"),
        ({"local_steps_of": {"n1": 0}}, "training.local_steps_of.n1 is 0; allowed: at least 1"),
        ({"local_steps_of": {"a b": 1}}, 'training.local_steps_of names the node "a b"'),
        ({"local_work": "random"}, 'training.local_work is "random" (allowed: "equal"'),
        ({"weights": {"n1": 0.0}}, "training.weights.n1 is 0; allowed: above 0"),
        ({"weights": {"n 1": 2.0}}, 'training.weights names the node "n 1"'),
        (
            {"weights": {"n1": 2.0}, "weighting": "samples"},
            'training.weights are given, and weighting is "samples"; remove one of them',
        ),
    ],
)
def test_what_makes_no_sense_is_refused_by_its_key(
    training: dict[str, object], sentence: str
) -> None:
    with pytest.raises(ConfigError) as error:
        base(**training)
    assert sentence in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "training",
    [
        {"schedule": "step", "decay_at": [5, 9], "decay": 0.5, "warmup_steps": 7},
        {"schedule": "cosine", "schedule_steps": 9, "warmup_steps": 8, "learning_rate_min": 0.1},
        {"warmup_steps": 3, "clip_norm": 1, "local_steps_of": {"n0": 5}, "local_work": "by_speed"},
        {"weighting": "uniform", "weights": {"n0": 2}},
    ],
)
def test_what_makes_sense_is_taken(training: dict[str, object]) -> None:
    config = base(**training)
    assert with_values(config, {}) == config


def test_a_schedule_may_be_as_long_as_the_run() -> None:
    long = with_values(
        config_from_mapping(BASE, source="base"), {"stop.steps": 50, "training.schedule": "linear"}
    )
    assert long.training.schedule_steps is None


@pytest.mark.parametrize("training", [{"weighting": "samples"}, {"weights": {"n1": 2.0}}])
def test_weights_that_the_algorithm_does_not_read_are_refused(
    training: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    for kind in ("pull_mix", "dpsgd", "fedavg", "centralized", "my_module:Rule"):
        with_values(base(**training), {"algorithm.kind": kind})
    monkeypatch.setitem(cast("dict[str, Gossip]", GOSSIPS), "pull_mix", Gossip("Alone", LocalOnly))
    with pytest.raises(ConfigError, match=r'is not read by algorithm\.kind "pull_mix"; remove it'):
        with_values(base(**training), {"algorithm.kind": "pull_mix"})
