"""A whole run for real in one call: the counterpart of `simulate`."""

import asyncio
from collections.abc import Callable
from pathlib import Path

from p2pfl.experiment import Experiment
from p2pfl.results.record import RunResult
from p2pfl.runtime.processes import NodeProcesses
from p2pfl.runtime.run import RealRun, Watcher
from p2pfl.transport.broker import Engine


def run_experiment(
    experiment: Experiment,
    *,
    seed: int | None = None,
    broker_url: str | None = None,
    engine: Engine | None = None,
    password: str | None = None,
    ca_file: str | None = None,
    watcher: Watcher | None = None,
    record: str | Path | None = None,
    checkpoints: str | Path | None = None,
    broken_off: Callable[[RunResult], None] | None = None,
    processes: NodeProcesses | None = None,
) -> RunResult:
    """Run the experiment in real time with one process per node; the same result as `simulate`.

    Without a broker's URL, here or in the experiment, an embedded one is started for the run.
    `record`: the folder for the nodes' records, from which `replay` repeats the run. `checkpoints`:
    the folder where nodes keep what they are, and go on from if they find themselves there.
    `broken_off`: shown what the run came to if Ctrl-C breaks it off; KeyboardInterrupt comes after.
    `processes`: where the nodes live, if not on this machine.

    Raises:
        ConfigError, DataError, TransportError: with the sentence of the node that could not start.
    """
    if seed is not None:
        experiment = experiment.replace(seed=seed)

    async def go_through() -> RunResult:
        async with RealRun(
            experiment,
            broker_url=broker_url,
            engine=engine,
            password=password,
            ca_file=ca_file,
            watcher=watcher,
            record=None if record is None else Path(record),
            checkpoints=None if checkpoints is None else Path(checkpoints),
            processes=processes,
        ) as run:
            try:
                return await run.finish()
            except asyncio.CancelledError:
                if broken_off is not None:
                    # In a task of its own: this one is cancelled, and times out nothing any more.
                    broken_off(await asyncio.create_task(run.break_off(), name="p2pfl break off"))
                raise

    return asyncio.run(go_through())
