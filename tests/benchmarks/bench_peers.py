"""Other simulators at the same job, in environments of their own: python bench_peers.py [--quick].

The job: handwritten digits, MLP 64-32-10 (2,410 parameters), batch 16, learning rate 0.1, one
minibatch step per node-step, n nodes; gossip on a random 4-regular graph, or FedAvg over all. All
are measured one after the other in the same run, by the clock, from when they are warm; ours and
the plain loops with one thread, a peer as it comes. A peer that cannot be had here is told, and
left out. The peers' jobs are in `peers/`, written to their public interfaces.
"""

import argparse
import hashlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from apart import FailedError, measure_apart
from results import BUILD, ROOT, Column, Table, Value, conditions, keep

from p2pfl.learning.datasets import load_dataset

HERE: Final = Path(__file__).parent
TIMEOUT_S: Final = 600.0
NODES: Final = (10, 100)
QUICK: Final = (10,)
SHARE_OF_QUICK: Final = 0.1
ROUNDS_MIN: Final = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Contestant:
    """A job, and what it needs."""

    title: str
    job: str
    words: tuple[str, ...] = ()
    node_steps: int
    """About so many are measured."""
    requirement: str = ""
    """What to install for it, in an environment of its own; empty: it runs in this one."""
    beside: str = ""
    """Ours that does the same, by its title."""


TORCH_LOOP: Final = "loop over torch modules, no simulator"
PULL_MIX: Final = "p2pfl, PullMix"
FEDAVG: Final = "p2pfl, FedAvg"
CONTESTANTS: Final = (
    Contestant(title=TORCH_LOOP, job="job_loop.py", words=("torch",), node_steps=20_000),
    Contestant(
        title="p2pfl's plain trainer, no simulator",
        job="job_loop.py",
        words=("trainer",),
        node_steps=20_000,
    ),
    Contestant(title=PULL_MIX, job="job_p2pfl.py", words=("pull_mix",), node_steps=50_000),
    Contestant(title=FEDAVG, job="job_p2pfl.py", words=("fedavg",), node_steps=50_000),
    Contestant(
        title="gossipy, push gossip",
        job="peers/job_gossipy.py",
        node_steps=5_000,
        requirement="gossipy-dfl==0.0.1",
        beside=PULL_MIX,
    ),
    Contestant(
        title="Flower simulation, FedAvg",
        job="peers/job_flower.py",
        node_steps=2_000,
        requirement="flwr[simulation]==1.41.0",
        beside=FEDAVG,
    ),
)

COLUMNS: Final = (
    Column("title", "simulator"),
    Column("nodes", "n"),
    Column("rate", "node-steps/s"),
    Column("times_loop", "x torch loop", ",.2f"),
    Column("ours", "p2pfl is faster x", ",.1f"),
    Column("accuracy", "accuracy %", ".1f"),
    Column("family_mib", "MiB"),
    Column("start_s", "start s", ".1f"),
    Column("run_s", "run s", ".1f"),
)


def environment_of(requirement: str) -> Path:
    """The Python of an environment that holds this; made once, kept below `build`.

    torch is the one that constraints.txt names: the newest would bring gigabytes of CUDA.

    Raises:
        FailedError: it cannot be installed here.
    """
    constraints = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    wanted = [*(line for line in constraints if line.startswith("torch==")), requirement]
    key = hashlib.sha256(f"{wanted} {sys.version}".encode()).hexdigest()[:12]
    home = BUILD / "environments" / key
    python = home / "bin" / "python"
    if (home / "ready").exists():
        return python
    print(f"making an environment for {requirement} ...", flush=True)
    shutil.rmtree(home, ignore_errors=True)
    home.parent.mkdir(parents=True, exist_ok=True)
    for command in (
        [sys.executable, "-m", "venv", str(home)],
        [str(python), "-m", "pip", "--disable-pip-version-check", "-q", "install", *wanted],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            shutil.rmtree(home, ignore_errors=True)
            lines = done.stderr.splitlines()
            told = [line for line in lines if line.startswith("ERROR")] or lines or ["no word why"]
            raise FailedError(f"{requirement} cannot be installed here ({told[-1]})")
    (home / "ready").touch()
    return python


def measure(one: Contestant, *, data: Path, nodes: int, share: float) -> dict[str, float]:
    """What its job answers, and the memory of all its processes.

    Raises:
        FailedError: it cannot be had, or failed.
    """
    rounds = max(ROUNDS_MIN, round(share * one.node_steps / nodes))
    python = environment_of(one.requirement) if one.requirement else Path(sys.executable)
    command = [str(python), str(HERE / one.job), str(data), str(nodes), str(rounds), *one.words]
    # Ray keeps logs and sockets there; their paths must be short.
    outside = {"RAY_TMPDIR": str(data.parent)}
    if one.requirement:
        outside["PYTHONPATH"] = str((HERE / one.job).parent)
    return measure_apart(command, timeout_s=TIMEOUT_S, environment=outside)


def rows_of(
    nodes: int, *, data: Path, share: float, missing: dict[str, str]
) -> Iterator[Mapping[str, Value]]:
    """One row per contestant; why one is left out goes to `missing`, once."""
    rates: dict[str, float] = {}
    for one in CONTESTANTS:
        if one.title in missing:
            continue
        try:
            found = measure(one, data=data, nodes=nodes, share=share)
        except FailedError as error:
            missing[one.title] = str(error)
            continue
        rate = rates[one.title] = found["node_steps"] / found["run_s"]
        accuracy = found.get("accuracy")
        yield {
            **found,
            "title": one.title,
            "nodes": nodes,
            "rate": rate,
            "times_loop": rate / rates[TORCH_LOOP] if TORCH_LOOP in rates else None,
            "ours": rates[one.beside] / rate if one.beside in rates else None,
            "accuracy": None if accuracy is None else 100 * accuracy,
        }


def write_data(folder: Path) -> Path:
    """The digits as one file, the same for all."""
    digits, file = load_dataset("digits").flattened(), folder / "digits.npz"
    assert digits.test_x is not None
    assert digits.test_y is not None
    np.savez(file, x=digits.train_x, y=digits.train_y,
             test_x=digits.test_x, test_y=digits.test_y)  # fmt: skip
    return file


def main() -> None:
    """Measure all; print and keep the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="10 nodes, a tenth of the steps")
    quick: bool = parser.parse_args().quick
    table, here, missing = Table("peers", COLUMNS), conditions(), dict[str, str]()
    with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
        data = write_data(Path(scratch))
        table.open()
        for nodes in QUICK if quick else NODES:
            share = SHARE_OF_QUICK if quick else 1.0
            for row in rows_of(nodes, data=data, share=share, missing=missing):
                table.add(row)
    for title, reason in missing.items():
        table.note(f"{title} is left out: {reason}.")
    keep(table, conditions=here)


if __name__ == "__main__":
    main()
