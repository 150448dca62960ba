"""One node's process: a job in, a life lived, final models out. Exit codes as the command's."""

import asyncio
import logging
import math
import signal
from contextlib import suppress
from pathlib import Path
from typing import Final

from p2pfl.errors import ConfigError, DataError, TransportError
from p2pfl.exit_codes import ExitCode, code_of
from p2pfl.runtime.average import score
from p2pfl.runtime.company import Company
from p2pfl.runtime.health import health_port
from p2pfl.runtime.health_server import served_health
from p2pfl.runtime.jobs import Job, Legacy, write_fault, write_legacy
from p2pfl.runtime.life import NodeOutcome
from p2pfl.runtime.memory import keep_freed_memory
from p2pfl.runtime.peer import run_node

_GO_WAIT_S: Final = 24 * 3600.0
"""The process that starts the run ends its children; this only bounds a wait."""

_log: Final = logging.getLogger("p2pfl.runtime")


def main(job: Job) -> int:
    """Live this node's life; the exit code. What went wrong is left in the work folder."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    work = Path(job.work)
    try:
        if job.model:
            score(job)
            return ExitCode.DONE
        outcome = asyncio.run(_live(job))
    except (ConfigError, DataError, TransportError) as problem:
        write_fault(work, job.key, problem)
        return code_of(problem)
    except asyncio.CancelledError:
        return ExitCode.TERMINATED
    except Exception as fault:  # noqa: BLE001 - whatever it is, the parent must hear of it.
        _log.exception("node %s failed", job.node)
        write_fault(work, job.key, fault)
        return ExitCode.CRASHED
    final = outcome.score
    write_legacy(
        work,
        job.key,
        Legacy(
            totals=outcome.totals,
            served=outcome.served,
            public=outcome.public,
            loss=math.nan if final is None else final.loss,
            accuracy=None if final is None else final.accuracy,
            per_class=() if final is None else final.per_class,
            duration_s=outcome.duration_s,
            slept_s=outcome.slept_s,
            missed_s=outcome.missed_s,
        ),
    )
    return ExitCode.DONE


async def _live(job: Job) -> NodeOutcome:
    from p2pfl.transport.mqtt import MqttTransport

    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None
    with suppress(NotImplementedError):  # Windows' loop takes no signal handlers.
        loop.add_signal_handler(signal.SIGTERM, task.cancel)
    experiment = job.load_experiment()
    config = experiment.config
    async with (
        served_health(health_port(experiment, job.node), config.health.host) as health,
        MqttTransport(
            job.url,
            run=job.run,
            node=job.node,
            password=job.password,
            ca_file=job.ca_file or None,
            dtype=config.network.codec,
            chunk_bytes=config.broker.chunk_bytes,
        ) as transport,
    ):

        async def go() -> None:
            await transport.wait_for_go(_GO_WAIT_S)

        return await run_node(
            experiment,
            job.node,
            transport,
            go=go,
            since_s=job.since_s,
            record=Path(job.record) if job.record else None,
            checkpoints=Path(job.checkpoints) if job.checkpoints else None,
            company=Company(joined=keep_freed_memory),
            health=health,
        )
