"""What the training section means for each node."""

from typing import Any

import numpy as np
import pytest

from p2pfl.algorithms.pull_mix import PullMix
from p2pfl.compute import ComputeLaw
from p2pfl.config.load import config_from_mapping
from p2pfl.config.schema import ExperimentConfig
from p2pfl.errors import ConfigError
from p2pfl.experiment import CENTRE, Experiment
from p2pfl.learning.quadratics import QuadraticTrainer
from p2pfl.learning.trainer import TrainJob
from p2pfl.learning_rate import LearningRate
from p2pfl.local_training import (
    learning_rate,
    local_steps,
    objective_weights,
    update_scales,
)
from p2pfl.types import NodeId

NODES = [NodeId(f"n{i}") for i in range(4)]


def config(**tables: Any) -> ExperimentConfig:  # noqa: ANN401 - tables as a user writes them
    base: dict[str, Any] = {
        "name": "test",
        "topology": {"kind": "ring", "nodes": 4},
        "data": "digits",
        "model": "softmax",
        "training": {"learning_rate": 0.1, "local_steps": 8},
        "algorithm": {"kind": "local"},
        "stop": {"steps": 100},
    }
    for name, table in tables.items():
        before = base.get(name, {})
        both = {**before, **table} if isinstance(before, dict) else table
        base[name] = {key: value for key, value in both.items() if value is not None}
    return config_from_mapping(base, source="test")


def steps(of: ExperimentConfig) -> list[int]:
    return [local_steps(of, node, samples=100) for node in NODES]


# ---------------------------------------------------------------- learning rate


def test_the_section_is_the_schedule() -> None:
    found = learning_rate(
        config(training={"schedule": "step", "decay_at": [30], "decay": 0.5, "warmup_steps": 3}),
        peers=4,
    )
    assert found == LearningRate(
        base=0.1, schedule="step", warmup=3, decay_at=(30,), decay=0.5, length=100
    )


def test_a_schedule_ends_with_the_run_unless_it_says_where() -> None:
    cosine = {"schedule": "cosine", "learning_rate_min": 0.01}
    assert learning_rate(config(training=cosine), peers=4).at(100) == pytest.approx(0.01)
    early = config(training={**cosine, "schedule_steps": 50})
    assert learning_rate(early, peers=4).at(50) == pytest.approx(0.01)
    assert learning_rate(early, peers=4).at(25) == pytest.approx(0.055)


def test_one_who_does_the_steps_of_all_goes_through_the_schedule_as_far_as_they() -> None:
    training = {"schedule": "linear", "schedule_steps": 80, "warmup_steps": 10}
    peer = learning_rate(config(training=training), peers=4)
    pooled = {"training": training, "algorithm": {"kind": "centralized"}}
    centre = learning_rate(config(**pooled), peers=4)
    assert [centre.at(4 * step) for step in (20, 50, 80)] == pytest.approx(
        [peer.at(step) for step in (20, 50, 80)]
    )
    by_time = learning_rate(config(**pooled, stop={"steps": None, "time_s": 9.0}), peers=4)
    assert by_time == peer, "at equal seconds it does as many steps as a peer"


# ---------------------------------------------------------------- local steps


def test_a_named_node_does_its_own_number_of_steps() -> None:
    of = {"n3": 5}
    assert steps(config(training={"local_steps_of": of})) == [8, 8, 8, 5]
    epochs = {"local_steps": None, "local_epochs": 2, "batch_size": 30}
    assert steps(config(training={"local_steps_of": of, **epochs})) == [8, 8, 8, 5]


def test_by_speed_the_slow_do_fewer_steps_but_never_none() -> None:
    work = {"local_work": "by_speed", "local_steps_of": {"n0": 7}}
    slow = {"slowdown": {"n0": 9.0, "n1": 4.0, "n2": 100.0, "n3": 0.5}}
    assert steps(config(training=work, compute=slow)) == [7, 2, 1, 16]


def test_by_speed_all_updates_take_about_equally_long() -> None:
    one = config(
        training={"local_work": "by_speed", "local_steps": 1000}, compute={"node_sigma": 0.5}
    )
    trainer = Experiment(one).make_trainer()
    found = [Experiment(one).local_steps(node, trainer) for node in NODES]
    assert len(set(found)) == len(NODES)
    law = ComputeLaw(one.compute, seed=one.seed)
    took = [law.duration_s(node, h, 0) for node, h in zip(NODES, found, strict=True)]
    assert took == pytest.approx([10.0] * 4, rel=2e-3)


def test_the_centre_and_a_server_do_what_is_said_of_all() -> None:
    work = {"training": {"local_work": "by_speed"}, "compute": {"node_sigma": 2.0}}
    centre = config(**work, algorithm={"kind": "centralized"})
    assert local_steps(centre, CENTRE, samples=100) == 8
    assert local_steps(config(**work), NodeId("server"), samples=0) == 8


def test_nodes_that_do_unequal_work_tell_their_neighbours() -> None:
    experiment = Experiment(config(training={"local_steps_of": {"n3": 5}}))
    trainer = experiment.make_trainer()
    x0 = trainer.initial()
    nodes = [experiment.make_node(n, run="r", trainer=trainer, x0=x0) for n in NODES]
    assert [node.settings.local_steps for node in nodes] == [8, 8, 8, 5]


@pytest.mark.parametrize("key", ["local_steps_of", "weights"])
def test_a_node_that_is_not_in_the_graph_is_refused_with_its_key(key: str) -> None:
    with pytest.raises(ConfigError, match=rf"training\.{key}: there is no node 'n9'"):
        _ = Experiment(config(training={key: {"n9": 2}})).topology


# ---------------------------------------------------------------- weights of objectives

SAMPLES = dict(zip(NODES, (10, 20, 30, 40), strict=True))


@pytest.mark.parametrize(
    ("training", "kind", "wanted"),
    [
        ({}, "local", (0.25, 0.25, 0.25, 0.25)),
        ({}, "fedavg", (0.1, 0.2, 0.3, 0.4)),
        ({"weighting": "samples"}, "local", (0.1, 0.2, 0.3, 0.4)),
        ({"weighting": "uniform"}, "centralized", (0.25, 0.25, 0.25, 0.25)),
        ({"weights": {"n0": 2.0}}, "local", (0.4, 0.2, 0.2, 0.2)),
        ({"weights": {"n0": 2.0}}, "centralized", (0.4, 0.2, 0.2, 0.2)),
    ],
)
def test_objectives_are_weighed_as_the_section_says(
    training: dict[str, object], kind: str, wanted: tuple[float, ...]
) -> None:
    found = objective_weights(config(training=training, algorithm={"kind": kind}), SAMPLES)
    assert found == pytest.approx(dict(zip(NODES, wanted, strict=True)))


def test_an_update_counts_by_its_weight_over_its_steps() -> None:
    unequal = {"local_steps_of": {"n0": 2, "n1": 4}}
    assert set(update_scales(config(training=unequal), SAMPLES).values()) == {1.0}
    found = update_scales(config(training={**unequal, "weighting": "uniform"}), SAMPLES)
    assert list(found.values()) == pytest.approx([5.5 / 2, 5.5 / 4, 5.5 / 8, 5.5 / 8])
    found = update_scales(config(training={"weights": {"n0": 5.0}}), SAMPLES)
    assert list(found.values()) == pytest.approx([2.5, 0.5, 0.5, 0.5])


def test_whole_epochs_weighed_by_samples_count_as_they_are() -> None:
    """The update of an epoch is as long as its samples are many."""
    epochs = {"local_steps": None, "local_epochs": 1, "batch_size": 10, "weighting": "samples"}
    assert list(update_scales(config(training=epochs), SAMPLES).values()) == pytest.approx([1] * 4)


def test_every_node_is_told_its_own_scale() -> None:
    tables: dict[str, Any] = {
        "algorithm": {"kind": "pull_mix"},
        "training": {"weights": {"n0": 5.0}},
    }
    experiment = Experiment(config(**tables))
    trainer = experiment.make_trainer()
    x0 = trainer.initial()
    scales = []
    for node in experiment.learners:
        rule = experiment.make_node(node, run="r", trainer=trainer, x0=x0).algorithm
        assert isinstance(rule, PullMix)
        scales.append(rule.scale)
    assert scales == pytest.approx([2.5, 0.5, 0.5, 0.5])


def test_a_node_that_keeps_its_own_samples_only_still_knows_everybodys_weight() -> None:
    experiment = Experiment(config(training={"weighting": "samples"}))
    all_, own = (
        experiment.objective_weights(experiment.make_trainer(only=only))
        for only in (None, NODES[:1])
    )
    assert all_ == own
    assert sum(own.values()) == pytest.approx(1.0)
    assert set(own) == set(NODES)


def quadratics(**parts: Any) -> QuadraticTrainer:  # noqa: ANN401 - tables as a user writes them
    kind = {"kind": "quadratic"}
    trainer = Experiment(config(**{"data": kind, "model": kind, **parts})).make_trainer()
    assert isinstance(trainer, QuadraticTrainer)
    return trainer


def test_quadratics_are_measured_against_the_optimum_of_the_weighted_objective() -> None:
    task = quadratics(training={"weights": {"n0": 3.0, "n2": 0.5}}).task
    p = np.array([3.0, 1.0, 0.5, 1.0]) / 5.5
    gradient = p @ (task.curvature * (task.optimum() - task.optima))
    assert np.abs(gradient).max() < 1e-14
    plain = quadratics().task
    assert np.array_equal(plain.optima, task.optima)
    assert not np.allclose(plain.optimum(), task.optimum())


def test_centralized_learning_works_on_the_weighted_objective() -> None:
    weights = {"weights": {"n0": 3.0}}
    task = quadratics(training=weights).task
    centre = quadratics(training=weights, algorithm={"kind": "centralized"})
    away = centre.initial() - task.optima
    gradient = np.array([0.5, 1 / 6, 1 / 6, 1 / 6]) @ (task.curvature * away)
    done = centre.train([TrainJob(CENTRE, centre.initial(), 0, 1, None)])[0]
    assert centre.initial() - done.vector == pytest.approx(0.1 * gradient, rel=1e-5)
    optimum = centre.evaluate([task.optimum().astype(np.float32)], [CENTRE])[0]
    assert optimum.loss == pytest.approx(0.0, abs=1e-6)
