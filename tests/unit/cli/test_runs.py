"""`p2pfl simulate`, `compare` and `report`: what they print, and what they leave behind."""

import json
from pathlib import Path

import pytest

from p2pfl.cli.main import main
from p2pfl.results.folder import read_run

FILE = """
name = "bowls"
data = "quadratic"
model = "quadratic"
topology = { kind = "ring", nodes = 4 }
training = { learning_rate = 0.05, local_steps = 2 }
stop = { time_s = 1.0 }
evaluation = { every_s = 0.25 }
comparison = { algorithms = ["dpsgd"] }
"""


LOOPED = """
name = "looped"
data = "digits"
model = "looped:make"
topology = { kind = "path", nodes = 2 }
training = { learning_rate = 0.05, local_steps = 1 }
stop = { steps = 2 }
comparison = { algorithms = ["dpsgd", "centralized"] }
evaluation = { samples = 10 }
"""
MODEL = """
from torch import nn

def make():
    return nn.Sequential(nn.Flatten(), nn.BatchNorm1d(64), nn.Linear(64, 10))
"""
"""Its running statistics are state: such a model is trained one at a time."""


@pytest.fixture
def looped(tmp_path: Path) -> Path:
    (tmp_path / "looped.py").write_text(MODEL, encoding="utf-8")
    written = tmp_path / "looped.toml"
    written.write_text(LOOPED, encoding="utf-8")
    return written


@pytest.fixture
def file(tmp_path: Path) -> Path:
    written = tmp_path / "bowls.toml"
    written.write_text(FILE, encoding="utf-8")
    return written


def _only(folder: Path) -> Path:
    (inner,) = folder.iterdir()
    return inner


def test_simulate_tells_the_end_and_leaves_a_whole_folder(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "runs"
    assert main(["simulate", str(file), "--seed", "7", "--trace", "--out", str(out)]) == 0
    shown = capsys.readouterr()
    assert "bowls: PullMix, seed 7, 4 nodes" in shown.out
    assert "of 3 periods missed, the largest ever mixed" in shown.out
    assert "PullMix: 0.5 s, loss" in shown.err
    folder = _only(out)
    assert {each.name for each in folder.iterdir()} == {
        "experiment.toml",
        "metrics.jsonl",
        "models",
        "report.html",
        "summary.json",
        "trace.jsonl",
    }
    run = read_run(folder)
    assert (run.seed, run.duration_s, len(run.served)) == (7, 1.0, 4)
    assert run.wall_s > 0


def test_a_profile_tells_where_the_time_went(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["simulate", str(file), "--profile", "--out", str(tmp_path / "runs")]) == 0
    _, _, table = capsys.readouterr().out.partition("where the time went")
    told = [line.split()[0] for line in table.splitlines()[1:]]
    parts = ["start-up", "training", "mixing", "events", "evaluation", "writing"]
    assert told == [*parts, "in"]
    assert table.splitlines()[-1].split()[-2:] == ["%", "-"]


@pytest.mark.parametrize(
    "words", [["simulate"], ["compare", "--seeds", "2"], ["sweep", "--seeds", "2", "--jobs", "1"]]
)
def test_what_slows_a_run_down_is_told_once_and_kept(
    words: list[str], looped: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "runs"
    assert main([words[0], str(looped), *words[1:], "--out", str(out)]) == 0
    shown = capsys.readouterr()
    assert shown.err.count("one model at a time: it keeps state while it trains") == 1
    assert "one model at a time" not in shown.out
    if words[0] == "simulate":
        assert "trains one model at a time" in "".join(read_run(_only(out)).notes)


def test_a_setting_changes_the_experiment(file: Path, tmp_path: Path) -> None:
    out = tmp_path / "runs"
    words = ["simulate", str(file), "--out", str(out), "--set", "network.loss=0.5"]
    assert main([*words, "--set", "algorithm.kind=local"]) == 0
    run = read_run(_only(out))
    assert (run.label, run.config.network.loss) == ("local only", 0.5)


def test_a_wrong_setting_is_one_line(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "runs"
    assert main(["simulate", str(file), "--set", "network.los=1", "--out", str(out)]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not out.exists()


def test_compare_prints_a_table_and_leaves_every_run_and_a_page(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "runs"
    assert main(["compare", str(file), "--seeds", "2", "--out", str(out)]) == 0
    shown = capsys.readouterr().out
    assert "WHAT WAS REACHED" in shown
    assert "D-PSGD" in shown
    assert "over 2 seeds" in shown
    names = {each.name for each in _only(out).iterdir()}
    runs = {f"{kind}-seed{seed}" for kind in ("pull_mix", "dpsgd") for seed in (0, 1)}
    assert names == {*runs, "report.html"}


def test_compare_as_json_prints_nothing_else(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["compare", str(file), "--format", "json", "--algorithms", "local, fedavg"]
    assert main([*words, "--out", str(tmp_path / "runs")]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert [row["title"] for row in rows] == ["PullMix", "local only", "FedAvg"]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--algorithms", "magic"], "--algorithms magic: is unknown; allowed: pull_mix"),
        (["--seeds", "0"], "--seeds 0: allowed: at least 1"),
    ],
)
def test_compare_refuses_what_cannot_be(
    file: Path, words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compare", str(file), *words]) == 2
    assert sentence in capsys.readouterr().err


def test_report_takes_runs_and_whole_comparisons(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "runs"
    main(["compare", str(file), "--out", str(out)])
    compared = _only(out)
    (compared / "report.html").unlink()
    assert main(["report", str(compared)]) == 0
    assert "2 side by side" in (compared / "report.html").read_text(encoding="utf-8")
    page = tmp_path / "one.html"
    assert main(["report", str(compared / "dpsgd-seed0"), "--out", str(page)]) == 0
    assert "bowls: D-PSGD" in page.read_text(encoding="utf-8")
    capsys.readouterr()
    assert main(["report", str(file.parent)]) == 2
    assert "is no run" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "simulate what? give FILE, or --replay DIR"),
        (["FILE", "--replay", "x"], "leave FILE, --set and --seed out"),
        (["--replay", "x", "--seed", "3"], "leave FILE, --set and --seed out"),
        (["--replay", "x", "--profile"], "leave it out with --replay"),
        (["--replay", "x"], "x: holds no record; record a run by `p2pfl run --record`"),
    ],
)
def test_what_to_replay_is_asked_for_in_one_line(
    words: list[str], sentence: str, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["simulate", *(str(file) if word == "FILE" else word for word in words)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert sentence in line


@pytest.mark.parametrize("command", ["run", "compare", "simulate"])
def test_where_results_cannot_be_written_nothing_is_begun(
    command: str, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([command, str(file), "--out", str(file / "runs")]) == 2
    shown = capsys.readouterr()
    assert f"{file / 'runs'}" in shown.err
    assert shown.out == ""
