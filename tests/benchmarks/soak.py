"""A long real run in which nodes die at random and come back: python tests/benchmarks/soak.py.

Eight processes learn the digits over the embedded broker; every few seconds one of them is killed
and started again a little later. At the end the bound must have held and the accuracy be normal.
"""

import argparse
import asyncio
import random
import sys
from pathlib import Path

from p2pfl.config.load import with_values
from p2pfl.experiment import Experiment, load_experiment
from p2pfl.results.record import RunResult
from p2pfl.runtime.run import RealRun

DIGITS = Path(__file__).parents[2] / "examples" / "digits.toml"
PAUSE_S = 5.0
AWAY_S = 2.0
ACCURACY_MIN = 0.85


async def soak(experiment: Experiment, *, seconds: float, seed: int) -> tuple[RunResult, int]:
    """The run's result, and how many nodes were killed on the way."""
    chance = random.Random(seed)
    kills = 0
    async with RealRun(experiment) as run:
        loop = asyncio.get_running_loop()
        # The last quarter is left in peace, so that what was disturbed can settle.
        until_s = loop.time() + 0.75 * seconds
        while loop.time() + PAUSE_S < until_s:
            await asyncio.sleep(PAUSE_S * chance.uniform(0.5, 1.5))
            node = chance.choice(experiment.learners)
            run.kill_node(node)
            kills += 1
            await asyncio.sleep(AWAY_S * chance.random())
            await run.start_node(node)
        return await run.finish(), kills


def main() -> int:
    """Run, tell, and return 1 if a promise was broken."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=7200.0)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    digits = load_experiment(DIGITS)
    config = with_values(digits.config, {"stop.time_s": arguments.seconds})
    experiment = Experiment(config, folder=digits.folder)
    result, kills = asyncio.run(soak(experiment, seconds=arguments.seconds, seed=arguments.seed))
    accuracy = result.final.accuracy_mean or 0.0
    print(
        f"{arguments.seconds:.0f} s, {kills} kills, {result.final.steps} steps, accuracy"
        f" {accuracy:.3f}, staleness {result.staleness_max:.2f} of {result.staleness_bound:g}"
    )
    held = result.staleness_max <= result.staleness_bound
    alive = all(node.outcome == "finished" for node in result.nodes)
    return 0 if held and alive and accuracy > ACCURACY_MIN else 1


if __name__ == "__main__":
    sys.exit(main())
