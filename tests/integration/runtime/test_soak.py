"""A short soak: every node and the broker are killed, some twice, and nothing of it is left."""

from pathlib import Path
from typing import Any

import pytest
from soak import BROKER, order_of, soak, verdict

from p2pfl.config.load import config_from_mapping
from p2pfl.experiment import Experiment
from p2pfl.simulation.simulate import simulate

KILLS = 7


def digits() -> Experiment:
    table: dict[str, Any] = {
        "name": "soak",
        "topology": {"kind": "complete", "nodes": 3},
        "data": "digits",
        "model": {"kind": "mlp", "hidden": [16]},
        "training": {"learning_rate": 0.1, "local_steps": 4},
        "compute": {"step_s": 0.02},
        "staleness": {"liveness_floor_s": 1.5, "suspect_grace_s": 0.5},
        "checkpoint": {"every_s": 0.5},
        "stop": {"time_s": 24.0},
        "evaluation": {"every_s": 0.5},
    }
    return Experiment(config_from_mapping(table, source="test"))


@pytest.mark.broker
async def test_kills_of_all_nodes_and_the_broker_damage_nothing_and_stop_nobody(
    tmp_path: Path,
) -> None:
    experiment = digits()
    found = await soak(experiment, tmp_path, kills=KILLS, seed=1)
    assert found.kills.total() == KILLS
    assert set(found.kills) == {*experiment.learners, BROKER}
    normal = simulate(experiment).final.accuracy_mean or 0.0
    assert normal > 0.8
    assert not verdict(found, normal=normal)


def test_every_victim_is_killed_at_least_once() -> None:
    import random

    assert set(order_of("abc", 3, random.Random(0))) == {"a", "b", "c"}
    assert len(order_of("abc", 9, random.Random(0))) == 9
