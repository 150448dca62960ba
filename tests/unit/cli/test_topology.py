import argparse
import subprocess
import sys
from pathlib import Path

import pytest

from p2pfl.cli.topology import add_arguments, run, table
from p2pfl.errors import ConfigError


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
