import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from p2pfl.errors import ConfigError
from p2pfl.report.graph_picture import MAX_DRAWN, PALETTE, draw_graph, graph_svg
from p2pfl.types import NodeId

NODES = tuple(NodeId(name) for name in ("a", "b", "c"))
EDGES = ((0, 1), (1, 2), (0, 2))
PLACES = dict(zip(NODES, ((-1.0, 0.0), (0.0, 0.0), (1.0, 0.0)), strict=True))


@pytest.mark.parametrize(
    ("ending", "magic"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")]
)
def test_a_picture_is_written_by_its_ending(tmp_path: Path, ending: str, magic: bytes) -> None:
    file = tmp_path / f"g.{ending}"
    assert draw_graph(NODES, EDGES, PLACES, file=file, title="Ring", caption="three") == file
    assert file.read_bytes().startswith(magic)


def test_labels_title_and_legend_are_text_in_the_svg(tmp_path: Path) -> None:
    groups = {NODES[0]: "slow", NODES[1]: "fast"}
    file = draw_graph(NODES, EDGES, PLACES, file=tmp_path / "g.svg", groups=groups, title="Ring")
    text = file.read_text("utf-8")
    for word in ("a", "b", "c", "slow", "fast", "other", "Ring"):
        assert f">{word}</text>" in text
    assert all(colour in text for colour in PALETTE[:3])


def test_the_same_graph_gives_the_same_bytes(tmp_path: Path) -> None:
    first = draw_graph(NODES, EDGES, PLACES, file=tmp_path / "1.svg")
    second = draw_graph(NODES, EDGES, PLACES, file=tmp_path / "2.svg")
    assert first.read_bytes() == second.read_bytes()
    assert graph_svg(NODES, EDGES, PLACES) == graph_svg(NODES, EDGES, PLACES)


def test_an_inline_picture_is_one_element_in_the_colour_of_the_page() -> None:
    text = graph_svg(NODES, EDGES, PLACES, groups={NODES[0]: "slow"})
    assert text.startswith("<svg")
    assert ET.fromstring(text).tag.endswith("svg")  # noqa: S314 - our own text
    assert "currentColor" in text
    # Labels stand in white within their nodes; no shape is white, so the page shows through.
    assert not re.search(r"<(path|rect)[^>]*fill: #ffffff", text)


def _curves(
    nodes: tuple[NodeId, ...], edges: tuple[tuple[int, int], ...]
) -> list[tuple[float, float]]:
    """(middle's height, end's height) of each undirected edge, as drawn."""
    text = graph_svg(nodes, edges, PLACES)
    found = re.findall(r'd="M [\d.]+ ([\d.]+) \nQ [\d.]+ ([\d.]+) [\d.]+ [\d.]+ \n"', text)
    return [(float(end), float(middle)) for end, middle in found]


def test_an_edge_swings_around_a_node_in_its_way() -> None:
    straight, swung = _curves(NODES, ((0, 1), (0, 2)))
    assert straight[0] == straight[1]
    assert abs(swung[0] - swung[1]) > 10


def test_one_way_edges_have_heads_and_two_ways_do_not_coincide() -> None:
    text = graph_svg(NODES, ((0, 1), (1, 0), (1, 2)), PLACES, directed=True)
    arrows = text.split('<g id="patch_')[1:]
    assert len(arrows) == 3
    assert all("\nz" in arrow for arrow in arrows), "a head is a closed shape"
    # Seen from its own start, each of a pair swings to the same side: apart from each other.
    heights = {re.findall(r"Q [\d.]+ ([\d.]+)", arrow)[0] for arrow in arrows}
    assert len(heights) == 3


def test_nodes_at_one_place_are_drawn_all_the_same() -> None:
    assert graph_svg(NODES[:2], ((0, 1),), dict.fromkeys(NODES[:2], (0.0, 0.0)))


def test_many_nodes_go_without_labels() -> None:
    nodes = tuple(NodeId(f"node{i}") for i in range(65))
    places = {node: (float(i % 9), float(i // 9)) for i, node in enumerate(nodes)}
    assert ">node0</text>" in graph_svg(nodes[:64], (), places)
    assert ">node0</text>" not in graph_svg(nodes, (), places)


def test_what_cannot_be_drawn_is_refused(tmp_path: Path) -> None:
    many = tuple(NodeId(f"n{i}") for i in range(MAX_DRAWN + 1))
    with pytest.raises(ConfigError, match="2,001 nodes; up to 2,000"):
        graph_svg(many, (), dict.fromkeys(many, (0.0, 0.0)))
    with pytest.raises(ConfigError, match=r"g\.jpg: a picture's name ends in .svg, .png or .pdf"):
        draw_graph(NODES, EDGES, PLACES, file=tmp_path / "g.jpg")
    with pytest.raises(ConfigError, match="cannot write this picture: No such file"):
        draw_graph(NODES, EDGES, PLACES, file=tmp_path / "none" / "g.svg")
