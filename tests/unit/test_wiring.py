"""The topology of an experiment: what its data and links decide, and what its algorithm allows."""

from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import pytest

from p2pfl.algorithms.base import Capabilities
from p2pfl.config.load import config_from_mapping
from p2pfl.errors import ConfigError
from p2pfl.experiment import Experiment
from p2pfl.tasks import task_of
from p2pfl.topology.build import Topology, build_topology
from p2pfl.topology.cliques import skew
from p2pfl.topology.schedules import one_peer_exponential
from p2pfl.wiring import check_topology, make_topology

BASE: dict[str, Any] = {
    "name": "wired",
    "data": "digits",
    "model": "softmax",
    "training": {"learning_rate": 0.1, "local_steps": 1},
    "stop": {"steps": 4},
}
SCHEDULE: dict[str, Any] = {"kind": "base", "nodes": 6, "degree": 1}
SYNC = Capabilities(synchronous=True, scheduled=True)


def make(topology: dict[str, Any], **tables: Any) -> Experiment:  # noqa: ANN401 - tables as a user writes them
    return Experiment(config_from_mapping(BASE | {"topology": topology} | tables, source="test"))


def refusal(topology: Topology, needs: Capabilities) -> str:
    with pytest.raises(ConfigError) as error:
        check_topology(topology, needs, label="Mine")
    return str(error.value)


def test_an_asynchronous_algorithm_on_a_schedule_is_refused_with_the_reason() -> None:
    with pytest.raises(
        ConfigError, match=r"PullMix is asynchronous, and the kind \"base\" .*exact"
    ):
        _ = make(SCHEDULE).places


def test_a_synchronous_algorithm_follows_a_schedule_if_it_says_so() -> None:
    topology = build_topology(**SCHEDULE)
    check_topology(topology, SYNC, label="Mine")
    sentence = refusal(topology, Capabilities(synchronous=True))
    assert "the same neighbours in every round" in sentence


def test_a_graph_with_a_cycle_is_refused_where_sums_would_come_back() -> None:
    needs = Capabilities(synchronous=True, tree=True)
    sentence = refusal(build_topology(kind="ring", nodes=8), needs)
    assert "a tree of 8 nodes has 7 links, and this graph has 8" in sentence
    check_topology(build_topology(kind="star", nodes=8), needs, label="Mine")
    edges = (("a", "b"), ("b", "c"), ("b", "d"))
    check_topology(build_topology(kind="edges", edges=edges), needs, label="Mine")


def test_rounds_that_do_not_keep_the_mean_are_refused_where_it_must_be_kept() -> None:
    local = build_topology(kind="el_local", nodes=9, degree=2, rounds=5)
    assert 'take another schedule, e.g. "el_oracle"' in refusal(local, SYNC)
    check_topology(
        local, Capabilities(synchronous=True, scheduled=True, undirected=False), label="Mine"
    )
    oracle = build_topology(kind="el_oracle", nodes=9, degree=2, rounds=5)
    check_topology(oracle, SYNC, label="Mine")


def test_one_way_links_that_stay_are_refused_where_weights_must_be_symmetric() -> None:
    one_way = build_topology(kind="exponential", nodes=8, directed=True, weights="uniform")
    assert "needs an undirected graph" in refusal(one_way, SYNC)


def test_weights_below_0_are_for_lockstep_only() -> None:
    topology = build_topology(kind="star", nodes=8, weights="best_constant")
    check_topology(topology, SYNC, label="Mine")
    sentence = refusal(topology, Capabilities())
    assert 'weights = "best_constant" gives n0 its own weight of -0.556' in sentence
    assert 'take "fmmc"' in sentence
    check_topology(
        build_topology(kind="star", nodes=8, weights="fmmc"), Capabilities(), label="Mine"
    )


def test_a_node_of_a_schedule_is_told_whom_it_hears_and_who_hears_it_in_each_round() -> None:
    topology = {"kind": "one_peer_exponential", "nodes": 4}
    experiment = make(topology, algorithm={"kind": "dpsgd"})
    place = experiment.place("n0")
    assert [(r.neighbours, r.hearers) for r in place.rounds] == [
        ((("n3", 0.5),), ("n1",)),
        ((("n2", 0.5),), ("n2",)),
    ]
    assert place.neighbours == (("n2", 0.25), ("n3", 0.25), ("n1", 0.0))
    trainer = experiment.make_trainer()
    node = experiment.make_node(place.node, run="r", trainer=trainer, x0=trainer.initial())
    assert node.settings.rounds == place.rounds
    assert node.settings.versions_kept == 1 + one_peer_exponential(4).lead_max()


def test_a_graph_that_stays_has_no_rounds_and_keeps_two_versions() -> None:
    place = make({"kind": "ring", "nodes": 4}).place("n0")
    assert (place.rounds, place.versions_kept) == ((), 2)


def test_baselines_without_neighbours_do_not_mind_a_schedule() -> None:
    assert len(make(SCHEDULE, algorithm={"kind": "fedavg"}).places) == 7
    assert len(make(SCHEDULE, algorithm={"kind": "local"}).places) == 6


def test_cliques_see_the_labels_of_the_experiments_own_partition() -> None:
    topology = {"kind": "d_cliques", "nodes": 20, "clique_size": 5}
    experiment = make(topology, partition={"kind": "shard"}, seed=3)
    graph = experiment.topology.graph
    task = task_of(
        experiment.config,
        nodes=graph.nodes,
        pooled=False,
        learning_rate=experiment.learning_rate,
        base="",
        keep=None,
    )
    counts = np.array(
        [np.bincount(task.train_y[task.shards[n]], minlength=10) for n in graph.nodes]
    )
    cliques = [c for c in nx.find_cliques(nx.Graph(list(graph.edges))) if len(c) == 5]
    assert sorted(i for clique in cliques for i in clique) == list(range(20))
    by_chance = np.mean([skew(counts, range(k, 20, 4)) for k in range(4)])
    assert np.mean([skew(counts, clique) for clique in cliques]) < 0.7 * by_chance


def test_cliques_of_quadratics_are_refused() -> None:
    tables = {"data": "quadratic", "model": "quadratic"}
    config = config_from_mapping(
        BASE | {"topology": {"kind": "d_cliques", "nodes": 6}} | tables, source="test"
    )
    with pytest.raises(ConfigError, match=r'follows labels, and data.kind "quadratic" shows none'):
        make_topology(config, folder=Path())


def test_latencies_of_links_decide_who_is_near() -> None:
    """n0, n2, n4, n6 sit in one place, the others in another."""
    names = [f"n{i}" for i in range(8)]
    near = [
        {"between": [a, b], "latency_s": 0.001}
        for i, a in enumerate(names)
        for b in names[i + 2 :: 2]
    ]
    network = {"latency_s": 0.1, "links": [*near, {"between": ["n0", "n1"], "loss": 0.1}]}
    topology = {"kind": "latency_aware", "nodes": 8, "near": 3, "far": 1}
    graph = make(topology, network=network).topology.graph
    for i, heard in enumerate(graph.adjacency):
        assert {j for j in range(8) if j != i and j % 2 == i % 2} <= set(heard)
    plain = make(topology, network={"latency_s": 0.1}).topology
    assert plain.points is not None
