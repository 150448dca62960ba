"""Two nodes inside your own asyncio program, over a real broker: the same node as everywhere.

python examples/03_node_in_your_program.py
"""

import asyncio
from pathlib import Path

import p2pfl
from p2pfl.runtime.alone import find_run

HERE = Path(__file__).parent


async def live(experiment: p2pfl.Experiment, node: str, url: str) -> None:
    manifest = await find_run(experiment, url=url)
    transport = p2pfl.MqttTransport(url, run=manifest.run, node=node, manifest=manifest)
    async with transport:
        outcome = await p2pfl.run_node(experiment, node, transport)
    accuracy = outcome.score.accuracy if outcome.score is not None else None
    print(f"{node}: {outcome.totals.steps} steps, accuracy {accuracy:.3f}")


async def main() -> None:
    experiment = p2pfl.load_experiment(HERE / "digits.toml").replace(
        topology=p2pfl.Topology(kind="path", nodes=2),
        compute=p2pfl.Compute(step_s=0.005),
        stop=p2pfl.Stop(steps=400),
    )
    async with p2pfl.EmbeddedBroker() as broker:
        await asyncio.gather(*(live(experiment, node, broker.url) for node in ("n0", "n1")))


if __name__ == "__main__":
    asyncio.run(main())
