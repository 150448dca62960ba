"""A sweep on a Ray cluster of this machine: the same results as on local processes."""

import csv
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.ray

CLUSTER = """
import sys, ray
ray.init(address="local", num_cpus=2, include_dashboard=False, _node_ip_address="127.0.0.1",
         configure_logging=False, log_to_driver=False)
print(ray.get_runtime_context().gcs_address, flush=True)
sys.stdin.read()
ray.shutdown()
"""
"""A cluster that lives until its standard input ends."""

ENVIRONMENT = {**os.environ, "RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"}

FILE = """
name = "quadratics"
data = "quadratic"
model = "quadratic"
topology = { kind = "ring", nodes = 4 }
training = { learning_rate = 0.05, local_steps = 1 }
compute = { slowdown = { n3 = 2.0 } }
stop = { time_s = 1.0 }
"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """The address of a running cluster."""
    with subprocess.Popen(
        [sys.executable, "-c", CLUSTER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=ENVIRONMENT,
        text=True,
    ) as process:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        assert address, "the cluster did not start"
        yield address


def sweep(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    file = folder / "quadratics.toml"
    file.write_text(FILE)
    return subprocess.run(
        [sys.executable, "-m", "p2pfl", "sweep", *words],
        cwd=folder,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def rows_of(folder: Path) -> list[dict[str, str]]:
    (file,) = folder.glob("*/sweep.csv")
    with file.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    return [{key: value for key, value in row.items() if key != "wall_s"} for row in rows]


def test_a_cluster_gives_the_same_results_as_this_machine(cluster: str, tmp_path: Path) -> None:
    words = ["quadratics.toml", "--set", "network.loss=0,0.5", "--seeds", "2"]
    there = sweep(tmp_path, *words, "--ray", cluster, "--out", "there")
    assert there.returncode == 0, there.stderr
    assert "4 of 4 runs" in there.stderr
    here = sweep(tmp_path, *words, "--out", "here")
    assert here.returncode == 0, here.stderr
    assert rows_of(tmp_path / "there") == rows_of(tmp_path / "here")
    assert len(rows_of(tmp_path / "there")) == 4


def test_a_run_that_fails_there_is_told_and_what_is_missing_is_done_later(
    cluster: str, tmp_path: Path
) -> None:
    words = ["quadratics.toml", "--set", "topology.nodes=3,4"]
    there = sweep(tmp_path, *words, "--ray", cluster, "--jobs", "1", "--out", "there")
    assert there.returncode == 5
    assert "failed: nodes 3, seed 0: compute.slowdown" in there.stderr
    assert [row["status"] for row in rows_of(tmp_path / "there")] == ["failed", "done"]
    (folder,) = (tmp_path / "there").iterdir()
    (cell,) = (folder / "cells").iterdir()
    cell.unlink()
    again = sweep(tmp_path, "--resume", str(folder), "--ray", cluster)
    assert again.returncode == 5
    assert cell.exists()


@pytest.mark.parametrize(
    ("address", "reason", "code"),
    [
        ("127.0.0.1:1", "nobody answers", 3),
        ("ray://127.0.0.1:1", "nobody answers", 3),
        ("x", "allowed:", 2),
    ],
)
def test_where_no_cluster_is_one_line_says_so(
    address: str, reason: str, code: int, tmp_path: Path
) -> None:
    done = sweep(tmp_path, "quadratics.toml", "--ray", address)
    assert done.returncode == code
    assert reason in done.stderr
    assert done.stderr.count("\n") == 1
