"""Topologies whose words contradict each other, or the algorithm, are refused in one line."""

from typing import Final

import pytest

from p2pfl.config.check import GRAPH_NEEDS
from p2pfl.config.load import config_from_mapping, with_values
from p2pfl.config.schema import ExperimentConfig
from p2pfl.errors import ConfigError

BASE: Final[dict[str, object]] = {
    "name": "small",
    "topology": {"kind": "ring", "nodes": 4},
    "data": "digits",
    "model": "mlp",
    "training": {"learning_rate": 0.1, "local_steps": 2},
    "stop": {"time_s": 10},
}
GRAPHS: Final[dict[str, dict[str, object]]] = {
    "torus": {"kind": "torus", "rows": 3},
    "circulant": {"kind": "circulant", "nodes": 8, "offsets": [1, 2]},
    "small_world": {"kind": "small_world", "nodes": 8, "degree": 4},
    "edges": {"kind": "edges", "edges": [["a", "b"]]},
    "erdos_renyi": {"kind": "erdos_renyi", "nodes": 8, "probability": 0.5},
    "barabasi_albert": {"kind": "barabasi_albert", "nodes": 8, "links_per_node": 2},
    "geometric": {"kind": "geometric", "nodes": 8, "radius": 0.8},
    "latency_aware": {"kind": "latency_aware", "nodes": 8, "near": 2, "far": 1},
    "d_cliques": {"kind": "d_cliques", "nodes": 8, "clique_size": 4, "between_cliques": "complete"},
    "equi_static": {"kind": "equi_static", "nodes": 8, "degree": 2},
    "base": {"kind": "base", "nodes": 8, "degree": 2},
    "equi_dyn": {"kind": "equi_dyn", "nodes": 8, "rounds": 9},
    "el_local": {"kind": "el_local", "nodes": 8, "degree": 2, "rounds": 9},
    "matcha": {"kind": "matcha", "path": "ring.toml", "budget": 0.25, "rounds": 9},
    "weighted": {"kind": "ring", "nodes": 8, "weights": "target", "target": {"n0": 2.0}},
}


def base() -> ExperimentConfig:
    return config_from_mapping(BASE, source="base")


def refused(values: dict[str, object]) -> str:
    with pytest.raises(ConfigError) as error:
        with_values(base(), values)
    sentence = str(error.value)
    assert "\n" not in sentence
    return sentence


@pytest.mark.parametrize("kind", GRAPH_NEEDS)
def test_each_family_of_graphs_says_what_it_needs(kind: str) -> None:
    key = GRAPH_NEEDS[kind][0]
    sentence = refused({"topology": {"kind": kind}})
    assert f"topology.{key} is missing" in sentence
    assert kind in sentence


@pytest.mark.parametrize("kind", GRAPHS)
def test_each_family_of_graphs_is_accepted_with_its_own_keys(kind: str) -> None:
    wanted = GRAPHS[kind]
    assert with_values(base(), {"topology": wanted}).topology.kind == wanted["kind"]


def test_a_directed_schedule_is_for_algorithms_that_follow_schedules() -> None:
    topology = {"kind": "equi_dyn", "nodes": 8, "directed": True}
    assert with_values(base(), {"algorithm.kind": "dpsgd", "topology": topology})
    sentence = refused({"algorithm.kind": "pull_mix", "topology": topology})
    assert "topology.directed is true" in sentence


@pytest.mark.parametrize(
    ("topology", "sentence"),
    [
        (
            {"kind": "base", "nodes": 8, "degree": 1, "weights": "lazy"},
            'topology.weights is "lazy", but the kind "base" brings its own; remove it',
        ),
        (
            {"kind": "ring", "nodes": 8, "target": {"n0": 2.0}},
            'topology.target is read by the weights "target" only',
        ),
        (
            {"kind": "ring", "nodes": 8, "weights": "target"},
            'topology.target is missing; the weights "target" need it',
        ),
        (
            {"kind": "ring", "nodes": 8, "weights": "target", "target": {"n0": 0.0}},
            "topology.target.n0 is 0; allowed: above 0",
        ),
    ],
)
def test_weights_that_make_no_matrix_are_refused(
    topology: dict[str, object], sentence: str
) -> None:
    assert sentence in refused({"topology": topology})


def test_objectives_are_weighed_once() -> None:
    topology = {"kind": "ring", "nodes": 8, "weights": "target", "target": {"n0": 2.0}}
    sentence = refused({"topology": topology, "training.weighting": "uniform"})
    assert "[training] weighs the objectives too; remove one of them" in sentence


def test_a_family_with_weights_of_its_own_takes_the_old_ones_with_it() -> None:
    lazy = with_values(base(), {"topology": {"kind": "ring", "nodes": 8, "weights": "lazy"}})
    changed = with_values(lazy, {"topology.kind": "one_peer_hypercube"})
    assert changed.topology.weights == "metropolis"


@pytest.mark.parametrize("algorithm", ["pull_mix", "dpsgd"])
def test_symmetric_algorithms_refuse_one_way_links(algorithm: str) -> None:
    sentence = refused(
        {
            "algorithm.kind": algorithm,
            "topology": {"kind": "exponential", "nodes": 8, "directed": True},
        }
    )
    assert "topology.directed is true" in sentence
    assert algorithm in sentence


def test_fedavg_does_not_mind_one_way_links() -> None:
    values = {
        "algorithm.kind": "fedavg",
        "topology": {"kind": "exponential", "nodes": 8, "directed": True},
    }
    assert with_values(base(), values).topology.directed
