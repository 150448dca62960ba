"""One node in real time, over any transport: the counterpart of `simulate` for one place."""

import asyncio
from contextlib import closing, nullcontext
from pathlib import Path

from p2pfl.experiment import Experiment
from p2pfl.learning.trainer import Trainer
from p2pfl.places import Place
from p2pfl.runtime.company import Company
from p2pfl.runtime.cores import CoreShare
from p2pfl.runtime.health import Health, Organs
from p2pfl.runtime.keeper import Keeper
from p2pfl.runtime.life import LINGER_S, Go, Life, NodeOutcome, Tell
from p2pfl.runtime.recorder import Recorder, check_recordable
from p2pfl.runtime.rows import Report
from p2pfl.runtime.transfers import transfers_told
from p2pfl.runtime.worker import Pace, Worker
from p2pfl.transport.base import Membership, Transport


async def run_node(
    experiment: Experiment,
    node_id: str,
    transport: Transport,
    *,
    trainer: Trainer | None = None,
    go: Go | None = None,
    since_s: float | None = None,
    linger_s: float = LINGER_S,
    tell: Tell | None = None,
    record: Path | None = None,
    checkpoints: Path | None = None,
    company: Company | None = None,
    health: Health | None = None,
) -> NodeOutcome:
    """Live one node's life in a run, over an entered transport, until the run ends.

    With `go`, another process starts the run and ends it. Without, the node starts when all its
    neighbours are there, or after half a minute, and ends when they all are done. `since_s`: when
    the run began on this machine's monotonic clock, for a node that comes back into it. `linger_s`:
    how long a node that stands alone stays at the end, so that neighbours still mix its model.
    `record`: the folder for the record of this life, from which it can be repeated. `checkpoints`:
    the folder where the node keeps what it is, and from which it goes on if it finds itself there.
    `company`: whom it waits for before it starts, without `go`. `health`: told how the node is.

    Raises:
        ConfigError, DataError: the experiment has no such node, or no data for it; it cannot go on
            from its checkpoint, or be recorded on this device.
        RefusedError: a living node has this id or these checkpoints, or the run is another's.
        TransportError: the connection is beyond repair.
    """
    if record is not None:
        check_recordable(experiment.config.runtime)
    place = experiment.place(node_id)
    if trainer is None:
        trainer = await asyncio.to_thread(_trainer_of, experiment, place)
    node, config, x0 = place.node, experiment.config, trainer.initial()
    machine = experiment.make_node(node, run=transport.run, trainer=trainer, x0=x0)
    # A record is repeated by the loop, whose bits are those of one thread.
    cores = CoreShare(config.runtime.threads if record is None else 1)
    pace = Pace(config.compute, seed=config.seed, node=node)
    niceness = config.runtime.niceness
    worker = Worker(node, trainer, pace, threads=cores.threads, niceness=niceness)
    keeper = None
    if checkpoints is not None:
        every_s = config.checkpoint.every_s
        keeper = await asyncio.to_thread(Keeper, machine, worker, checkpoints, every_s=every_s)
    life = Life(
        machine,
        transport,
        worker,
        learns=place.learns,
        batch_size=config.training.batch_size,
        every_s=config.evaluation.every_s,
        time_s=config.stop.time_s,
        supervised=go is not None,
        linger_s=linger_s,
        tell=_heard_by(health, tell),
        recorder=None if record is None else Recorder(machine, record, experiment=experiment),
        keeper=keeper,
        company=company,
    )
    if health is not None:
        health.organs = Organs(
            machine=machine, tally=life.tally, transport=transport, worker=worker
        )
    membership = _membership(experiment, place, trainer)
    with cores, closing(life), nullcontext() if keeper is None else closing(keeper):
        async with transfers_told(node, transport, worker, codec=config.network.codec):
            return await life.live(membership, go=go, since_s=since_s)


def _trainer_of(experiment: Experiment, place: Place) -> Trainer:
    """A server holds no data, but needs the model; any one node's data will do to make it."""
    return experiment.make_trainer(only=(place.node if place.learns else experiment.learners[0],))


def _membership(experiment: Experiment, place: Place, trainer: Trainer) -> Membership:
    beside = place.algorithm.capabilities.beside
    return Membership(
        neighbours=tuple(peer for peer, _ in place.neighbours),
        schema=trainer.schema,
        dimension=trainer.dimension,
        beside=0 if beside is None else beside.size(trainer.dimension),
        digest=experiment.digest,
    )


def _heard_by(health: Health | None, tell: Tell | None) -> Tell | None:
    """Reports go to the health too."""
    if health is None:
        return tell

    def both(report: Report) -> None:
        health.hear(report)
        if tell is not None:
            tell(report)

    return both
