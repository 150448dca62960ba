import argparse
import subprocess
import sys
from pathlib import Path

import pytest

from p2pfl.cli.topology import add_arguments, run, table
from p2pfl.errors import ConfigError
from p2pfl.topology.build import load_topology
from p2pfl.types import NodeId


def _arguments(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return parser.parse_args(words)


def _file(folder: Path, text: str) -> str:
    file = folder / "mine.toml"
    file.write_text(text, "utf-8")
    return str(file)


def test_the_table_tells_what_the_graph_promises(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(_arguments(_file(tmp_path, 'kind = "ring"\nnodes = 8\n'))) == 0
    out = capsys.readouterr().out
    values = {line[2:21].strip(): line[21:].split()[0] for line in out.splitlines()[2:12]}
    assert values["nodes"] == "8"
    assert values["degree"] == "2"
    assert values["diameter"] == "4"
    assert values["lambda"] == "0.804738"
    assert values["mixing time"] == "22"
    assert "every node counts alike" in out
    assert f"Picture: {tmp_path.resolve() / 'mine.svg'}" in out
    assert (tmp_path / "mine.svg").stat().st_size > 1_000


def test_an_uneven_one_way_graph_is_told_as_such(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    edges = '[["a", "b"], ["b", "c"], ["c", "a"], ["a", "c"]]'
    text = f'kind = "edges"\nedges = {edges}\ndirected = true\nweights = "uniform"\n'
    picture = tmp_path / "there.png"
    assert run(_arguments(_file(tmp_path, text), "--picture", str(picture))) == 0
    out = capsys.readouterr().out
    assert "1 to 2" in out
    assert "one-way" in out
    assert "strongly" in out
    assert "a node counts by its degree + 1" in out
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_a_graph_is_mended_when_nodes_are_gone_and_written_for_an_experiment(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ring = _file(tmp_path, 'kind = "ring"\nnodes = 8\nweights = "lazy"\n')
    picture, saved = str(tmp_path / "there.svg"), tmp_path / "mended.toml"
    words = ("--without", "n3, n7", "--save", str(saved), "--picture", picture)
    assert run(_arguments(ring, *words)) == 0
    out = capsys.readouterr().out
    assert out.startswith("Without n3, n7; new links: ")
    assert f"Written: {saved.resolve()}" in out
    mended = load_topology(saved)
    assert set(mended.graph.nodes) == {NodeId(f"n{i}") for i in (0, 1, 2, 4, 5, 6)}
    assert mended.graph.degrees == (2,) * 6
    assert mended.weights == "lazy"
    assert run(_arguments(ring, "--without", "n3", "--degree", "4", "--picture", picture)) == 0
    assert "4" in capsys.readouterr().out.split("degree")[1].split()[0]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--without", "n9"), "there is no node 'n9'"),
        (("--without", "n0,n1,n2"), "1 of 4 nodes stay"),
        (("--degree", "3"), "read with --without only"),
        (("--without", "n0", "--save", "mended.json"), "is written as .toml"),
        (("--without", "n0", "--save", "nowhere/mended.toml"), "cannot be written"),
    ],
)
def test_what_cannot_be_mended_is_refused_in_one_line(
    tmp_path: Path, words: tuple[str, ...], told: str
) -> None:
    ring = _file(tmp_path, 'kind = "ring"\nnodes = 4\n')
    with pytest.raises(ConfigError, match=told):
        run(_arguments(ring, *words))


@pytest.mark.parametrize(
    "text",
    [
        'kind = "one_peer_exponential"\nnodes = 8\n',
        'kind = "ring"\nnodes = 4\nweights = "target"\ntarget = { n0 = 2.0 }\n',
    ],
)
def test_what_was_made_for_all_is_not_mended(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError, match="make it anew"):
        run(_arguments(_file(tmp_path, text), "--without", "n1"))


def test_a_graph_too_large_to_draw_still_has_its_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file = _file(tmp_path, 'kind = "ring"\nnodes = 2_001\n')
    assert run(_arguments(file)) == 0
    assert "No picture: more than 2,000 nodes." in capsys.readouterr().out
    with pytest.raises(ConfigError, match="2,001 nodes"):
        run(_arguments(file, "--picture", "asked.svg"))


def test_a_schedule_is_told_by_its_rounds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = tmp_path / "rounds.svg"
    file = _file(tmp_path, 'kind = "base"\nnodes = 12\ndegree = 1\n')
    assert run(_arguments(file, "--picture", str(picture))) == 0
    out = capsys.readouterr().out
    assert "exact averaging after 5 rounds" in out
    assert "at most; mean 0.80" in out
    assert "every node counts alike" in out
    assert "geometric mean" not in out
    text = picture.read_text("utf-8")
    assert [f"round {k}" in text for k in range(6)] == [True] * 5 + [False]
    assert "12 nodes · 5 rounds · at most 1 per round · exact" in text


def test_a_schedule_that_is_not_exact_is_told_by_its_rate(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = tmp_path / "union.svg"
    file = _file(tmp_path, 'kind = "el_local"\nnodes = 12\ndegree = 2\nrounds = 17\n')
    assert run(_arguments(file, "--picture", str(picture))) == 0
    out = capsys.readouterr().out
    assert "spectral norm of what a period leaves" in out
    assert "geometric mean: compare it with lambda" in out
    assert "alike on average over rounds only" in out
    assert "one-way" in out
    assert "round 0" not in picture.read_text("utf-8")


def test_weights_for_a_target_are_told_as_such(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = 'kind = "ring"\nnodes = 4\nweights = "target"\ntarget = { n0 = 3.0 }\n'
    assert run(_arguments(_file(tmp_path, text), "--picture", str(tmp_path / "t.svg"))) == 0
    assert "a node counts by its target" in capsys.readouterr().out


def test_an_experiments_cliques_are_made_from_its_data(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = """
name = "cliques"
data = "digits"
model = "softmax"
topology = { kind = "d_cliques", nodes = 10, clique_size = 5 }
partition = { kind = "shard" }
training = { learning_rate = 0.1, local_steps = 1 }
stop = { steps = 1 }
"""
    assert run(_arguments(_file(tmp_path, text), "--picture", str(tmp_path / "c.svg"))) == 0
    out = capsys.readouterr().out
    assert "mine (d_cliques)" in out
    assert "21  both ways" in out


def test_columns_are_aligned_and_lines_not_padded() -> None:
    lines = [("nodes", "8", ""), ("lambda", "0.5", "slow")]
    assert table(lines) == "  nodes     8\n  lambda  0.5  slow\n"


def test_the_command_loads_no_heavy_library_before_it_runs() -> None:
    check = (
        "import sys, p2pfl.cli.topology\n"
        "heavy = {'numpy', 'networkx', 'matplotlib', 'torch'} & set(sys.modules)\n"
        "sys.exit(f'loaded {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", check], check=False, capture_output=True)
    assert done.returncode == 0, done.stderr
