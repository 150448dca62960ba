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
    from p2pfl.runtime.party import Party
    from p2pfl.transport.invitation import Invitation
    from p2pfl.types import NodeId

KEPT: Final = Path("p2pfl-up")
INVITATION: Final = "invitation"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What is learned, with which data here, and where others reach this machine."""
    add_experiment_arguments(parser)
    add_party_arguments(parser, KEPT)
    parser.add_argument(
        "--host",
        metavar="NAME",
        help="name or address by which the others reach this machine (default: its own address)",
    )
    parser.add_argument("--bind", metavar="ADDRESS", default="0.0.0.0", help="listen here")  # noqa: S104 - other machines must reach it; TLS and a password guard it.
    parser.add_argument("--port", type=int, default=8883, help="listen here; 0: any free port")
    parser.add_argument("--engine", choices=ENGINES, default="nats", help="which broker serves")
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
    from p2pfl.runtime.party import Party, shareable

    given = read_experiment(arguments)
    experiment = shareable(given)
    folder: Path = arguments.folder

    own = own_data(given.config.data, arguments.data, arguments.part)
    if own is None and given.config.data.folder:
        # Where the data lies is this machine's business; the others are not told of it.
        own = OwnData(data=given.config.data, parts=None)
    party = Party(
        folder=given.folder,
        own=lambda _: own,
        node=arguments.id or experiment.learners[0],
        tell=tell_report,
        checkpoints=folder / "checkpoints",
        runtime=lambda _: runtime_of(arguments, given.config.runtime),
        least=max(0, arguments.parties - 1),
    )

    async def go_through() -> int:
        async with health_of(arguments, given) as health:
            return await _serve(arguments, experiment, replace(party, health=health))

    return asyncio.run(go_through())


async def _serve(arguments: argparse.Namespace, experiment: "Experiment", party: "Party") -> int:
    from p2pfl.runtime.party import at_home, hosted_run, take_part
    from p2pfl.transport.invitation import own_addresses

    assert party.node is not None
    node = experiment.place(party.node).node
    here = at_home(experiment, node, party)
    trainer = await asyncio.to_thread(here.make_trainer, only=(node,))
    names = own_addresses()
    if arguments.host:
        names = list(dict.fromkeys([arguments.host, *names]))
    async with hosted_run(
        experiment,
        folder=arguments.folder,
        names=names,
        bind=arguments.bind,
        port=arguments.port,
        engine=arguments.engine,
        schema=trainer.schema,
        waiting=_wait,
    ) as (invitation, manifest):
        _invite(invitation, arguments.folder)
        outcome = await take_part(
            experiment,
            manifest,
            invitation,
            party,
            ca_file=arguments.folder / "broker.pem",
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
