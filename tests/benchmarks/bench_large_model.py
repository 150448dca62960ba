"""A model of 25 million parameters between two nodes over links of 20 Mbit/s each.

bench_large_model.py [--quick]; two `p2pfl node` processes, whose progress is shown.
"""

import asyncio
import sys
import tempfile
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Final

import psutil
from results import Column, Table, conditions, keep

import p2pfl
from p2pfl.config.write import config_to_toml

sys.path.append(str(Path(__file__).parents[1]))
from support.forwarder import Forwarder

WIDTH: Final = 4_950
"""Hidden units of two layers: 64 w + w w + 10 w and biases are 25 million."""
LINK_BYTES_PER_S: Final = 20e6 / 8


@dataclass
class Watched:
    """One node's process: what it printed, and its largest resident memory after each look."""

    lines: list[str] = field(default_factory=list)
    peaks_mib: list[tuple[float, float]] = field(default_factory=list)


def experiment_text(width: int, time_s: float, codec: str, *, local_steps: int) -> str:
    """The experiment file of both nodes: a step a second, a mix after `local_steps` of them."""
    return config_to_toml(
        p2pfl.ExperimentConfig(
            name="large",
            topology=p2pfl.Topology(kind="path", nodes=2),
            data=p2pfl.Data(kind="digits"),
            model=p2pfl.Model(kind="mlp", hidden=(width, width)),
            training=p2pfl.Training(learning_rate=0.01, local_steps=local_steps),
            compute=p2pfl.Compute(step_s=1.0),
            network=p2pfl.Network(codec="bfloat16" if codec == "bfloat16" else "float32"),
            # Models are as old as the link is slow.
            staleness=p2pfl.Staleness(liveness_floor_s=max(5.0, time_s)),
            evaluation=p2pfl.Evaluation(every_s=time_s / 4, samples=64),
            stop=p2pfl.Stop(time_s=time_s),
        )
    )


def models_heard(records: Path, name: str) -> int:
    """How many of the other node's models came to this one, as its record tells."""
    return sum(
        file.read_text(encoding="utf-8").count('"model":') for file in records.glob(f"{name}-*")
    )


def accuracy_of(line: str) -> float:
    """Of a node's last line: `n0 finished after 150.0 s: ..., accuracy 0.516, ...`."""
    return float(line.partition("accuracy ")[2].partition(",")[0])


async def node(file: Path, name: str, url: str, *, progress_s: float, records: Path) -> Watched:
    """Live one node in a process of its own, and look at it."""
    program = (
        "import sys; from p2pfl.runtime import transfers; from p2pfl.cli.main import main;"
        f"transfers.tell_transfers.__kwdefaults__['every_s'] = {progress_s}; sys.exit(main())"
    )
    words = ["node", str(file), "--id", name, "--broker", url, "--record", str(records)]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", program, *words),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    assert process.stdout is not None
    watched, begun_s = Watched(), monotonic()
    memory = psutil.Process(process.pid)

    async def look() -> None:
        while True:
            mib = memory.memory_info().rss / 2**20
            watched.peaks_mib.append((monotonic() - begun_s, mib))
            await asyncio.sleep(0.2)

    looking = asyncio.create_task(look())
    async for line in process.stdout:
        watched.lines.append(line.decode().rstrip())
    looking.cancel()
    await asyncio.gather(looking, return_exceptions=True)
    if await process.wait():
        raise RuntimeError(f"{name}: {watched.lines[-1:]}")
    return watched


async def measured(
    *,
    width: int,
    time_s: float,
    bytes_per_s: float,
    codec: str = "float32",
    progress_s: float = 5.0,
    local_steps: int = 1,
    broker_url: str | None = None,
) -> dict[str, float]:
    """Both nodes to their end, over an embedded broker or this one; numbers of the first."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        file = folder / "large.toml"
        file.write_text(experiment_text(width, time_s, codec, local_steps=local_steps))
        if broker_url is None:
            broker_url = (await stack.enter_async_context(p2pfl.EmbeddedBroker())).url
        links = [
            await stack.enter_async_context(Forwarder(broker_url, bytes_per_s=bytes_per_s))
            for _ in range(2)
        ]
        pair = await asyncio.gather(
            *(
                node(file, f"n{i}", link.url, progress_s=progress_s, records=folder / "records")
                for i, link in enumerate(links)
            )
        )
        came = [models_heard(folder / "records", f"n{i}") for i in range(2)]
    first = pair[0]
    size = 4 * (64 * width + width * width + 10 * width + 2 * width + 10)
    told = [line for line in first.lines if "receiving the model of n1" in line]
    # Counted from the end: how long the start takes is not known.
    half = first.peaks_mib[-1][0] - time_s / 2
    return {
        "model_mb": size / 1e6 / (2 if codec == "bfloat16" else 1),
        "vector_mib": size / 2**20,
        "seconds": time_s,
        "came": sum(came) / 2,
        "accuracy": accuracy_of(first.lines[-1]),
        "least_s": size / (2 if codec == "bfloat16" else 1) / bytes_per_s,
        "told": len(told),
        "advised": sum("holds training back" in line for line in first.lines),
        "first_half_mib": max(mib for at_s, mib in first.peaks_mib if at_s <= half),
        "peak_mib": max(mib for _, mib in first.peaks_mib),
        "example": told[len(told) // 2] if told else "",  # type: ignore[dict-item] # for people
    }


def main() -> None:
    """Print and keep the table."""
    quick = "--quick" in sys.argv
    table = Table(
        "large model: two nodes, 20 Mbit/s each",
        [
            Column("codec", "on the wire"),
            Column("model_mb", "MB per model", ".0f"),
            Column("seconds", "seconds"),
            Column("least_s", "s per model at least", ".0f"),
            Column("came", "models came", ".1f"),
            Column("accuracy", "accuracy", ".2f"),
            Column("told", "lines of progress"),
            Column("vector_mib", "float32 MiB"),
            Column("first_half_mib", "MiB at most, first half"),
            Column("peak_mib", "MiB at most"),
        ],
    )
    table.open()
    for codec in ("float32", "bfloat16"):
        found = asyncio.run(
            measured(
                width=WIDTH // 10 if quick else WIDTH,
                time_s=20.0 if quick else 240.0,
                bytes_per_s=LINK_BYTES_PER_S / (10 if quick else 1),
                codec=codec,
                # The sizing rule: a period is no shorter than a model's time on the link.
                local_steps=1 if quick else 40,
            )
        )
        print(found["example"])
        table.add({"codec": codec, **found})
    keep(table, conditions=conditions())


if __name__ == "__main__":
    main()
