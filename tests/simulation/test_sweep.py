"""Sweeps that run: side by side, resumed, interrupted, and with runs that fail."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from support.experiments import quadratic_experiment

from p2pfl.cli.main import main
from p2pfl.comparison.sweep import run_sweep, sweep
from p2pfl.comparison.sweep_folder import new_sweep_folder
from p2pfl.comparison.sweep_grid import make_grid, parse_axis
from p2pfl.comparison.sweep_workers import Done, Failed, LocalWorkers, News, UnderWay
from p2pfl.errors import ConfigError
from p2pfl.exit_codes import ExitCode
from p2pfl.simulation.simulate import simulate

FILE = """
name = "quadratics"
data = "quadratic"
model = "quadratic"
topology = { kind = "ring", nodes = 4 }
training = { learning_rate = 0.05, local_steps = 1 }
compute = { step_s = 0.01 }
stop = { time_s = 0.2 }
evaluation = { every_s = 0.1 }
"""
LONG = "stop.time_s=6"
"""Some hundred milliseconds of work: long enough to be interrupted in the middle of a sweep."""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "quadratics.toml"
    path.write_text(FILE)
    return path


def folder_of(tmp_path: Path) -> Path:
    (folder,) = (tmp_path / "runs").iterdir()
    return folder


def rows_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "sweep.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    return [{key: value for key, value in row.items() if key != "wall_s"} for row in rows]


def test_a_sweep_of_two_by_two_by_two_leaves_table_data_and_page(
    tmp_path: Path, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["sweep", str(file), "--set", "network.loss=0,0.5", "--algorithms", "pull_mix,local"]
    code = main([*words, "--seeds", "2", "--jobs", "2", "--out", str(tmp_path / "runs")])
    assert code == 0
    told = capsys.readouterr()
    assert "loss 0.5, local only" in told.out
    assert "8 of 8 runs" in told.err
    folder = folder_of(tmp_path)
    assert len(list((folder / "cells").iterdir())) == 8
    assert {(row["status"], row["seed"]) for row in rows_of(folder)} == {
        ("done", "0"),
        ("done", "1"),
    }
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert page.count("<figure") == 2
    # Each is the run that `simulate` does by itself.
    alone = simulate(
        quadratic_experiment(
            nodes=4, name="quadratics", topology={"kind": "ring", "nodes": 4},
            data={"kind": "quadratic", "sites": []}, training={"learning_rate": 0.05},
            compute={"step_s": 0.01, "slowdown": {}},
            network={"latency_s": 0.001, "latency": "constant", "loss": 0.5},
            stop={"time_s": 0.2}, evaluation={"every_s": 0.1}, seed=1,
        )
    )  # fmt: skip
    (row,) = [
        row for row in rows_of(folder) if (row["point"], row["seed"]) == ("loss 0.5, PullMix", "1")
    ]
    assert row["trace_hash"] == alone.trace_hash
    assert float(row["loss_mean"]) == alone.final.loss_mean


def test_a_sweep_from_code_goes_on_where_its_folder_ends(tmp_path: Path) -> None:
    experiment = quadratic_experiment(nodes=4, slow=2, time_s=20.0)
    values = {"network.loss": [0.0, 0.5]}
    grid = make_grid(experiment, [parse_axis("network.loss=0.0,0.5")], seeds=(0, 3))
    folder = new_sweep_folder(tmp_path, grid).path
    first = sweep(experiment, values, seeds=(0, 3), folder=folder, jobs=1)
    assert len(first.results) == 4
    (kept, gone, *_) = sorted((folder / "cells").iterdir())
    gone.unlink()
    before = kept.stat().st_mtime_ns
    again = sweep(experiment, values, seeds=(0, 3), folder=folder, jobs=1)
    assert kept.stat().st_mtime_ns == before
    assert gone.exists()
    assert {k: r.trace_hash for k, r in again.results.items()} == {
        k: r.trace_hash for k, r in first.results.items()
    }
    with pytest.raises(ConfigError, match=r"stop\.time_s was 20\.0"):
        sweep(quadratic_experiment(nodes=4, slow=2, time_s=5.0), values, folder=folder)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_sweep_that_was_ended_goes_on_and_does_only_what_is_missing(
    tmp_path: Path, file: Path, how: signal.Signals
) -> None:
    words = ["--set", LONG, "--set", "network.loss=0,0.5", "--seeds", "3", "--jobs", "1"]
    process = subprocess.Popen(
        [sys.executable, "-m", "p2pfl", "sweep", str(file), *words, "--out", tmp_path / "runs"],
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    told = process.stderr.readline()  # the first run is done
    assert told.startswith("1 of 6 runs")
    workers = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(how)
    last = process.stderr.read()
    process.stderr.close()
    assert process.wait(10) == (ExitCode.INTERRUPTED if how == signal.SIGINT else -how)
    assert how == signal.SIGKILL or "--resume" in last
    assert workers
    assert not psutil.wait_procs(workers, timeout=10)[1], "workers outlive their sweep"
    folder = folder_of(tmp_path)
    done = {each: each.stat().st_mtime_ns for each in (folder / "cells").glob("*.json")}
    assert 1 <= len(done) < 6
    assert main(["sweep", "--resume", str(folder), "--jobs", "2"]) == 0
    assert {each: each.stat().st_mtime_ns for each in done} == done
    assert [row["status"] for row in rows_of(folder)] == ["done"] * 6
    fresh = tmp_path / "fresh"
    assert main(["sweep", str(file), *words[:-2], "--jobs", "2", "--out", str(fresh)]) == 0
    assert rows_of(next(fresh.iterdir())) == rows_of(folder)


def test_to_go_on_the_experiment_must_be_the_same(
    tmp_path: Path, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["sweep", str(file), "--seeds", "2", "--jobs", "1"]
    assert main([*words, "--out", str(tmp_path / "runs")]) == 0
    folder = str(folder_of(tmp_path))
    assert main([*words, "--resume", folder]) == 0
    assert main(["sweep", "--seeds", "3", "--resume", folder]) == 2
    assert "seeds were [0, 1] and are [0, 1, 2]" in capsys.readouterr().err
    file.write_text(FILE.replace("0.05", "0.07"))
    assert main(["sweep", "--resume", folder]) == 2
    told = capsys.readouterr().err
    assert "training.learning_rate was 0.05 there and is 0.07 now" in told
    assert told.count("\n") == 1
    assert main(["sweep", "--resume", str(tmp_path)]) == 2
    assert main(["sweep"]) == 2
    assert main([*words, "--jobs", "0"]) == 2


def test_a_run_that_fails_is_told_and_stops_no_other(
    tmp_path: Path, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["sweep", str(file), "--set", "compute.slowdown.n3=2", "--set", "topology.nodes=3,4"]
    out = ["--out", str(tmp_path / "runs"), "--format", "json", "--jobs", "1"]
    assert main([*words, *out]) == 5
    told = capsys.readouterr()
    assert "failed: nodes 3, seed 0: compute.slowdown" in told.err
    assert "1 of 2 runs failed" in told.err
    found = json.loads(told.out)
    assert [point["done"] for point in found["points"]] == [0, 1]
    assert found["failures"][0]["point"] == "nodes 3"
    folder = folder_of(tmp_path)
    assert [row["status"] for row in rows_of(folder)] == ["failed", "done"]
    assert "n3" in next((folder / "failures").iterdir()).read_text()
    # It is tried again, and fails again.
    assert main(["sweep", "--resume", str(folder)]) == 5


def test_what_a_users_own_code_raises_or_prints_harms_no_other_run(
    tmp_path: Path, file: Path
) -> None:
    (tmp_path / "mine.py").write_text(
        'print("loaded")\n\ndef load():\n    raise KeyError("gone")\n'
    )
    words = ["sweep", str(file), "--set", 'data="mine:load",digits', "--set", "model=softmax"]
    assert main([*words, "--jobs", "1", "--out", str(tmp_path / "runs")]) == 5
    folder = folder_of(tmp_path)
    assert [row["status"] for row in rows_of(folder)] == ["failed", "done"]
    (failure,) = (folder / "failures").iterdir()
    assert "gone" in failure.read_text()
    assert "loaded" in (folder / "workers.log").read_text()


def test_a_worker_that_dies_fails_its_run_and_is_replaced(tmp_path: Path) -> None:
    experiment = quadratic_experiment(nodes=4, slow=2, time_s=600.0, evaluation={"every_s": 5.0})
    grid = make_grid(experiment, [parse_axis("network.loss=0,0.5")])
    workers = LocalWorkers(1)
    heard: list[News] = []

    def kill_once(news: News) -> None:
        heard.append(news)
        if len(heard) == 1:
            assert isinstance(news, UnderWay)
            os.kill(workers.pids[0], signal.SIGKILL)

    done = run_sweep(grid, new_sweep_folder(tmp_path, grid), workers, watch=kill_once)
    assert "SIGKILL" in done.failures[grid.cells[0].key]
    assert set(done.results) == {grid.cells[1].key}
    ends = [each for each in heard if not isinstance(each, UnderWay)]
    assert [type(each) for each in ends] == [Failed, Done]
    deadline_s = time.monotonic() + 10.0
    while workers.pids and time.monotonic() < deadline_s:
        time.sleep(0.01)
    assert not workers.pids
