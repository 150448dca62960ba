import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from p2pfl.config.schema import TopologyConfig
from p2pfl.errors import ConfigError
from p2pfl.topology import (
    base_graph,
    epidemic,
    equitopo,
    generators,
    matcha,
    optimal_weights,
    random_graphs,
    schedules,
    spatial_graphs,
)
from p2pfl.topology.build import build_topology, load_topology
from p2pfl.topology.cliques import d_cliques
from p2pfl.topology.families import Known
from p2pfl.topology.graph import Graph, numbered
from p2pfl.topology.schedules import Schedule
from p2pfl.topology.summary import summarize, summarize_schedule
from p2pfl.topology.weights import target_rows
from p2pfl.types import Array, NodeId

READY_MADE = sorted(Path(__file__).parents[3].glob("topologies/*.toml"))


@pytest.mark.parametrize(
    ("words", "graph"),
    [
        ({"kind": "ring", "nodes": 8}, generators.ring(8)),
        ({"kind": "path", "nodes": 8}, generators.path(8)),
        ({"kind": "star", "nodes": 8}, generators.star(8)),
        ({"kind": "complete", "nodes": 8}, generators.complete(8)),
        ({"kind": "torus", "rows": 3}, generators.torus(3, 3)),
        ({"kind": "torus", "rows": 3, "columns": 4}, generators.torus(3, 4)),
        ({"kind": "hypercube", "nodes": 8}, generators.hypercube(8)),
        (
            {"kind": "circulant", "nodes": 8, "offsets": (1, 2)},
            generators.circulant(8, offsets=(1, 2)),
        ),
        ({"kind": "exponential", "nodes": 8}, generators.exponential(8)),
        (
            {"kind": "random_regular", "nodes": 8, "degree": 3, "seed": 4},
            random_graphs.random_regular(8, degree=3, seed=4),
        ),
        (
            {"kind": "small_world", "nodes": 20, "degree": 4, "rewire": 0.5, "seed": 4},
            random_graphs.small_world(20, degree=4, rewire=0.5, seed=4),
        ),
        (
            {"kind": "erdos_renyi", "nodes": 20, "probability": 0.3, "seed": 4},
            random_graphs.erdos_renyi(20, probability=0.3, seed=4),
        ),
        (
            {"kind": "barabasi_albert", "nodes": 20, "links_per_node": 2, "seed": 4},
            random_graphs.barabasi_albert(20, links_per_node=2, seed=4),
        ),
        (
            {"kind": "geometric", "nodes": 20, "radius": 0.5, "seed": 4},
            spatial_graphs.geometric(20, radius=0.5, seed=4)[0],
        ),
        (
            {"kind": "latency_aware", "nodes": 20, "near": 2, "far": 1, "seed": 4},
            spatial_graphs.latency_aware(
                spatial_graphs.distances(spatial_graphs.random_points(20, seed=4)),
                near=2,
                far=1,
                seed=4,
            ),
        ),
        (
            {"kind": "edges", "edges": (("a", "b"), ("b", "c"))},
            generators.from_edges([("a", "b"), ("b", "c")]),
        ),
    ],
)
def test_the_words_of_an_experiment_build_its_graph(words: dict[str, Any], graph: Graph) -> None:
    topology = build_topology(**asdict(TopologyConfig(**words)))
    assert topology.graph == graph
    assert topology.kind == words["kind"]
    assert topology.weights == "metropolis"


@pytest.mark.parametrize(
    ("words", "schedule"),
    [
        ({"kind": "one_peer_exponential", "nodes": 6}, schedules.one_peer_exponential(6)),
        ({"kind": "one_peer_hypercube", "nodes": 8}, schedules.one_peer_hypercube(8)),
        ({"kind": "base", "nodes": 10, "degree": 1}, base_graph.base(10, degree=1)),
        ({"kind": "simple_base", "nodes": 10, "degree": 1}, base_graph.simple_base(10, degree=1)),
        (
            {"kind": "hyper_hypercube", "nodes": 12, "degree": 2},
            base_graph.hyper_hypercube(12, degree=2),
        ),
        (
            {"kind": "equi_dyn", "nodes": 9, "rounds": 30, "directed": True, "seed": 3},
            equitopo.equi_dyn(9, rounds=30, directed=True, seed=3),
        ),
        (
            {"kind": "el_oracle", "nodes": 9, "degree": 2, "rounds": 5, "seed": 3},
            epidemic.el_oracle(9, degree=2, rounds=5, seed=3),
        ),
        (
            {"kind": "el_local", "nodes": 9, "degree": 2, "rounds": 5, "seed": 3},
            epidemic.el_local(9, degree=2, rounds=5, seed=3),
        ),
    ],
)
def test_a_schedule_shows_itself_and_the_union_of_its_rounds(
    words: dict[str, Any], schedule: Schedule
) -> None:
    topology = build_topology(**asdict(TopologyConfig(**words)))
    assert topology.schedule == schedule
    assert topology.graph == schedule.union()
    assert topology.weights == "own"
    assert topology.rows() == schedule.mean_rows()
    mean = np.mean([schedule.matrix(t) for t in range(schedule.period)], axis=0)
    np.testing.assert_allclose(topology.matrix(), mean, rtol=0, atol=1e-12)


def test_matcha_takes_the_links_of_another_file(tmp_path: Path) -> None:
    (tmp_path / "torus.toml").write_text('kind = "torus"\nrows = 3\n', "utf-8")
    words: dict[str, Any] = {"kind": "matcha", "budget": 0.5, "rounds": 20, "seed": 2}
    topology = build_topology(**words, path="torus.toml", base=tmp_path)
    expected = matcha.matcha(generators.torus(3, 3), budget=0.5, rounds=20, seed=2)
    assert topology.schedule == expected
    with pytest.raises(ConfigError, match='kind = "matcha" needs path'):
        build_topology(**words)


def test_a_graph_that_stays_has_no_schedule() -> None:
    assert build_topology(kind="ring", nodes=8).schedule is None


def test_equi_static_brings_its_weights() -> None:
    topology = build_topology(kind="equi_static", nodes=9, degree=2, seed=1)
    assert topology.rows() == equitopo.equi_static(9, degree=2, seed=1)
    assert not topology.graph.directed
    assert build_topology(kind="equi_static", nodes=9, degree=2, directed=True).graph.directed


def test_cliques_follow_the_labels_that_an_experiment_knows() -> None:
    counts = np.eye(4, dtype=int).repeat(5, axis=0)
    asked = []

    def label_counts(nodes: Sequence[NodeId]) -> Array:
        asked.append(list(nodes))
        return counts

    topology = build_topology(
        kind="d_cliques", nodes=20, clique_size=4, known=Known(label_counts=label_counts)
    )
    assert topology.graph == d_cliques(counts, clique_size=4, seed=0).graph
    assert asked == [list(numbered(20))]
    with pytest.raises(ConfigError, match="it stands in an experiment file"):
        build_topology(kind="d_cliques", nodes=20)


def test_latencies_that_an_experiment_knows_decide_who_is_near() -> None:
    latency_s = np.abs(np.subtract.outer(np.arange(10.0), np.arange(10.0)))
    known = Known(latency_s=lambda _: latency_s)
    topology = build_topology(kind="latency_aware", nodes=10, near=2, far=0, known=known)
    assert topology.graph == spatial_graphs.latency_aware(latency_s, near=2, far=0, seed=0)
    assert topology.points is None
    assert build_topology(kind="latency_aware", nodes=10).points is not None


@pytest.mark.parametrize(
    ("weights", "rule"),
    [
        ("best_constant", optimal_weights.best_constant_rows),
        ("fdla", optimal_weights.fdla_rows),
        ("fmmc", optimal_weights.fmmc_rows),
    ],
)
def test_weights_that_need_the_whole_graph_are_given(
    weights: str, rule: Callable[[Graph], object]
) -> None:
    topology = build_topology(kind="path", nodes=5, weights=weights)
    assert topology.weights == weights
    assert topology.rows() == rule(topology.graph)


def test_a_target_counts_those_who_are_not_named_as_1() -> None:
    topology = build_topology(kind="path", nodes=3, weights="target", target={"n1": 2.0})
    assert topology.rows() == target_rows(topology.graph, [1.0, 2.0, 1.0])
    np.testing.assert_allclose(np.array([1.0, 2.0, 1.0]) @ topology.matrix(), [1.0, 2.0, 1.0])


def test_rows_and_matrix_follow_the_chosen_weights() -> None:
    topology = build_topology(kind="exponential", nodes=8, directed=True, weights="uniform")
    assert topology.graph.directed
    assert topology.matrix()[0, 7] == 0.25
    assert topology.rows()[topology.graph.nodes[0]] == (("n4", 0.25), ("n6", 0.25), ("n7", 0.25))


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ({"kind": "mesh"}, "kind = 'mesh'; allowed are ring, path"),
        ({"kind": "ring"}, 'kind = "ring" needs nodes, e.g. nodes = 8'),
        ({"kind": "torus"}, 'kind = "torus" needs rows, e.g. rows = 4'),
        ({"kind": "random_regular", "nodes": 8}, "needs degree, e.g. degree = 4"),
        ({"kind": "small_world", "nodes": 8}, "needs degree"),
        ({"kind": "file"}, 'kind = "file" needs path'),
        ({"kind": "ring", "nodes": 8, "offsets": (1,)}, "offsets means nothing .*reads nodes; rem"),
        ({"kind": "torus", "rows": 4, "nodes": 16}, 'nodes means nothing for kind = "torus"'),
        ({"kind": "ring", "nodes": 8, "directed": True}, "directed means nothing"),
        ({"kind": "ring", "nodes": 8, "weights": "best"}, "'best'; allowed are metropolis, lazy,"),
        ({"kind": "exponential", "nodes": 8, "directed": True}, "needs an undirected graph"),
        ({"kind": "circulant", "nodes": 8}, r"needs offsets, e.g. offsets = \[1, 2, 4\]"),
        ({"kind": "edges"}, r'needs edges, e.g. edges = \[\["a", "b"\]\]'),
        ({"kind": "file", "path": "x", "nodes": 3}, "nodes means nothing"),
        ({"kind": "base", "nodes": 8, "degree": 1, "weights": "lazy"}, "which brings its own"),
        ({"kind": "ring", "nodes": 8, "target": {"n0": 2.0}}, 'target is read by weights = "targ'),
        ({"kind": "ring", "nodes": 8, "weights": "target"}, 'weights = "target" needs target'),
        (
            {"kind": "ring", "nodes": 8, "weights": "target", "target": {"n9": 2.0}},
            "there is no node 'n9'",
        ),
        ({"kind": "d_cliques", "nodes": 8, "between_cliques": "star"}, "allowed are ring, small_w"),
        ({"kind": "latency_aware", "nodes": 5_001}, "needs 2 to 5,000 nodes"),
        ({"kind": "latency_aware", "nodes": 1}, "needs 2 to"),
        ({"kind": "ring", "nodes": 8, "rewire": 0.5}, "rewire means nothing"),
    ],
)
def test_words_that_make_no_graph_are_refused(words: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        build_topology(**words)


def test_a_relative_path_is_looked_up_from_the_base(tmp_path: Path) -> None:
    (tmp_path / "g.edges").write_text("a b\nb c\n", "utf-8")
    (tmp_path / "g.toml").write_text('kind = "file"\npath = "g.edges"\n', "utf-8")
    direct = build_topology(kind="file", path="g.edges", base=tmp_path)
    through = build_topology(kind="file", path="g.toml", base=tmp_path)
    assert direct == through
    assert direct.graph.nodes == ("a", "b", "c")


def test_a_toml_speaks_for_itself_where_it_speaks(tmp_path: Path) -> None:
    silent, loud = tmp_path / "silent.toml", tmp_path / "loud.toml"
    silent.write_text('kind = "random_regular"\nnodes = 16\ndegree = 4\n', "utf-8")
    loud.write_text(f'{silent.read_text("utf-8")}seed = 1\nweights = "uniform"\n', "utf-8")

    def build(file: Path, *, seed: int) -> Graph:
        return build_topology(kind="file", path=str(file), seed=seed).graph

    assert build(silent, seed=7) == random_graphs.random_regular(16, degree=4, seed=7)
    assert build(loud, seed=7) == random_graphs.random_regular(16, degree=4, seed=1)
    assert build_topology(kind="file", path=str(loud)).weights == "uniform"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('kind = "ring"\nnodes = 1\n', r"bad\.toml: topology: nodes = 1"),
        ('kind = "ring"\ncount = 1\n', r"bad\.toml: topology: unknown key 'count'"),
        ('kind = "file"\npath = "bad.toml"\n', "'bad.toml' is one more .toml; name that one"),
    ],
)
def test_what_is_wrong_in_a_file_is_told_with_the_file(
    tmp_path: Path, text: str, sentence: str
) -> None:
    (tmp_path / "bad.toml").write_text(text, "utf-8")
    with pytest.raises(ConfigError, match=sentence):
        build_topology(kind="file", path="bad.toml", base=tmp_path)


def test_a_file_in_parts_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "g.edges").write_text("a b\nc d\n", "utf-8")
    with pytest.raises(ConfigError, match=r"g\.edges: topology: c cannot be reached from a"):
        load_topology(tmp_path / "g.edges")


@pytest.mark.parametrize(
    "line",
    [
        'topology = "ring.toml"',
        '[topology]\nkind = "ring"\nnodes = 8',
        '[topology]\nkind = "file"\npath = "ring.toml"',
    ],
)
def test_an_experiment_stands_for_its_topology(tmp_path: Path, line: str) -> None:
    (tmp_path / "ring.toml").write_text('kind = "ring"\nnodes = 8\n', "utf-8")
    experiment = tmp_path / "experiment.toml"
    experiment.write_text(f'name = "digits"\n{line}\n', "utf-8")
    assert load_topology(experiment).graph == generators.ring(8)


def test_an_experiment_with_a_bare_kind_is_told_what_is_missing(tmp_path: Path) -> None:
    experiment = tmp_path / "experiment.toml"
    experiment.write_text('topology = "ring"\n', "utf-8")
    with pytest.raises(ConfigError, match=r'experiment\.toml: .* "ring" needs nodes'):
        load_topology(experiment)


def test_a_file_may_bring_weights_or_have_none_to_choose(tmp_path: Path) -> None:
    (tmp_path / "base.toml").write_text('kind = "base"\nnodes = 5\ndegree = 1\n', "utf-8")
    topology = build_topology(kind="file", path="base.toml", weights="lazy", base=tmp_path)
    assert topology.weights == "own"


@pytest.mark.parametrize("file", READY_MADE, ids=lambda file: file.stem)
def test_a_ready_made_topology_is_as_quick_as_its_comment_says(file: Path) -> None:
    topology = load_topology(file)
    if topology.schedule is None:
        told = f"# lambda = {summarize(topology).second_eigenvalue:.6f}"
    else:
        summary = summarize_schedule(topology.schedule)
        exact = f"# exact after {summary.rounds} rounds"
        told = exact if summary.exact else f"# per round {summary.contraction_per_round:.6f}"
    lines = file.read_text("utf-8").splitlines()
    assert told in lines or told.rstrip("0").rstrip(".") in lines
    assert str(len(topology.graph)) in file.stem.replace("4x4", "16")


def test_there_are_ready_made_topologies() -> None:
    assert len(READY_MADE) >= 20


def test_a_summary_tells_the_degrees_and_the_diameter() -> None:
    summary = summarize(build_topology(kind="star", nodes=5))
    assert (summary.degree_min, summary.degree_mean, summary.degree_max) == (1, 1.6, 4)
    assert (summary.nodes, summary.edges, summary.diameter) == (5, 4, 2)
    assert summary.spectral_gap == pytest.approx(0.2)
    assert summary.mixing_time_rounds == 21
    assert not summary.directed


def test_ten_thousand_nodes_need_no_dense_matrix(monkeypatch: pytest.MonkeyPatch) -> None:
    topology = build_topology(kind="random_regular", nodes=10_000, degree=4)
    monkeypatch.setattr(np, "zeros", None)
    rows = topology.rows()
    assert len(rows) == 10_000
    assert all(len(row) == 4 and sum(w for _, w in row) == 0.8 for row in rows.values())


def test_building_a_graph_loads_no_heavy_library() -> None:
    check = (
        "import sys, p2pfl.topology.build as b, p2pfl.topology.summary, p2pfl.topology.layout\n"
        "b.build_topology(kind='random_regular', nodes=16, degree=4).rows()\n"
        "heavy = {'networkx', 'scipy', 'matplotlib', 'torch'} & set(sys.modules)\n"
        "sys.exit(f'loaded {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", check], check=False, capture_output=True)
    assert done.returncode == 0, done.stderr
