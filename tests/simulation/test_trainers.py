"""The batched trainer changes how fast a simulation is, and nothing that anybody decides."""

import numpy as np
import pytest

from p2pfl.config.load import config_from_mapping
from p2pfl.errors import ConfigError
from p2pfl.experiment import Experiment
from p2pfl.learning.batched_trainer import BatchedTrainer
from p2pfl.learning.loop_trainer import LoopTrainer
from p2pfl.results.record import RunResult
from p2pfl.simulation.simulate import simulate


def experiment(trainer: str, **training: object) -> Experiment:
    tables = {
        "name": "trainers",
        "topology": {"kind": "random_regular", "nodes": 10, "degree": 4},
        "data": "digits",
        "model": {"kind": "mlp", "hidden": [8]},
        "training": {"learning_rate": 0.1, "batch_size": 8, "local_steps": 2, **training},
        "compute": {"distribution": "lognormal", "sigma": 0.5, "node_sigma": 0.5},
        "network": {"latency_s": 0.01, "latency": "exponential", "loss": 0.1},
        "faults": {"crash": [{"node": "n3", "at_s": 0.2, "restart_s": 0.4}]},
        "stop": {"time_s": 1.0},
        "evaluation": {"every_s": 0.25, "samples": 100},
        "simulation": {"trainer": trainer},
    }
    return Experiment(config_from_mapping(tables, source="test"))


@pytest.mark.parametrize(
    "training",
    [{}, {"momentum": 0.9}, {"optimizer": "adamw", "learning_rate": 0.003, "local_steps": 3}],
    ids=["sgd", "momentum", "adamw"],
)
def test_both_trainers_leave_the_same_trace_and_nearly_the_same_models(
    training: dict[str, object],
) -> None:
    loop, batched = (simulate(experiment(kind, **training)) for kind in ("loop", "batched"))
    assert loop.trace_hash == batched.trace_hash
    for name, vector in loop.public.items():
        away = np.linalg.norm(vector - batched.public[name])
        assert away <= 1e-2 * np.linalg.norm(vector), "rounding grows, slowly"


def test_the_batched_trainer_repeats_itself_bit_for_bit() -> None:
    def run() -> RunResult:
        return simulate(experiment("auto"))

    one, other = run(), run()
    assert one.trace_hash == other.trace_hash
    assert all(np.array_equal(v, other.public[n]) for n, v in one.public.items())


def test_the_simulator_trains_in_batches_and_a_real_node_alone() -> None:
    auto = experiment("auto")
    assert isinstance(auto.make_trainer(), BatchedTrainer)
    assert isinstance(auto.make_trainer(only=auto.learners[:1]), LoopTrainer)
    assert isinstance(experiment("loop").make_trainer(), LoopTrainer)


def test_what_both_trainers_may_differ_in_is_no_part_of_the_digest() -> None:
    assert experiment("loop").digest == experiment("batched").digest


@pytest.mark.parametrize(
    ("training", "message"),
    [
        ({"optimizer": "adam"}, r"training\.optimizer.*adam"),
        ({"optimizer": "adamw", "momentum": 0.9}, r"training\.momentum.*adamw"),
        ({"betas": [0.5, 0.9]}, r"training\.betas.*sgd"),
        ({"eps": 1e-4}, r"training\.eps.*sgd"),
        ({"optimizer": "adamw", "betas": [0.9]}, r"training\.betas.*1 numbers; allowed: two"),
        ({"optimizer": "adamw", "betas": [0.9, 1.0]}, r"training\.betas.*below 1"),
    ],
)
def test_optimizers_that_make_no_sense_are_refused(
    training: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        experiment("auto", **training)
