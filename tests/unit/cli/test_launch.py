"""`p2pfl launch` before it touches a host: what it would do, and what it refuses."""

from pathlib import Path

import pytest

from p2pfl.cli.main import main

EXPERIMENT = """
name = "small"
topology = { kind = "ring", nodes = 3 }
data = "quadratic"
model = "quadratic"
training = { learning_rate = 0.1, local_steps = 2 }
stop = { time_s = 10 }
"""
HOSTS = """
[defaults]
user = "ann"
[hosts.lab]
address = "10.0.0.11"
port = 2222
key = "id"
nodes = ["n1"]
[hosts.edge]
python = "venv/bin/python"
"""


@pytest.fixture
def words(tmp_path: Path) -> list[str]:
    (tmp_path / "small.toml").write_text(EXPERIMENT)
    (tmp_path / "hosts.toml").write_text(HOSTS)
    return ["launch", str(tmp_path / "small.toml"), "--hosts", str(tmp_path / "hosts.toml")]


def test_a_dry_run_prints_what_would_be_typed(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*words, "--broker", "mqtt://broker.example", "--dry-run"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "lab: n1"
    assert lines[1].startswith("  sftp ann@10.0.0.11: put experiment.toml into p2pfl-launch/small-")
    ssh = f"  ssh -p 2222 -i {tmp_path / 'id'} ann@10.0.0.11"
    assert lines[2] == f"{ssh} 'python3 -m p2pfl --version'"
    assert lines[4].startswith(f"{ssh} 'python3 -m p2pfl.runtime.outpost p2pfl-launch/small-")
    assert lines[7] == "edge: n0, n2"
    assert lines[9] == "  ssh ann@edge 'venv/bin/python -m p2pfl --version'"


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ([], "launch: which broker? all hosts must reach it"),
        (["--broker", "mqtt://b", "--serve", "me"], "give --broker or --serve, not both"),
        (["--serve", "me:0:1", "--dry-run"], "allowed: this machine's name or address"),
        (["--broker", "mqtt://b", "--set", "topology.nodes=2"], "host edge would run no node"),
    ],
)
def test_what_cannot_be_launched_is_refused_with_one_line(
    words: list[str], more: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if "topology.nodes=2" in more:
        file = Path(words[-1])
        file.write_text(file.read_text().replace('"n1"', '"n0", "n1"'))
    assert main([*words, *more]) == 2
    said = capsys.readouterr().err
    assert sentence in said
    assert len(said.splitlines()) == 1
