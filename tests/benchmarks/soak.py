"""A real run in which all nodes and the broker die at random: python tests/benchmarks/soak.py.

Eight processes learn the digits over an embedded broker and keep checkpoints. At random moments
one of the nine is killed by SIGKILL and started again a little later: first each once, in random
order, then whoever chance names. At the end no checkpoint may have been damaged, no node be stuck,
the bound must have held, and the accuracy be that of a run that nobody disturbed.
"""

import argparse
import asyncio
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from p2pfl.config.load import with_values
from p2pfl.errors import DataError
from p2pfl.experiment import Experiment, load_experiment
from p2pfl.results.checkpoint import checkpoint_file, load_checkpoint
from p2pfl.results.record import RunResult
from p2pfl.runtime.run import RealRun
from p2pfl.simulation.simulate import simulate
from p2pfl.transport.broker import EmbeddedBroker

DIGITS: Final = Path(__file__).parents[2] / "examples" / "digits.toml"
BROKER: Final = "broker"
AWAY_MAX_S: Final = 2.0
BACK_S: Final = 30.0
"""A node that was started again has done a step within this, or is stuck."""

PAUSE_S: Final = 5.0
"""Between two kills, on average, with the time that a victim is away."""

QUIET_S: Final = 30.0
"""The end is left in peace, so that what was disturbed can settle."""

ACCURACY_LOSS_MAX: Final = 0.03


@dataclass
class Soak:
    """What was done to a run, and what was found."""

    kills: Counter[str] = field(default_factory=Counter)
    damaged: list[str] = field(default_factory=list)
    """Checkpoints that could not be read after a kill."""
    stuck: list[str] = field(default_factory=list)
    lost_max_s: float = 0.0
    """The most work that a kill undid: since the checkpoint, or since the node began again."""
    began: dict[str, float] = field(default_factory=dict)
    """Node -> when its present life reported first, by the calendar."""
    back_max_s: float = 0.0
    """From a node's start to its first steps."""
    result: RunResult | None = None


def order_of(victims: Sequence[str], kills: int, chance: random.Random) -> list[str]:
    """Each victim once, in random order, then at random."""
    each = chance.sample(list(victims), len(victims))
    return (each + chance.choices(list(victims), k=max(0, kills - len(each))))[:kills]


async def soak(experiment: Experiment, folder: Path, *, kills: int, seed: int) -> Soak:
    """Run the experiment to its end under `kills` kills."""
    chance, found = random.Random(seed), Soak()
    async with EmbeddedBroker("nats", folder=folder / "broker") as broker:
        run = RealRun(experiment, broker_url=broker.url, checkpoints=folder / "checkpoints")
        async with run:
            time_s = experiment.config.stop.time_s
            assert time_s is not None
            quiet_s = min(QUIET_S, 0.3 * time_s)
            loop = asyncio.get_running_loop()
            begun_s = loop.time()
            moments = sorted(chance.uniform(1.0, time_s - quiet_s) for _ in range(kills))
            victims = order_of([*experiment.learners, BROKER], kills, chance)
            for moment, victim in zip(moments, victims, strict=True):
                await asyncio.sleep(begun_s + moment - loop.time())
                found.kills[victim] += 1
                if victim == BROKER:
                    await broker.kill()
                    await asyncio.sleep(AWAY_MAX_S * chance.random())
                    await broker.start()
                else:
                    await _kill(run, victim, found, folder, away_s=AWAY_MAX_S * chance.random())
            found.result = await run.finish()
    for node in experiment.learners:
        _look_at_checkpoint(experiment, node, found, folder, killed=False)
    return found


async def _kill(run: RealRun, node: str, found: Soak, folder: Path, *, away_s: float) -> None:
    standing = run.board.standings[run.experiment.place(node).node]
    run.kill_node(node)
    async with asyncio.timeout(BACK_S):
        while standing.alive:  # noqa: ASYNC110 - the board tells nobody.
            await asyncio.sleep(0.02)
    _look_at_checkpoint(run.experiment, node, found, folder, killed=True)
    await asyncio.sleep(away_s)
    before, begun_s = len(standing.reports), time.monotonic()
    await run.start_node(node)
    try:
        async with asyncio.timeout(BACK_S):
            while len(standing.reports) == before:  # noqa: ASYNC110 - the same.
                await asyncio.sleep(0.05)
            found.began[node] = time.time()
            # Its second report of the new life has steps in it that the first has not.
            while len(standing.reports) < before + 2:  # noqa: ASYNC110 - the same.
                await asyncio.sleep(0.05)
    except TimeoutError:
        found.stuck.append(f"{node} after kill {found.kills.total()}")
    found.back_max_s = max(found.back_max_s, time.monotonic() - begun_s)


def _look_at_checkpoint(
    experiment: Experiment, node: str, found: Soak, folder: Path, *, killed: bool
) -> None:
    place = experiment.place(node)
    file = checkpoint_file(folder / "checkpoints", place.node)
    if not file.exists():
        return
    if killed:
        since = max(file.stat().st_mtime, found.began.get(node, 0.0))
        found.lost_max_s = max(found.lost_max_s, time.time() - since)
    try:
        load_checkpoint(file, place.algorithm)
    except DataError as damage:
        found.damaged.append(str(damage))


def verdict(found: Soak, *, normal: float) -> list[str]:
    """The promises that were broken, each in a sentence."""
    assert found.result is not None
    result, broken = found.result, [*found.damaged, *(f"stuck: {each}" for each in found.stuck)]
    accuracy = result.final.accuracy_mean or 0.0
    if accuracy < normal - ACCURACY_LOSS_MAX:
        broken.append(f"accuracy {accuracy:.3f}, undisturbed {normal:.3f}")
    if result.staleness_max > result.staleness_bound:
        broken.append(f"staleness {result.staleness_max:.2f} of {result.staleness_bound:g}")
    broken += [f"{n.node} {n.outcome}" for n in result.nodes if n.outcome != "finished"]
    return broken


def experiment_for(kills: int) -> Experiment:
    """Eight nodes on the digits, for as long as so many kills take; a checkpoint each second."""
    digits = load_experiment(DIGITS)
    values = {"stop.time_s": kills * PAUSE_S + QUIET_S, "checkpoint.every_s": 1.0}
    return Experiment(with_values(digits.config, values), folder=digits.folder)


def main() -> int:
    """Run, tell, and return 1 if a promise was broken."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    experiment = experiment_for(arguments.kills)
    with tempfile.TemporaryDirectory(prefix="p2pfl-soak-") as folder:
        found = asyncio.run(
            soak(experiment, Path(folder), kills=arguments.kills, seed=arguments.seed)
        )
    result = found.result
    assert result is not None
    normal = simulate(experiment).final.accuracy_mean or 0.0
    victims = ", ".join(f"{name} {count}" for name, count in sorted(found.kills.items()))
    print(f"{result.duration_s:.0f} s, {found.kills.total()} kills ({victims})")
    print(f"damaged checkpoints  {len(found.damaged)}")
    print(f"stuck nodes          {len(found.stuck)}")
    print(f"largest loss         {found.lost_max_s:.2f} s of work; a checkpoint each second")
    print(f"slowest return       {found.back_max_s:.1f} s from a node's start to its second report")
    print(f"staleness            {result.staleness_max:.2f} of {result.staleness_bound:g}")
    print(f"accuracy             {result.final.accuracy_mean:.3f} mean,", end=" ")
    print(f"{result.final.accuracy_worst:.3f} worst node; undisturbed {normal:.3f}")
    broken = verdict(found, normal=normal)
    for sentence in broken:
        print(f"BROKEN: {sentence}")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
