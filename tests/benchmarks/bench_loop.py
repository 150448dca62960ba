"""How long the event loop of a node is kept from its work while it trains and moves large models.

bench_loop.py [--quick]; two `p2pfl node` processes with models of 50 MB, nothing in between.
"""

import asyncio
import json
import sys
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

from results import Column, Table, conditions, keep

import p2pfl
from p2pfl.config.write import config_to_toml

WIDTH: Final = 3_500
"""Hidden units of two layers: 12.5 million parameters, 50 MB."""

WARM_S: Final = 5.0
"""So long after its start a node is not looked at: it imports, and allocates for the first time."""

WATCHED: Final = """
import asyncio, json, sys, time
from asyncio import events
from p2pfl.cli.main import main
from p2pfl.runtime.life import Life

gaps, own, begun_s = [], [], time.perf_counter()
run, live = events.Handle._run, Life.live

def watched_run(handle):
    begun = time.thread_time()
    try:
        return run(handle)
    finally:
        if time.perf_counter() - begun_s > WARM_S:
            own.append(time.thread_time() - begun)

async def watched_live(life, *args, **words):
    async def tick():
        while True:
            at = time.perf_counter()
            await asyncio.sleep(0.01)
            if at - begun_s > WARM_S:
                gaps.append(time.perf_counter() - at - 0.01)

    ticking = asyncio.create_task(tick())
    try:
        return await live(life, *args, **words)
    finally:
        ticking.cancel()

events.Handle._run, Life.live = watched_run, watched_live
code = main(sys.argv[2:])
with open(sys.argv[1], "w") as file:
    json.dump({"gaps": sorted(gaps), "own": sorted(own)}, file)
sys.exit(code)
"""


def experiment_text(width: int, time_s: float, niceness: int) -> str:
    """The experiment file of both nodes: train, send and mix as fast as they can."""
    return config_to_toml(
        p2pfl.ExperimentConfig(
            name="loop",
            topology=p2pfl.Topology(kind="path", nodes=2),
            data=p2pfl.Data(kind="digits"),
            model=p2pfl.Model(kind="mlp", hidden=(width, width)),
            training=p2pfl.Training(learning_rate=0.01, local_steps=1),
            runtime=p2pfl.Runtime(niceness=niceness),
            evaluation=p2pfl.Evaluation(every_s=time_s / 3, samples=64),
            stop=p2pfl.Stop(time_s=time_s),
        )
    )


async def measured(
    *, width: int, time_s: float, niceness: int, warm_s: float = WARM_S
) -> dict[str, float]:
    """Both nodes to their end; the worse one's numbers, and the models that came in all."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        file = folder / "loop.toml"
        file.write_text(experiment_text(width, time_s, niceness))
        broker = await stack.enter_async_context(p2pfl.EmbeddedBroker())
        program = WATCHED.replace("WARM_S", str(warm_s))
        nodes = [
            await asyncio.create_subprocess_exec(
                *(sys.executable, "-c", program, str(folder / f"n{i}.json")),
                *("node", str(file), "--id", f"n{i}", "--broker", broker.url),
                *("--record", str(folder / "records")),
                stdout=asyncio.subprocess.PIPE,
            )
            for i in range(2)
        ]
        ended = await asyncio.gather(*(node.communicate() for node in nodes))
        if any(node.returncode for node in nodes):
            raise RuntimeError(ended)
        looked = [json.loads((folder / f"n{i}.json").read_text()) for i in range(2)]
        records = (folder / "records").glob("n*-*")
        came = sum(record.read_text(encoding="utf-8").count('"model":') for record in records)
        steps = sum(int(out.decode().rpartition(" steps,")[0].split()[-1]) for out, _ in ended)
    size = 4 * (64 * width + width * width + 10 * width + 2 * width + 10)
    return {
        "niceness": niceness,
        "model_mb": size / 1e6,
        "p50_ms": max(1e3 * each["gaps"][len(each["gaps"]) // 2] for each in looked),
        "p99_ms": max(1e3 * each["gaps"][len(each["gaps"]) * 99 // 100] for each in looked),
        "most_ms": max(1e3 * each["gaps"][-1] for each in looked),
        "own_ms": max(1e3 * each["own"][-1] for each in looked),
        "came_mb_s": came * size / 1e6 / time_s,
        "steps": steps,
    }


def main() -> None:
    """Print and keep the table."""
    quick = "--quick" in sys.argv
    table = Table(
        "event loop: two nodes, models of 50 MB",
        [
            Column("niceness", "niceness of training"),
            Column("model_mb", "MB per model", ".0f"),
            Column("p50_ms", "gap ms, median", ".1f"),
            Column("p99_ms", "gap ms, p99", ".0f"),
            Column("most_ms", "gap ms, longest", ".0f"),
            Column("own_ms", "CPU ms of one callback, at most", ".0f"),
            Column("came_mb_s", "MB/s of models received"),
            Column("steps", "gradient steps"),
        ],
    )
    table.open()
    for niceness in (0, 5):
        found = asyncio.run(
            measured(
                width=WIDTH // 5 if quick else WIDTH,
                time_s=12.0 if quick else 45.0,
                niceness=niceness,
            )
        )
        table.add(found)
    keep(table, conditions=conditions())


if __name__ == "__main__":
    main()
