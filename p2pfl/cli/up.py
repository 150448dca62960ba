"""`p2pfl up`: the first machine of a run: broker, run, own node, and the line for the others."""

import argparse
import asyncio
import os
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from p2pfl.cli.arguments import ENGINES, add_experiment_arguments, read_experiment
from p2pfl.cli.parties import add_party_arguments, health_of, runtime_of, tell_outcome
from p2pfl.cli.say import say, speaks_json
from p2pfl.cli.watched import tell_report

if TYPE_CHECKING:
    from p2pfl.experiment import Experiment
    from p2pfl.runtime.hosting import HostedRun
    from p2pfl.runtime.party import Party
    from p2pfl.transport.invitation import Invitation
    from p2pfl.types import NodeId

KEPT: Final = Path("p2pfl-up")
INVITATION: Final = "invitation"
BIND: Final = "0.0.0.0"  # noqa: S104 - other machines must reach it; TLS and a password guard it.
PORT: Final = 8883
ENGINE: Final = "nats"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What is learned, with which data here, and where others reach this machine."""
    add_experiment_arguments(parser)
    add_party_arguments(parser, KEPT)
    parser.add_argument(
        "--host",
        metavar="NAME",
        help="name or address by which the others reach this machine (default: its own address)",
    )
    parser.add_argument("--bind", metavar="ADDRESS", help=f"listen here ({BIND})")
    parser.add_argument("--port", type=int, help=f"listen here ({PORT}); 0: any free port")
    parser.add_argument("--engine", choices=ENGINES, help=f"which broker serves ({ENGINE})")
    parser.add_argument(
        "--new",
        action="store_true",
        help="begin another run, though one of this experiment was broken off here; default: go on"
        " with that one, so that the line that the others have stays good",
    )
    parser.add_argument(
        "--parties",
        type=int,
        metavar="N",
        default=2,
        help="start when so many are there, this one counted (%(default)s); more may come later",
    )


def run(arguments: argparse.Namespace) -> int:
    """Serve and learn until the run's end. Raises ConfigError, DataError, TransportError."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    from p2pfl.own_data import OwnData, own_data
    from p2pfl.runtime.hosting import CHECKPOINTS
    from p2pfl.runtime.party import Party, shareable

    given = read_experiment(arguments)
    experiment = shareable(given)
    check_shared(arguments, experiment)
    own = own_data(given.config.data, arguments.data, arguments.part)
    if own is None and given.config.data.folder:
        # Where the data lies is this machine's business; the others are not told of it.
        own = OwnData(data=given.config.data, parts=None)
    hosted = _hosted(arguments, experiment)
    party = Party(
        folder=given.folder,
        own=lambda _: own,
        node=arguments.id or experiment.learners[0],
        tell=tell_report,
        checkpoints=arguments.folder / hosted.run / CHECKPOINTS,
        runtime=lambda _: runtime_of(arguments, given.config.runtime),
        least=arguments.parties - 1,
    )

    async def go_through() -> int:
        async with health_of(arguments, given) as health:
            return await _serve(arguments, experiment, replace(party, health=health), hosted)

    return asyncio.run(go_through())


def check_shared(arguments: argparse.Namespace, experiment: "Experiment") -> None:
    """Refuse what would not work at the others, before they are invited. Raises ConfigError."""
    from p2pfl.algorithms.suite import STARS
    from p2pfl.errors import ConfigError
    from p2pfl.experiment import SERVER

    parties, config, most = arguments.parties, experiment.config, len(experiment.places)
    if not 1 <= parties <= most:
        raise ConfigError(
            f"--parties {parties}: allowed: 1 to {most}, the nodes of this experiment"
        )
    if config.algorithm.kind in STARS and arguments.id != SERVER:
        raise ConfigError(
            f"algorithm.kind {config.algorithm.kind!r} needs a server: let this machine be it, by"
            f" --id {SERVER}, or choose one without, such as pull_mix"
        )
    for key, path in (
        ("topology.path", config.topology.path),
        ("compute.trace", config.compute.trace),
    ):
        if path:
            raise ConfigError(
                f"{key} names a file, {path}, which the others do not have: give each machine the"
                " experiment and this file, and start its node by `p2pfl node` at a broker"
            )


def _hosted(arguments: argparse.Namespace, experiment: "Experiment") -> "HostedRun":
    """The run that was broken off in this folder, or a new one, as the command line says."""
    from p2pfl.runtime.hosting import find_hosted, new_hosted
    from p2pfl.runtime.run_clock import is_over
    from p2pfl.transport.invitation import host_of, own_addresses

    host = host_of(arguments.host) if arguments.host else None
    found = None if arguments.new else find_hosted(arguments.folder, experiment.digest)
    if found is not None and is_over(found.began_unix_s, experiment.config.stop.time_s):
        text = f"The time of run {found.run}, which was broken off here, is over: a new one begins."
        say("note", text, message=text, run=found.run)
        found = None
    if found is None:
        return new_hosted(
            experiment,
            host=host or own_addresses()[0],
            bind=arguments.bind or BIND,
            port=PORT if arguments.port is None else arguments.port,
            engine=arguments.engine or ENGINE,
        )
    text = f"Going on with run {found.run}, which was broken off here; --new begins another."
    say("note", text, message=text, run=found.run)
    return replace(
        found,
        host=host or found.host,
        bind=arguments.bind or found.bind,
        port=arguments.port or found.port,
        engine=arguments.engine or found.engine,
    )


async def _serve(
    arguments: argparse.Namespace, experiment: "Experiment", party: "Party", hosted: "HostedRun"
) -> int:
    from p2pfl.runtime.hosting import hosted_run
    from p2pfl.runtime.party import at_home, take_part
    from p2pfl.transport.invitation import own_addresses

    assert party.node is not None
    node = experiment.place(party.node).node
    here = at_home(experiment, node, party)
    trainer = await asyncio.to_thread(here.make_trainer, only=(node,))
    async with hosted_run(
        experiment,
        hosted,
        folder=arguments.folder,
        names=list(dict.fromkeys([hosted.host, *own_addresses()])),
        schema=trainer.schema,
        waiting=_wait,
    ) as served:
        _invite(served.invitation, arguments.folder)
        outcome = await take_part(
            experiment,
            served.manifest,
            served.near,
            replace(party, since_s=served.clock.since_s, began=served.clock.begin),
            ca_file=served.certificate,
            found=partial(_told, parties=arguments.parties),
        )
        tell_outcome(node, outcome)
    return 0


def _invite(invitation: "Invitation", folder: Path) -> None:
    """Show the line for the others. A log is kept and read by many: there it goes to a file."""
    line = f"p2pfl join {invitation.line}"
    if not speaks_json():
        say("invitation", "On every other machine (the line is a secret: it lets its holder in):")
        say("invitation", f"  {line}")
        return
    file = folder / INVITATION
    file.touch(mode=0o600)
    file.chmod(0o600)
    file.write_text(f"{line}\n", encoding="utf-8")
    say("invitation", "", address=invitation.address, file=str(file))


def _told(node: "NodeId", *, parties: int) -> None:
    text = f"This machine is {node}; it starts when {parties} are there."
    say("joined", text, node=str(node), parties=parties)


def _wait(others: int) -> None:
    text = f"The broker stays for {others} that are still there; Ctrl-C stops it."
    say("waiting", text, others=others)
