"""`p2pfl join`: take part in a run that another machine described, with this machine's data."""

import argparse
import asyncio
import os
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from p2pfl.cli.parties import add_party_arguments, health_of, runtime_of, tell_outcome
from p2pfl.cli.say import say
from p2pfl.cli.watched import tell_report

if TYPE_CHECKING:
    from p2pfl.runtime.party import Party
    from p2pfl.transport.invitation import Invitation
    from p2pfl.types import NodeId

KEPT: Final = Path("p2pfl-join")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The line that `p2pfl up` printed, and this machine's data."""
    parser.add_argument("line", metavar="LINE", help="mqtts://HOST:PORT/RUN#TOKEN")
    parser.add_argument(
        "--token-stdin",
        action="store_true",
        help="read the token from standard input: then no list of processes shows it",
    )
    add_party_arguments(parser, KEPT)
    parser.add_argument(
        "--allow",
        action="append",
        default=[],
        metavar="MODULE",
        help="let the run name code in this module of this machine (may be repeated)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Learn until the run's end. Raises ConfigError, DataError, TransportError."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    from p2pfl.own_data import own_data
    from p2pfl.runtime.party import Party
    from p2pfl.transport.invitation import read_invitation

    token = sys.stdin.readline() if arguments.token_stdin else None
    invitation = read_invitation(arguments.line, token=token)
    party = Party(
        folder=Path.cwd(),
        own=lambda config: own_data(config.data, arguments.data, arguments.part),
        node=arguments.id,
        tell=tell_report,
        checkpoints=arguments.folder / invitation.run / "checkpoints",
        allowed=frozenset(arguments.allow),
        runtime=partial(runtime_of, arguments),
    )

    async def go_through() -> int:
        async with health_of(arguments) as health:
            return await _join(arguments, invitation, replace(party, health=health))

    return asyncio.run(go_through())


async def _join(arguments: argparse.Namespace, invitation: "Invitation", party: "Party") -> int:
    from p2pfl.runtime.party import experiment_of, read_run, take_part

    kept = arguments.folder / invitation.run
    manifest, pinned = await read_run(invitation, kept)
    experiment = experiment_of(manifest, party)
    taken: list[NodeId] = []

    def found(node: "NodeId") -> None:
        taken.append(node)
        say(
            "joined",
            f"This machine is {node} in run {manifest.run}; if it must come back, add --id {node}.",
            node=str(node),
            run=manifest.run,
        )

    outcome = await take_part(experiment, manifest, invitation, party, ca_file=pinned, found=found)
    tell_outcome(taken[-1], outcome)
    return 0
