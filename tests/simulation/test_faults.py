"""Runs in which devices sleep, nodes come and go, and stragglers straggle."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.experiments import quadratic_experiment

from p2pfl.errors import DataError
from p2pfl.results.record import RunResult
from p2pfl.simulation.simulate import simulate

SLEEPY: dict[str, Any] = {"availability": {"on_s": 12.0, "off_s": 4.0}}
CHURN: dict[str, Any] = {"churn": {"life_s": 40.0, "absence_s": 8.0, "graceful": 0.5}}


def steps(result: RunResult) -> dict[str, int]:
    return {str(n.node): n.steps for n in result.nodes}


def outcomes(result: RunResult) -> dict[str, str]:
    return {str(n.node): n.outcome for n in result.nodes}


@pytest.mark.parametrize("kind", ["pull_mix", "dpsgd", "fedavg", "local", "centralized"])
def test_every_algorithm_lives_through_everything_and_repeats_by_seed(kind: str) -> None:
    experiment = quadratic_experiment(
        nodes=8,
        slow=2,
        time_s=150.0,
        algorithm={"kind": kind},
        compute={"distribution": "pareto", "alpha": 1.8, "node_sigma": 0.3, **SLEEPY},
        network={
            "duplication": 0.1,
            "reorder": 0.1,
            "uplink_bytes_per_s": 1200.0,
            "downlink_bytes_per_s": 4000.0,
            "partitions": [{"from_s": 30.0, "until_s": 60.0, "groups": [["n0", "n1", "n2"]]}],
        },
        faults={
            "join": [{"node": "n4", "at_s": 50.0}],
            "leave": [{"node": "n5", "at_s": 40.0, "return_s": 80.0}],
            **CHURN,
        },
    )
    first, second = simulate(experiment), simulate(experiment)
    assert first.trace_hash == second.trace_hash
    assert simulate(experiment, seed=5).trace_hash != first.trace_hash
    assert first.staleness_max <= first.staleness_bound
    assert min(n.steps for n in first.learners) > 0


@given(
    seed=st.integers(0, 10_000),
    policy=st.sampled_from(["drop", "wait"]),
    bound=st.integers(1, 4),
    off_s=st.floats(0.1, 20.0),
    life_s=st.floats(3.0, 60.0),
    graceful=st.floats(0.0, 1.0),
    join_s=st.floats(0.0, 50.0),
)
@settings(max_examples=30, deadline=None)
def test_no_mix_ever_exceeds_the_bound_whoever_comes_and_goes(
    *,
    seed: int,
    policy: str,
    bound: int,
    off_s: float,
    life_s: float,
    graceful: float,
    join_s: float,
) -> None:
    result = simulate(
        quadratic_experiment(
            nodes=8,
            slow=3,
            time_s=50.0,
            seed=seed,
            staleness={"policy": policy, "bound": float(bound)},
            compute={"availability": {"on_s": 10.0, "off_s": off_s}},
            faults={
                "churn": {"life_s": life_s, "absence_s": 4.0, "graceful": graceful},
                "join": [{"node": "n2", "at_s": join_s}],
            },
        )
    )
    assert result.staleness_max <= bound


def test_a_sleeping_device_does_nothing_and_its_training_takes_as_much_longer() -> None:
    awake, sleepy = (
        simulate(quadratic_experiment(slow=0, time_s=600.0, compute=compute))
        for compute in ({}, SLEEPY)
    )
    share = sum(steps(sleepy).values()) / sum(steps(awake).values())
    assert share == pytest.approx(0.75, rel=0.05)
    sent = [sum(n.out_bytes for n in r.nodes) for r in (awake, sleepy)]
    assert sent[1] / sent[0] == pytest.approx(0.75, rel=0.1)


def test_a_measured_device_follows_its_trace(tmp_path: Path) -> None:
    """n1 sleeps from 10.5 to 30 and then works at half speed; n2 is twice as fast."""
    trace = tmp_path / "devices.csv"
    trace.write_text("time_s,node,up,speed\n10.5,n1,0,\n30,n1,1,0.5\n0,n2,1,2\n", encoding="utf-8")
    lines = tmp_path / "trace.jsonl"
    experiment = quadratic_experiment(nodes=6, slow=0, time_s=60.5, compute={"trace": str(trace)})
    result = simulate(experiment, trace_file=lines)
    done = steps(result)
    # Half of the eleventh step is done when it falls asleep: the rest takes a second more.
    assert (done["n0"], done["n1"], done["n2"]) == (60, 10 + 15, 120)
    told = [json.loads(line) for line in lines.read_text().splitlines()]
    assert not [t for t in told if t["node"] == "n1" and 10.5 < t["at_s"] < 30.0]
    trained = [t["at_s"] for t in told if t["node"] == "n1" and t["event"].startswith("trained")]
    assert trained[9:12] == pytest.approx([10.0, 31.0, 33.0])


def test_a_device_that_wakes_hears_the_newest_that_the_broker_kept(tmp_path: Path) -> None:
    trace = tmp_path / "devices.csv"
    trace.write_text("time_s,node,up,speed\n10.5,n1,0,\n30.25,n1,1,1\n", encoding="utf-8")
    lines = tmp_path / "trace.jsonl"
    experiment = quadratic_experiment(
        nodes=6,
        slow=0,
        time_s=31.0,
        compute={"trace": str(trace)},
        network={"latency": "constant"},
    )
    simulate(experiment, trace_file=lines)
    told = [json.loads(line) for line in lines.read_text().splitlines()]
    heard = [t["event"] for t in told if t["node"] == "n1" and t["at_s"] == pytest.approx(30.35)]
    assert [e for e in heard if e.endswith("retained") and " v30 " in e and "model" in e]
    assert {e.split()[2] for e in heard if e.endswith("retained")} == {"n0", "n2"}


def test_a_device_that_never_wakes_ends_no_run_and_stops_nobody(tmp_path: Path) -> None:
    trace = tmp_path / "devices.csv"
    trace.write_text("time_s,node,up,speed\n10,n1,down,\n", encoding="utf-8")
    experiment = quadratic_experiment(
        nodes=6, slow=0, stop={"steps": 50, "time_s": 10_000.0}, compute={"trace": str(trace)}
    )
    result = simulate(experiment)
    assert result.duration_s < 60.0
    assert outcomes(result)["n1"] == "asleep"
    assert {s for n, s in steps(result).items() if n != "n1"} == {50}


def test_a_device_that_is_down_at_first_comes_late_and_starts_from_its_neighbours(
    tmp_path: Path,
) -> None:
    trace = tmp_path / "devices.csv"
    trace.write_text("time_s,node,up,speed\n0,n1,0,\n40,n1,1,1\n", encoding="utf-8")
    lines = tmp_path / "trace.jsonl"
    experiment = quadratic_experiment(nodes=6, slow=0, time_s=60.0, compute={"trace": str(trace)})
    result = simulate(experiment, trace_file=lines)
    told = [json.loads(line) for line in lines.read_text().splitlines()]
    first = next(t for t in told if t["node"] == "n1")
    assert first["at_s"] == 40.0
    assert "rejoining=True" in first["event"]
    assert 15 < steps(result)["n1"] <= 20


def test_a_trace_of_unknown_nodes_is_refused(tmp_path: Path) -> None:
    trace = tmp_path / "devices.csv"
    trace.write_text("time_s,node,up,speed\n0,n99,0,\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"devices\.csv, line 2: names the node 'n99'"):
        simulate(quadratic_experiment(compute={"trace": str(trace)}))


def test_who_leaves_is_left_out_at_once_and_comes_back_from_its_neighbours(tmp_path: Path) -> None:
    lines = tmp_path / "trace.jsonl"
    leave = {"node": "n1", "at_s": 20.5, "return_s": 40.0}
    experiment = quadratic_experiment(
        nodes=6,
        slow=0,
        time_s=60.0,
        network={"latency": "constant"},
        faults={"leave": [leave]},
    )
    result = simulate(experiment, trace_file=lines)
    told = [json.loads(line) for line in lines.read_text().splitlines()]
    heard = [t for t in told if "heard n1 left" in t["event"]]
    assert [(t["node"], t["at_s"]) for t in heard] == [
        ("n0", pytest.approx(20.6)),
        ("n2", pytest.approx(20.6)),
    ]
    while_away = [
        e for t in told if t["node"] == "n0" and 20.6 < t["at_s"] < 40.0 for e in t["effects"]
    ]
    mixes = [e for e in while_away if e.startswith("mix")]
    assert mixes
    assert all("n1:" not in e.split(" out ")[0] for e in mixes)
    assert outcomes(result)["n1"] == "finished"
    assert 35 <= steps(result)["n1"] <= 40


def test_who_leaves_for_good_is_told_as_left() -> None:
    experiment = quadratic_experiment(
        nodes=6, slow=0, time_s=60.0, faults={"leave": [{"node": "n1", "at_s": 20.5}]}
    )
    result = simulate(experiment)
    assert outcomes(result)["n1"] == "left"
    assert steps(result)["n1"] == 20
    assert "n1" not in result.served


def test_who_joins_late_is_absent_until_then_and_starts_where_its_neighbours_are() -> None:
    def run(time_s: float) -> RunResult:
        return simulate(
            quadratic_experiment(
                slow=0,
                time_s=time_s,
                evaluation={"every_s": 50.0},
                faults={"join": [{"node": "n3", "at_s": 200.0}]},
            )
        )

    before, after = run(199.0), run(203.0)
    assert "n3" not in before.public
    assert outcomes(before)["n3"] == "absent"
    assert all(not s.alive for s in before.samples if s.node == "n3")
    assert steps(after)["n3"] <= 3
    x = {str(node): vector for node, vector in after.public.items()}
    near = float(np.linalg.norm(x["n3"] - (x["n2"] + x["n4"]) / 2.0))
    assert near < 0.25 * float(np.linalg.norm(x["n3"]))


def test_a_run_that_ends_by_steps_waits_for_who_is_to_join() -> None:
    experiment = quadratic_experiment(
        nodes=6,
        slow=0,
        stop={"steps": 20, "time_s": 10_000.0},
        faults={"join": [{"node": "n3", "at_s": 100.0}]},
    )
    result = simulate(experiment)
    assert set(steps(result).values()) == {20}
    assert 119.0 < result.duration_s < 130.0


def test_churn_takes_as_much_of_the_time_as_asked_for() -> None:
    experiment = quadratic_experiment(slow=0, time_s=1200.0, nodes=12, faults=CHURN)
    result = simulate(experiment)
    share = sum(steps(result).values()) / (12 * 1200.0)
    # Lives of 40 and absences of 8; every return begins with up to two seconds of listening, and
    # a life's last step is lost.
    assert 0.72 < share < 40.0 / 48.0
    alive = [s.alive for s in result.samples if s.at_s == 1200.0]
    assert len(alive) == 12


def test_pareto_stragglers_hold_up_the_barrier_and_hardly_anyone_else() -> None:
    heavy = {"distribution": "pareto", "alpha": 1.3}
    paces = {}
    for kind in ("pull_mix", "dpsgd"):
        result = simulate(
            quadratic_experiment(slow=0, time_s=600.0, compute=heavy, algorithm={"kind": kind})
        )
        paces[kind] = sum(steps(result).values())
    assert paces["pull_mix"] > 2.0 * paces["dpsgd"]
