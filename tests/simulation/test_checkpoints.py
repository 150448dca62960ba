"""Nodes that come back go on from their last checkpoint."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.experiments import SYNCHRONOUS, models, quadratic_experiment

from p2pfl.experiment import Experiment
from p2pfl.results.record import RunResult
from p2pfl.simulation.simulate import simulate

CRASH = {"crash": [{"node": "n0", "at_s": 20.5, "restart_s": 30.0}]}


def alone(faults: dict[str, Any] = CRASH, **tables: Any) -> Experiment:  # noqa: ANN401 - tables of the file, as a user writes them
    """A pair of nodes at 2 virtual seconds an update; n0 dies at 20.5 and is back at 30."""
    return quadratic_experiment(
        nodes=2,
        slow=0,
        algorithm={"kind": "local"},
        training={"momentum": 0.9, "learning_rate": 0.02},
        compute={"step_s": 2.0},
        network={"latency_s": 0.0, "latency": "constant"},
        faults=faults,
        stop={"steps": 20},
        time_s=100.0,
        **tables,
    )


def steps_done(result: RunResult) -> dict[str, int]:
    return {node.node: node.steps for node in result.nodes}


def test_a_node_that_comes_back_repeats_only_what_came_after_its_checkpoint() -> None:
    without, with_ = simulate(alone()), simulate(alone(checkpoint={"every_s": 6.5}))
    assert steps_done(without) == {"n0": 10 + 20, "n1": 20}
    # The last checkpoint, at 19.5 s, was after the ninth step: one step is done again.
    assert steps_done(with_) == {"n0": 10 + 11, "n1": 20}


def test_with_a_checkpoint_a_crash_changes_nothing_of_what_is_learned_alone() -> None:
    kept = simulate(alone(checkpoint={"every_s": 6.5}))
    undisturbed = simulate(alone(faults={}))
    for node, x in undisturbed.public.items():
        assert np.array_equal(kept.public[node], x)


def test_a_node_that_leaves_in_order_loses_nothing() -> None:
    faults = {"leave": [{"node": "n0", "at_s": 20.5, "return_s": 30.0}]}
    left = simulate(alone(checkpoint={"every_s": 1000.0}, faults=faults))
    assert steps_done(left) == {"n0": 20, "n1": 20}


def told(folder: Path, experiment: Experiment) -> list[dict[str, Any]]:
    file = folder / "trace.jsonl"
    simulate(experiment, trace_file=file)
    return [json.loads(line) for line in file.read_text().splitlines()]


@pytest.mark.parametrize("algorithm", ["pull_mix", *SYNCHRONOUS])
def test_a_gossiping_node_goes_on_from_its_checkpoint_under_a_new_incarnation(
    algorithm: str, tmp_path: Path
) -> None:
    experiment = quadratic_experiment(
        nodes=8,
        slow=0,
        algorithm=SYNCHRONOUS.get(algorithm, {"kind": algorithm}),
        faults={"crash": [{"node": "n3", "at_s": 100.0, "restart_s": 140.0}]},
        checkpoint={"every_s": 30.0},
        time_s=400.0,
    )
    result = simulate(experiment)
    undisturbed = simulate(experiment.replace(faults=type(experiment.config.faults)()))
    x, y = (models(each.public, experiment) for each in (result, undisturbed))
    assert np.abs(x.mean(axis=0) - y.mean(axis=0)).max() < 0.02
    (node,) = [n for n in result.nodes if n.node == "n3"]
    assert node.outcome == "finished" or node.versions > 300
    back = [e for e in told(tmp_path, experiment) if e["node"] == "n3" and e["at_s"] >= 140.0]
    first = next(word for e in back for word in e["effects"] if word.startswith("publish v"))
    version = int(first.split()[1].removeprefix("v"))
    assert version >= 89


def test_runs_with_checkpoints_are_deterministic() -> None:
    experiment = alone(checkpoint={"every_s": 6.5})
    assert simulate(experiment).trace_hash == simulate(experiment).trace_hash
