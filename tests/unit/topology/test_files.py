import json
from pathlib import Path

import networkx as nx
import pytest

from p2pfl.config.schema import TopologyConfig
from p2pfl.errors import ConfigError
from p2pfl.topology import files
from p2pfl.topology.families import KINDS
from p2pfl.topology.files import check_table, read_graph, read_toml


def _file(folder: Path, name: str, text: str) -> Path:
    file = folder / name
    file.write_text(text, "utf-8")
    return file


@pytest.mark.parametrize("name", ["g.edges", "g.txt"])
def test_an_edge_list_is_two_names_a_line(tmp_path: Path, name: str) -> None:
    text = "# partners\na b\nb, c  # by fibre\n\n\tc\ta 0.5\n"
    graph = read_graph(_file(tmp_path, name, text))
    assert graph.nodes == ("a", "b", "c")
    assert graph.edges == ((0, 1), (0, 2), (1, 2))


@pytest.mark.parametrize("directed", [False, True])
@pytest.mark.parametrize("ending", ["graphml", "gml", "json", "links.json"])
def test_graphs_of_networkx_come_back_as_they_were(
    tmp_path: Path, ending: str, *, directed: bool
) -> None:
    graph: nx.Graph[str] = nx.DiGraph() if directed else nx.Graph()
    graph.add_nodes_from(["x", "y", "z"])
    graph.add_edges_from([("z", "x"), ("x", "y"), ("y", "z")], weight=3.0)
    file = tmp_path / f"g.{ending}"
    if ending == "graphml":
        nx.write_graphml(graph, file)
    elif ending == "gml":
        nx.write_gml(graph, file)
    else:
        key = "links" if ending.startswith("links") else "edges"
        file.write_text(json.dumps(nx.node_link_data(graph, edges=key)), "utf-8")
    found = read_graph(file)
    assert found.nodes == ("x", "y", "z")
    assert found.directed is directed
    assert found.edges == (((0, 1), (1, 2), (2, 0)) if directed else ((0, 1), (0, 2), (1, 2)))


def test_names_that_are_numbers_become_texts(tmp_path: Path) -> None:
    graph = nx.karate_club_graph()
    file = tmp_path / "karate.graphml"
    nx.write_graphml(graph, file)
    found = read_graph(file)
    assert found.nodes[:2] == ("0", "1")
    assert len(found.edges) == 78


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("g.edges", "a b\nc\n", "line 2 has one name, 'c'; an edge is two"),
        ("g.edges", "", "edges is empty"),
        ("g.csv", "a,b", r"g.csv has no known ending; allowed are .toml, .edges, .txt, .graphml"),
        ("g.graphml", "<not xml", "this is no valid GraphML: "),
        ("g.graphml", "<a/>", "this is no valid GraphML: "),
        ("g.gml", "graph [", "this is no valid GML: "),
        ("g.json", "{", "this is no valid node-link JSON: "),
        ("g.json", "[]", "this is no valid node-link JSON: "),
    ],
)
def test_a_file_that_is_not_understood_is_refused_with_the_reason(
    tmp_path: Path, name: str, text: str, sentence: str
) -> None:
    with pytest.raises(ConfigError, match=sentence) as caught:
        read_graph(_file(tmp_path, name, text))
    assert "\n" not in str(caught.value)


def test_a_file_that_cannot_be_read_is_told_by_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.toml: cannot read this file: No such file"):
        read_toml(tmp_path / "none.toml")
    latin = tmp_path / "latin.edges"
    latin.write_bytes(b"\xe9 \xe8")
    with pytest.raises(ConfigError, match=r"latin\.edges: this is no UTF-8 text"):
        read_graph(latin)
    with pytest.raises(ConfigError, match=r"bad\.toml: this is no valid TOML: "):
        read_toml(_file(tmp_path, "bad.toml", "kind = ring"))


def test_a_file_that_is_too_large_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = _file(tmp_path, "g.edges", "a b\n")
    monkeypatch.setattr(files, "MAX_FILE_BYTES", 4)
    assert len(read_graph(file)) == 2
    monkeypatch.setattr(files, "MAX_FILE_BYTES", 3)
    with pytest.raises(ConfigError, match="larger than 3 bytes"):
        read_graph(file)


def test_the_keys_are_the_fields_of_the_experiment() -> None:
    assert set(files._TYPES) == set(TopologyConfig.__dataclass_fields__)
    assert TopologyConfig.__annotations__["kind"].__args__ == KINDS


@pytest.mark.parametrize(
    ("table", "sentence"),
    [
        ({"kind": "ring", "node": 8}, "unknown key 'node'; allowed are kind, nodes, rows"),
        ({"nodes": 8}, "kind is missing; allowed are ring, path"),
        ({"kind": "ring", "nodes": "8"}, "nodes = '8'; expected a whole number"),
        ({"kind": "ring", "nodes": True}, "nodes = True; expected a whole number"),
        ({"kind": "circulant", "offsets": [1, 2.5]}, "expected a list of whole numbers"),
        ({"kind": "edges", "edges": [["a", "b", "c"]]}, "expected a list of pairs of names"),
        ({"kind": "edges", "edges": [[1, 2]]}, "expected a list of pairs of names"),
        ({"kind": "edges", "directed": 1}, "directed = 1; expected true or false"),
        ({"kind": "small_world", "rewire": "0.1"}, "expected a number from 0 to 1"),
        ({"kind": "geometric", "radius": "1"}, "expected a number"),
        ({"kind": "ring", "target": [1.0]}, "expected a table of numbers, e.g. { n0 = 2.0 }"),
        ({"kind": "ring", "target": {"n0": "2"}}, "expected a table of numbers"),
        ({"kind": 3}, "kind = 3; expected a text in quotes"),
        (["ring"], "expected a table with a kind"),
    ],
)
def test_a_wrong_table_is_refused_by_its_key(table: object, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        check_table(table)


def test_a_right_table_passes_unchanged() -> None:
    table = {"kind": "small_world", "nodes": 10, "rewire": 1, "target": {"n0": 2}}
    assert check_table(table) == table
