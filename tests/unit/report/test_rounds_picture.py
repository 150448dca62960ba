from pathlib import Path

import pytest

from p2pfl.errors import ConfigError
from p2pfl.report.rounds_picture import draw_rounds
from p2pfl.types import NodeId

NODES = tuple(NodeId(f"n{i}") for i in range(3))
PLACES = dict(zip(NODES, [(0.0, 1.0), (1.0, -1.0), (-1.0, -1.0)], strict=True))


def test_each_round_has_its_own_graph(tmp_path: Path) -> None:
    rounds = [[(0, 1)], [(1, 2)], [], [(0, 2)], [(0, 1), (1, 2)]]
    file = draw_rounds(
        NODES, rounds, PLACES, file=tmp_path / "r.svg", title="my rounds", caption="three nodes"
    )
    text = file.read_text("utf-8")
    assert [text.count(f">round {k}</text>") for k in range(6)] == [1, 1, 1, 1, 1, 0]
    assert text.count(">n1</text>") == 5
    assert ">my rounds</text>" in text
    assert ">three nodes</text>" in text


def test_the_same_rounds_give_the_same_bytes(tmp_path: Path) -> None:
    files = [
        draw_rounds(NODES, [[(0, 1)]], PLACES, file=tmp_path / f"{k}.svg", directed=True)
        for k in range(2)
    ]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_a_picture_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"ends in .svg, .png or .pdf"):
        draw_rounds(NODES, [[]], PLACES, file=tmp_path / "r.gif")
    with pytest.raises(ConfigError, match="cannot write this picture"):
        draw_rounds(NODES, [[]], PLACES, file=tmp_path / "none" / "r.svg")
