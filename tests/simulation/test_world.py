"""The virtual world: determinism, faults, loss, lazy training, counted bytes."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.experiments import models, quadratic_experiment

from p2pfl.simulation.simulate import simulate

ROUGH: dict[str, Any] = {
    "network": {"latency_s": 0.5, "loss": 0.1},
    "compute": {"distribution": "lognormal", "sigma": 0.8},
    "faults": {"crash": [{"node": "n3", "at_s": 20.0, "restart_s": 50.0}]},
}


def test_equal_seeds_give_equal_runs_and_other_seeds_other_ones() -> None:
    experiment = quadratic_experiment(time_s=80.0, **ROUGH)
    first, second = simulate(experiment, seed=1), simulate(experiment, seed=1)
    assert first.trace_hash == second.trace_hash
    assert np.array_equal(models(first.public, experiment), models(second.public, experiment))
    assert simulate(experiment, seed=2).trace_hash != first.trace_hash


def test_the_trace_tells_every_event_and_changes_nothing(tmp_path: Path) -> None:
    experiment = quadratic_experiment(time_s=30.0, **ROUGH)
    file = tmp_path / "trace.jsonl"
    told = simulate(experiment, trace_file=file)
    assert told.trace_hash == simulate(experiment).trace_hash
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    times = [line["at_s"] for line in lines]
    assert times == sorted(times)
    mixes = [e for line in lines for e in line["effects"] if e.startswith("mix")]
    assert len(mixes) == sum(n.mixes for n in told.nodes)


@given(
    seed=st.integers(0, 10_000),
    policy=st.sampled_from(["drop", "wait"]),
    metric=st.sampled_from(["missed", "age", "reads", "lag"]),
    bound=st.integers(1, 4),
    loss=st.floats(0.0, 0.5),
    latency_s=st.floats(0.0, 4.0),
    crash_s=st.floats(1.0, 60.0),
)
@settings(max_examples=40, deadline=None)
def test_no_mix_ever_exceeds_the_bound_whatever_happens(
    *,
    seed: int,
    policy: str,
    metric: str,
    bound: int,
    loss: float,
    latency_s: float,
    crash_s: float,
) -> None:
    words = {"policy": policy, "bound": float(bound)}
    staleness = words if policy == "wait" else words | {"metric": metric}
    result = simulate(
        quadratic_experiment(
            nodes=8,
            slow=3,
            time_s=90.0,
            seed=seed,
            staleness=staleness,
            network={"loss": loss, "latency_s": latency_s},
            compute={"distribution": "lognormal", "sigma": 1.0},
            faults={
                "crash": [
                    {"node": "n1", "at_s": crash_s, "restart_s": crash_s + 15.0},
                    {"node": "n6", "at_s": crash_s / 2},
                ]
            },
        )
    )
    assert result.staleness_max <= bound
    assert sum(n.mixes for n in result.nodes) > 50


def test_a_crashed_node_rejoins_from_its_neighbours_and_trains_on() -> None:
    experiment = quadratic_experiment(
        slow=0,
        time_s=120.0,
        faults={"crash": [{"node": "n3", "at_s": 40.0, "restart_s": 60.0}]},
    )
    result = simulate(experiment)
    steps = {str(n.node): n.steps for n in result.nodes}
    assert 0.7 * steps["n0"] < steps["n3"] < 0.95 * steps["n0"]
    assert {n.outcome for n in result.nodes} == {"finished"}
    final = [s for s in result.samples if s.at_s == 120.0]
    assert all(s.alive for s in final)


def test_a_node_that_dies_for_good_stops_nobody() -> None:
    calm = quadratic_experiment(slow=0, time_s=100.0)
    deadly = quadratic_experiment(
        slow=0, time_s=100.0, faults={"crash": [{"node": "n3", "at_s": 30.0}]}
    )
    before = {str(n.node): n.steps for n in simulate(calm).nodes}
    result = simulate(deadly)
    for totals in result.nodes:
        if totals.node == "n3":
            assert totals.outcome == "crashed"
        else:
            assert totals.steps == before[totals.node]
    assert "n3" not in result.served


def test_synchronous_nodes_go_on_without_a_dead_neighbour() -> None:
    experiment = quadratic_experiment(
        nodes=6,
        slow=0,
        time_s=200.0,
        algorithm={"kind": "dpsgd"},
        faults={"crash": [{"node": "n2", "at_s": 30.0, "restart_s": 90.0}]},
    )
    result = simulate(experiment)
    assert min(n.steps for n in result.nodes if n.node != "n2") > 120
    assert next(n.steps for n in result.nodes if n.node == "n2") > 60


@pytest.mark.parametrize("participation", [1.0, 0.5])
def test_fedavg_survives_loss_a_crash_and_a_return(participation: float) -> None:
    experiment = quadratic_experiment(
        nodes=6,
        slow=0,
        time_s=400.0,
        algorithm={"kind": "fedavg", "participation": participation},
        network={"loss": 0.1},
        faults={"crash": [{"node": "n2", "at_s": 30.0, "restart_s": 90.0}]},
    )
    result = simulate(experiment)
    server = next(n for n in result.nodes if n.role == "server")
    assert server.out_bytes > 0
    assert result.final.loss_mean < 0.5
    assert next(n.steps for n in result.nodes if n.node == "n2") > 20


def test_fedavg_does_the_work_that_was_asked_for_and_ends() -> None:
    experiment = quadratic_experiment(
        nodes=6,
        slow=0,
        algorithm={"kind": "fedavg", "participation": 0.5},
        stop={"steps": 20, "time_s": 10_000.0},
    )
    result = simulate(experiment)
    assert sum(n.steps for n in result.nodes) == 6 * 20
    assert {n.outcome for n in result.nodes} == {"finished"}


def test_a_publish_counts_once_out_and_each_receipt_once_in() -> None:
    result = simulate(quadratic_experiment(slow=0, time_s=50.0))
    sent, received = (sum(getattr(n, k) for n in result.nodes) for k in ("out_bytes", "in_bytes"))
    fanned = sum(n.fan_out_bytes for n in result.nodes)
    assert fanned == 2 * sent
    assert 0.97 * fanned <= received <= fanned


def test_trainings_under_way_are_computed_together() -> None:
    from p2pfl.simulation.simulate import Simulation
    from p2pfl.simulation.trace import Trace

    experiment = quadratic_experiment(slow=0, time_s=50.0)
    simulation = Simulation(experiment, experiment.make_trainer(), Trace())
    simulation.run()
    assert simulation.world.node_steps / simulation.world.batches > 4.0


def test_narrow_numbers_halve_the_bytes_and_still_learn() -> None:
    wide = simulate(quadratic_experiment(time_s=300.0, data={"dimension": 1000}))
    narrow = simulate(
        quadratic_experiment(time_s=300.0, data={"dimension": 1000}, network={"codec": "bfloat16"})
    )
    assert narrow.final.bytes_total < 0.6 * wide.final.bytes_total
    assert narrow.final.loss_mean < 1.1 * wide.final.loss_mean


def test_centralized_learning_on_quadratics_finds_the_common_optimum() -> None:
    result = simulate(quadratic_experiment(time_s=400.0, algorithm={"kind": "centralized"}))
    assert result.final.loss_mean < 1e-4


def test_the_last_sample_is_taken_after_the_last_update() -> None:
    """Evaluations and updates that fall together: the end counts every step."""
    experiment = quadratic_experiment(
        slow=0, stop={"steps": 20, "time_s": 1000.0}, evaluation={"every_s": 1.0}
    )
    result = simulate(experiment)
    assert result.final.steps == 16 * 20
    assert {s.steps for s in result.samples if s.at_s == result.final.at_s} == {20}
