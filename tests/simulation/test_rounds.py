"""Synchronous runs in rounds: on real models, where they are taken, and where they are not."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.experiments import quadratic_experiment
from support.same_runs import by_events, by_rounds, differences

from p2pfl.algorithms.base import Finish, Local
from p2pfl.algorithms.dpsgd import DPSGD, RoundState
from p2pfl.algorithms.rounds import Undecided
from p2pfl.config.load import config_from_mapping
from p2pfl.config.schema import SimulationConfig
from p2pfl.experiment import Experiment
from p2pfl.messages import Neighbour
from p2pfl.results.record import NetworkSample
from p2pfl.simulation.determined import round_simulation
from p2pfl.simulation.simulate import simulate
from p2pfl.types import Vector


def digits(trainer: str, **tables: Any) -> Experiment:  # noqa: ANN401 - tables of the file
    base: dict[str, Any] = {
        "name": "rounds",
        "topology": {"kind": "random_regular", "nodes": 10, "degree": 4},
        "data": "digits",
        "model": {"kind": "mlp", "hidden": [8]},
        "training": {"learning_rate": 0.1, "batch_size": 8, "local_steps": 2},
        "algorithm": {"kind": "dpsgd"},
        "compute": {"distribution": "lognormal", "sigma": 0.5, "slowdown": {"n3": 4.0}},
        "stop": {"time_s": 2.0},
        "evaluation": {"every_s": 0.23, "samples": 100},
        "simulation": {"trainer": trainer},
    }
    for name, table in tables.items():
        base[name] = {**base.get(name, {}), **table}
    return Experiment(config_from_mapping(base, source="test"))


def quadratics(**tables: Any) -> Experiment:  # noqa: ANN401 - tables of the file
    base: dict[str, Any] = {
        "algorithm": {"kind": "dpsgd"},
        "network": {"latency": "constant"},
        "evaluation": {"every_s": 3.7},
        "time_s": 30.0,
    }
    for name, table in tables.items():
        base[name] = {**base.get(name, {}), **table} if isinstance(table, dict) else table
    return quadratic_experiment(nodes=6, slow=2, **base)


@pytest.mark.parametrize(
    "training",
    [
        {},
        {"momentum": 0.9, "weights": {"n2": 3.0}},
        {"optimizer": "adamw", "learning_rate": 0.003, "local_steps": 3},
        {"schedule": "cosine", "schedule_steps": 40, "clip_norm": 1.0},
    ],
    ids=["sgd", "momentum", "adamw", "schedule"],
)
def test_with_the_loop_rounds_and_events_are_equal_bit_for_bit(training: dict[str, Any]) -> None:
    experiment = digits("loop", training=training)
    assert differences(by_rounds(experiment), by_events(experiment)) == []


def test_unequal_local_steps_are_trained_in_rounds_too_where_the_run_ends_by_time() -> None:
    experiment = digits("loop", training={"local_steps_of": {"n1": 5}}, stop={"time_s": 1.0})
    assert differences(by_rounds(experiment), by_events(experiment)) == []


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_with_the_batched_trainer_they_agree_up_to_rounding(momentum: float) -> None:
    experiment = digits("batched", training={"momentum": momentum}, stop={"time_s": 0.3})
    rounds, events = by_rounds(experiment), by_events(experiment)
    assert rounds.nodes == events.nodes
    assert [s.version for s in rounds.samples] == [s.version for s in events.samples]
    for name, vector in rounds.public.items():
        away = np.linalg.norm(vector - events.public[name])
        assert away <= 1e-5 * np.linalg.norm(vector)


def test_rounds_are_taken_by_themselves_and_events_on_demand(tmp_path: Path) -> None:
    experiment = quadratics()
    in_rounds = simulate(experiment)
    forced = simulate(experiment.replace(simulation=SimulationConfig(rounds="events")))
    traced = simulate(experiment, trace_file=tmp_path / "trace.jsonl")
    assert in_rounds.trace_hash == by_rounds(experiment).trace_hash
    assert forced.trace_hash == traced.trace_hash == by_events(experiment).trace_hash
    assert in_rounds.trace_hash != forced.trace_hash
    assert differences(in_rounds, traced) == []


def test_equal_seeds_give_equal_hashes_and_other_seeds_other_ones() -> None:
    experiment = quadratics(compute={"distribution": "lognormal", "sigma": 0.5})
    assert simulate(experiment).trace_hash == simulate(experiment).trace_hash
    assert simulate(experiment).trace_hash != simulate(experiment, seed=7).trace_hash


class Halved(DPSGD):
    """The user's own, derived from one that can go in rounds."""

    __slots__ = ()

    def finish(
        self,
        state: RoundState,
        local: Local,
        neighbours: Sequence[Neighbour],
        trained: Vector,
    ) -> Finish[RoundState]:
        return super().finish(state, local, neighbours, trained * np.float32(0.5))


@pytest.mark.parametrize(
    "tables",
    [
        {"simulation": {"rounds": "events"}},
        {"network": {"latency": "exponential"}},
        {"network": {"loss": 0.1}},
        {"network": {"duplication": 0.1}},
        {"network": {"reorder": 0.1}},
        {"network": {"uplink_bytes_per_s": 1e6}},
        {"network": {"node_downlink_bytes_per_s": {"n1": 1e6}}},
        {"network": {"links": [{"between": ["n0", "n1"], "loss": 0.1}]}},
        {"network": {"partitions": [{"from_s": 1.0, "groups": [["n0"]]}]}},
        {"network": {"latency_s": 5.1}},
        {"compute": {"availability": {"on_s": 5.0, "off_s": 1.0}}},
        {"faults": {"crash": [{"node": "n3", "at_s": 20.0}]}},
        {"faults": {"leave": [{"node": "n3", "at_s": 20.0}]}},
        {"faults": {"join": [{"node": "n3", "at_s": 20.0}]}},
        {"faults": {"churn": {"life_s": 10.0, "absence_s": 1.0}}},
        {"staleness": {"liveness_floor_s": 1e-4}},
        {"training": {"local_steps_of": {"n1": 5}}, "stop": {"steps": 20}},
        {"algorithm": {"kind": "pull_mix"}},
        {"algorithm": {"kind": "pull_mix"}, "staleness": {"policy": "wait", "bound": 0.0}},
        {"algorithm": {"kind": "fedavg"}},
        {"algorithm": {"kind": "local"}},
        {"algorithm": {"kind": "centralized"}},
        {"algorithm": {"kind": f"{__name__}:Halved"}},
    ],
    ids=str,
)
def test_what_is_left_to_chance_or_stands_alone_goes_event_by_event(tables: dict[str, Any]) -> None:
    experiment = quadratics(**tables)
    assert round_simulation(experiment, experiment.make_trainer()) is None


def test_a_run_that_diverges_begins_anew_and_tells_its_progress_once() -> None:
    """The weights grow fourfold with every step, until they are no numbers any more."""
    experiment = digits("loop", training={"weight_decay": 50.0}, stop={"time_s": 1.3})
    with pytest.raises(Undecided):
        by_rounds(experiment)
    told: list[NetworkSample] = []
    result = simulate(experiment, progress=told.append)
    assert any(node.outcome.startswith("diverged") for node in result.nodes)
    assert result.trace_hash == by_events(experiment).trace_hash
    assert [point.at_s for point in told] == [point.at_s for point in result.curve]
