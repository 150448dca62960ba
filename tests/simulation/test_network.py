"""Runs over rough networks: bounded staleness, determinism, exact bytes, and what a link costs."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.experiments import models, quadratic_experiment

from p2pfl.results.record import RunResult
from p2pfl.simulation.simulate import Simulation, simulate
from p2pfl.simulation.trace import Trace

MODEL_BYTES = 4_300
"""A thousand numbers and their header."""

ROUGH: dict[str, Any] = {
    "latency": "lognormal",
    "latency_s": 0.2,
    "loss": 0.05,
    "duplication": 0.1,
    "reorder": 0.1,
    "reorder_s": 2.0,
    "uplink_bytes_per_s": 2.0 * MODEL_BYTES,
    "node_downlink_bytes_per_s": {"n1": 1.5 * MODEL_BYTES, "server": 4.0 * MODEL_BYTES},
    "links": [{"between": ["n0", "n1"], "latency_s": 1.0, "loss": 0.3}],
    "partitions": [
        {"from_s": 20.0, "until_s": 40.0, "groups": [["n0", "n1", "n2"]]},
        {"from_s": 30.0, "until_s": 60.0, "groups": [["n2", "n3"], ["n5"]]},
    ],
}


def rough(**tables: Any) -> RunResult:  # noqa: ANN401 - tables as a user writes them
    base: dict[str, Any] = {
        "nodes": 8,
        "slow": 3,
        "time_s": 100.0,
        "data": {"dimension": 1000},
        "network": ROUGH,
    }
    return simulate(quadratic_experiment(**{**base, **tables}))


@pytest.mark.parametrize(
    "algorithm",
    [
        {"kind": "pull_mix"},
        {"kind": "dpsgd"},
        {"kind": "fedavg"},
        {"kind": "fedavg", "participation": 0.5},
    ],
)
def test_every_algorithm_works_on_a_rough_network_and_repeats_by_seed(
    algorithm: dict[str, object],
) -> None:
    first, second = (rough(algorithm=algorithm) for _ in range(2))
    assert first.trace_hash == second.trace_hash
    for node, x in first.public.items():
        assert np.array_equal(x, second.public[node])
    assert min(n.steps for n in first.learners) >= 3
    assert first.final.loss_mean < 0.9 * first.curve[0].loss_mean
    assert first.staleness_max <= first.staleness_bound


@given(
    seed=st.integers(0, 10_000),
    policy=st.sampled_from(["drop", "wait"]),
    bound=st.integers(1, 4),
    duplication=st.floats(0.0, 0.5),
    reorder=st.floats(0.0, 0.9),
    models_per_s=st.floats(0.2, 20.0),
    cut_s=st.floats(0.0, 40.0),
)
@settings(max_examples=30, deadline=None)
def test_no_mix_ever_exceeds_the_bound_on_any_network(
    *,
    seed: int,
    policy: str,
    bound: int,
    duplication: float,
    reorder: float,
    models_per_s: float,
    cut_s: float,
) -> None:
    link = {"uplink_bytes_per_s": models_per_s * 240, "downlink_bytes_per_s": models_per_s * 480}
    cut = {"from_s": cut_s, "until_s": cut_s + 12.0, "groups": [["n0", "n1", "n2"], ["n5"]]}
    result = simulate(
        quadratic_experiment(
            nodes=8,
            slow=3,
            time_s=50.0,
            seed=seed,
            staleness={"policy": policy, "bound": float(bound)},
            network={
                "duplication": duplication,
                "reorder": reorder,
                "reorder_s": 4.0,
                "partitions": [cut],
                **link,
            },
        )
    )
    assert result.staleness_max <= bound
    assert sum(n.mixes for n in result.nodes) > 50


def test_each_receipt_counts_once_in_and_nothing_else_does() -> None:
    """Every publish goes to both neighbours: what is not lost comes once."""
    slow_links = {"latency": "constant", "uplink_bytes_per_s": 1.0 * MODEL_BYTES}
    experiment = quadratic_experiment(
        slow=0, data={"dimension": 1000}, network=slow_links, stop={"steps": 40, "time_s": 300.0}
    )
    result = simulate(experiment)
    sent, fanned, got = (
        sum(getattr(n, k) for n in result.nodes) for k in ("out_bytes", "fan_out_bytes", "in_bytes")
    )
    assert fanned == 2 * sent
    assert got == fanned


@pytest.mark.parametrize(
    ("network", "way_s"),
    [
        ({"uplink_bytes_per_s": 0.1 * MODEL_BYTES}, 10.0),
        ({"uplink_bytes_per_s": 2.0 * MODEL_BYTES}, 0.5),
        # Both neighbours' models share a downlink that does not keep up, and else have it in turn.
        ({"downlink_bytes_per_s": 0.1 * MODEL_BYTES}, 20.0),
        ({"downlink_bytes_per_s": 8.0 * MODEL_BYTES}, 0.125),
        ({"downlink_bytes_per_s": 0.1 * MODEL_BYTES, "codec": "bfloat16"}, 10.0),
        ({}, 0.0),
    ],
)
def test_links_on_which_a_model_takes_longer_than_an_update_are_noted(
    network: dict[str, Any], way_s: float
) -> None:
    result = simulate(
        quadratic_experiment(
            slow=0,
            data={"dimension": 1000},
            network={"latency": "constant", **network},
            stop={"time_s": 60.0},
        )
    )
    assert [n.way_s for n in result.nodes] == [pytest.approx(way_s, rel=0.1) for _ in result.nodes]
    slow = [note for note in result.notes if note.startswith("models were longer on their way")]
    assert len(slow) == (way_s > result.nodes[0].period_s)
    assert len(slow) == (way_s > 1.0)
    assert all(("bfloat16" in note) == ("codec" not in network) for note in slow)


def test_duplicates_count_in_again_and_superseded_models_never() -> None:
    calm = {"latency": "constant"}
    experiment: dict[str, Any] = {
        "slow": 0,
        "data": {"dimension": 1000},
        "stop": {"steps": 50, "time_s": 500.0},
    }
    once = simulate(quadratic_experiment(network=calm, **experiment))
    twice = simulate(quadratic_experiment(network={**calm, "duplication": 0.3}, **experiment))
    assert [n.out_bytes for n in twice.nodes] == [n.out_bytes for n in once.nodes]
    before, after = (sum(n.in_bytes for n in r.nodes) for r in (once, twice))
    assert after == pytest.approx(1.3 * before, rel=0.05)
    narrow = {**calm, "uplink_bytes_per_s": 0.5 * MODEL_BYTES}
    slow = simulate(quadratic_experiment(network=narrow, **experiment))
    for node in slow.nodes:
        assert node.versions == 50
        # The opening model too; half of them fit through the link.
        assert node.superseded + node.out_bytes // MODEL_BYTES == pytest.approx(51, abs=3)
        assert node.superseded > 15


def test_a_slow_uplink_makes_models_older_and_hurts_nobodys_pace() -> None:
    fast, slow = (
        simulate(
            quadratic_experiment(
                slow=0, time_s=100.0, data={"dimension": 1000}, network={**each, "latency_s": 0.01}
            )
        )
        for each in ({}, {"uplink_bytes_per_s": 0.5 * MODEL_BYTES})
    )
    assert [n.steps for n in slow.nodes] == [n.steps for n in fast.nodes]
    ages_s = [np.mean([n.age_max_s for n in r.nodes]) for r in (fast, slow)]
    assert ages_s[1] > ages_s[0] + 2.0
    assert slow.staleness_max <= 3.0


def test_the_servers_shared_link_is_fedavgs_bottleneck() -> None:
    """Sixteen answers go through one downlink: a round lasts 16 models longer than with wide ones.

    The peers' links are as narrow, and every node has its own.
    """
    common: dict[str, Any] = {"slow": 0, "time_s": 400.0, "data": {"dimension": 1000}}
    narrow = {"latency": "constant", "node_downlink_bytes_per_s": {"server": 2.0 * MODEL_BYTES}}
    wide = simulate(
        quadratic_experiment(
            algorithm={"kind": "fedavg"}, network={"latency": "constant"}, **common
        )
    )
    shared = simulate(quadratic_experiment(algorithm={"kind": "fedavg"}, network=narrow, **common))
    each = {"latency": "constant", "downlink_bytes_per_s": 2.0 * MODEL_BYTES}
    peers = simulate(quadratic_experiment(network=each, **common))
    round_s = [400.0 / max(n.versions for n in r.learners) for r in (wide, shared)]
    assert round_s[0] == pytest.approx(1.2, rel=0.05)
    assert round_s[1] == pytest.approx(1.2 + 16 / 2.0, rel=0.1)
    assert min(n.versions for n in peers.nodes) == 399


def test_a_partition_parts_the_models_and_after_it_they_meet_again() -> None:
    halves = [[f"n{i}" for i in range(8)]]
    cut = {"from_s": 50.0, "until_s": 250.0, "groups": halves}

    def gap(time_s: float, partitions: list[dict[str, object]]) -> float:
        experiment = quadratic_experiment(
            slow=8,
            compute={"slowdown": {}},
            time_s=time_s,
            network={"partitions": partitions},
        )
        x = models(simulate(experiment).public, experiment)
        return float(np.linalg.norm(x[:8].mean(axis=0) - x[8:].mean(axis=0)))

    apart, never = gap(249.0, [cut]), gap(249.0, [])
    assert apart > 1.5 * never
    assert gap(500.0, [cut]) == pytest.approx(gap(500.0, []), rel=0.05)


def test_when_a_partition_heals_the_newest_models_are_heard_at_once() -> None:
    """As retained ones: each of the four cut pairs' ends hears the other's presence and model."""
    cut = {"from_s": 10.0, "until_s": 20.05, "groups": [["n0", "n1", "n2", "n3"]]}
    experiment = quadratic_experiment(
        nodes=8, slow=0, time_s=20.2, network={"latency": "constant", "partitions": [cut]}
    )
    simulation = Simulation(experiment, experiment.make_trainer(), Trace())
    simulation.run()
    for node, peer in (("n0", "n7"), ("n7", "n0"), ("n3", "n4"), ("n4", "n3")):
        one = simulation.world.inhabitants[experiment.place(node).node]
        record = one.node.neighbourhood.peers[experiment.place(peer).node]
        assert record.version == 20
        assert not record.trusted
    inner = simulation.world.inhabitants[experiment.place("n1").node]
    assert all(peer.trusted for peer in inner.node.neighbourhood.peers.values())
