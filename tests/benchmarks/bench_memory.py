"""What the data of eight nodes on one machine take: decoded once and mapped, or each on its own.

bench_memory.py [--quick]; the largest sum over all processes, memory that they share counted once.
"""

import json
import sys
import tempfile
from pathlib import Path
from typing import Final

import numpy as np
from apart import measure_apart
from results import Column, Table, conditions, keep

import p2pfl

SAMPLES: Final = 120_000
NODES: Final = 8


def learn(folder: Path, nodes: int, seconds: float) -> None:
    """Run so many nodes on the file in this folder for so many seconds, for real."""
    experiment = p2pfl.Experiment(
        p2pfl.ExperimentConfig(
            name="memory",
            topology=p2pfl.Topology(kind="ring", nodes=nodes),
            data=p2pfl.Data(kind="npz", folder=str(folder / "data.npz")),
            model=p2pfl.Model(kind="softmax"),
            training=p2pfl.Training(learning_rate=0.01, local_steps=1),
            compute=p2pfl.Compute(step_s=0.05),
            evaluation=p2pfl.Evaluation(every_s=10.0, samples=500),
            stop=p2pfl.Stop(time_s=seconds),
        )
    )
    result = p2pfl.run_experiment(experiment)
    print(json.dumps({"steps": sum(node.steps for node in result.nodes)}))


def write_data(folder: Path, samples: int) -> float:
    """A file of so many samples of MNIST's shape, as float32; its size in MiB."""
    draw = np.random.default_rng(0)
    x, y = draw.random((samples, 784), np.float32), draw.integers(0, 10, samples)
    test = slice(0, samples // 6)
    np.savez(folder / "data.npz", x=x, y=y, test_x=x[test], test_y=y[test])
    return (folder / "data.npz").stat().st_size / 2**20


def measured(
    folder: Path, *, cache: str, nodes: int = NODES, seconds: float = 5.0
) -> dict[str, float]:
    """A run with this folder for the cache, in processes of its own."""
    return measure_apart(
        [sys.executable, __file__, "job", str(folder), str(nodes), str(seconds)],
        timeout_s=300.0,
        environment={"XDG_CACHE_HOME": cache},
    )


def main() -> None:
    """Both ways; where the cache cannot be written, every process holds its own."""
    table = Table(
        f"memory: {NODES} nodes on one machine",
        [
            Column("kind", "the data is"),
            Column("file_mib", "file MiB"),
            Column("family_mib", "MiB at most, all processes"),
        ],
    )
    table.open()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        size_mib = write_data(folder, SAMPLES // 10 if "--quick" in sys.argv else SAMPLES)
        for title, cache in (("read by each", "/dev/null"), ("decoded once, mapped", name)):
            table.add({"kind": title, "file_mib": size_mib, **measured(folder, cache=cache)})
    keep(table, conditions=conditions())


if __name__ == "__main__":
    if sys.argv[1:2] == ["job"]:
        learn(Path(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]))
    else:
        main()
