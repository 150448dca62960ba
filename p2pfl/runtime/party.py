"""Parties that share only a broker: the first describes the run, the others read it there."""

import asyncio
import tomllib
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from p2pfl.config.load import config_from_mapping
from p2pfl.config.schema import (
    BrokerConfig,
    ExperimentConfig,
    HealthConfig,
    RuntimeConfig,
    TopologyConfig,
)
from p2pfl.errors import ConfigError, PlaceTakenError, RefusedError
from p2pfl.experiment import Experiment
from p2pfl.own_data import OwnData
from p2pfl.results.checkpoint import checkpoint_file
from p2pfl.runtime.company import START_WAIT_S, Company, say_nothing
from p2pfl.runtime.health import Health
from p2pfl.runtime.life import NodeOutcome, Tell
from p2pfl.runtime.memory import keep_freed_memory
from p2pfl.runtime.peer import run_node
from p2pfl.transport.invitation import Invitation, pin_certificate
from p2pfl.transport.manifest import Manifest
from p2pfl.types import NodeId

ABSENT_LINGER_S: Final = 5.0
"""A party stays so long after its own end, so that its neighbours still mix its last model."""


def _as_it_says(said: RuntimeConfig) -> RuntimeConfig:
    return said


@dataclass(frozen=True, slots=True, kw_only=True)
class Party:
    """How one machine takes part."""

    folder: Path
    """Where it keeps certificates and checkpoints, and finds the user's own modules."""
    own: Callable[[ExperimentConfig], OwnData | None]
    """Its data, once it knows the experiment; None: as the experiment says."""
    node: str | None = None
    """Its name in the graph; None: the first place that is free."""
    tell: Tell | None = None
    checkpoints: Path | None = None
    allowed: Collection[str] = ()
    """Modules of this machine that a run from elsewhere may name."""
    least: int | None = None
    """Start when so many neighbours are there; None: all, or after half a minute."""
    health: Health | None = None
    """Told how the node is."""
    since_s: float | None = None
    """When the run began, on the event loop's clock; None: when this node starts."""
    began: Callable[[], object] = say_nothing
    """Called when its node starts."""
    runtime: Callable[[RuntimeConfig], RuntimeConfig] = _as_it_says
    """How it computes, from what the run says of that."""


def shareable(experiment: Experiment) -> Experiment:
    """The experiment as other machines can read it: no path of this one in it."""
    config = experiment.config
    topology = config.topology
    if topology.kind == "file":
        graph = experiment.topology.graph
        topology = TopologyConfig(
            kind="edges",
            edges=tuple((graph.nodes[a], graph.nodes[b]) for a, b in graph.edges),
            directed=graph.directed,
            weights=topology.weights,
            target=topology.target,
        )
    data = replace(config.data, folder="")
    shared = replace(
        config,
        topology=topology,
        data=data,
        broker=BrokerConfig(),
        health=HealthConfig(),
        runtime=_for_all(config.runtime),
    )
    return Experiment(shared, folder=experiment.folder)


def _for_all(runtime: RuntimeConfig) -> RuntimeConfig:
    """What one machine has, others may not have; "auto" suits all."""
    plain = RuntimeConfig()
    return RuntimeConfig(
        device="auto" if runtime.device == "auto" else plain.device,
        threads="auto" if runtime.threads == "auto" else plain.threads,
    )


async def read_run(invitation: Invitation, folder: Path) -> tuple[Manifest, Path]:
    """The run's manifest, and the file with the certificate that the token pins.

    Raises:
        RefusedError: it is another broker, or it has no such run, or the run is over.
        TransportError: the broker cannot be reached.
    """
    from p2pfl.transport.mqtt import Observer

    pinned = await asyncio.to_thread(pin_certificate, invitation, folder)
    async with Observer(
        invitation.url, password=invitation.password, ca_file=pinned, pinned=True
    ) as observer:
        manifest = await observer.read_manifest(invitation.run)
    if manifest is None:
        raise RefusedError(f"there is no run {invitation.run!r} at that broker; ask for a new line")
    if manifest.state == "ended":
        raise RefusedError(f"run {invitation.run} has ended: ask for a new line")
    return manifest, pinned


def experiment_of(manifest: Manifest, party: Party) -> Experiment:
    """The experiment that a manifest describes, if nothing in it is code that is not allowed here.

    Raises:
        ConfigError: it names a module of the user's that `--allow` does not, or this version does
            not know all that it says.
    """
    source = f"run {manifest.run}"
    try:
        table = tomllib.loads(manifest.experiment)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{source}: its experiment is no TOML: {error}") from None
    config = config_from_mapping(table, source=source)
    own = party.own(config)
    kinds = {"model": config.model.kind, "algorithm": config.algorithm.kind}
    if own is None:
        kinds["data"] = config.data.kind
    for section, kind in kinds.items():
        module = kind.partition(":")[0]
        if ":" in kind and module not in party.allowed:
            raise ConfigError(
                f"{source}: its {section} is {kind!r}, code that must lie on this machine too; look"
                f" at it, then allow it by --allow {module}"
            )
    experiment = Experiment(config, folder=party.folder)
    if experiment.digest != manifest.digest:
        raise RefusedError(
            f"{source} has experiment {manifest.digest}, and its text gives {experiment.digest}"
            " here: both sides need the same version of p2pfl"
        )
    return experiment


def at_home(experiment: Experiment, node: NodeId, party: Party) -> Experiment:
    """The experiment with this machine's data at `node`, if it has its own, on its hardware."""
    own = party.own(experiment.config)
    here = experiment.replace(runtime=party.runtime(experiment.config.runtime))
    return here if own is None else here.at_home(node, own)


async def take_part(
    experiment: Experiment,
    manifest: Manifest,
    invitation: Invitation,
    party: Party,
    *,
    ca_file: Path,
    found: Callable[[NodeId], None],
) -> NodeOutcome:
    """Live one node's life in the run; `found` is told which, before it begins.

    Raises:
        RefusedError: no place is free, or the one named is taken.
        ConfigError, DataError: this machine's data do not fit the run's model.
        TransportError: the connection is beyond repair.
    """
    taken: list[str] = []
    names = [party.node] if party.node is not None else _likeliest(manifest, party)
    for name in names:
        node = experiment.place(name).node
        if party.node is None and not experiment.place(name).learns:
            continue
        try:
            return await _live(
                experiment, manifest, invitation, party, node, ca_file=ca_file, found=found
            )
        except PlaceTakenError:
            # By one that lives, or by one that came at the same moment.
            if party.node is not None:
                raise
            taken.append(name)
    raise RefusedError(
        f"run {manifest.run}: all {len(taken)} places are taken; the graph of the experiment has"
        " no more nodes"
    )


def _likeliest(manifest: Manifest, party: Party) -> list[str]:
    """All places, those first in which this machine was before."""
    known = party.checkpoints

    def was_never_there(name: str) -> bool:
        return known is None or not checkpoint_file(known, NodeId(name)).exists()

    return sorted(manifest.nodes, key=was_never_there)


async def _live(
    experiment: Experiment,
    manifest: Manifest,
    invitation: Invitation,
    party: Party,
    node: NodeId,
    *,
    ca_file: Path,
    found: Callable[[NodeId], None],
) -> NodeOutcome:
    from p2pfl.transport.mqtt import MqttTransport

    def joined() -> None:
        keep_freed_memory()
        found(node)

    here = at_home(experiment, node, party)
    trainer = await asyncio.to_thread(here.make_trainer, only=(node,))
    if manifest.schema and trainer.schema != manifest.schema:
        raise ConfigError(
            f"this machine's data makes a model {trainer.schema}, and run {manifest.run} learns"
            f" {manifest.schema}: the samples must have the same shape, and as many classes"
        )
    async with MqttTransport(
        invitation.url,
        run=manifest.run,
        node=node,
        password=invitation.password,
        ca_file=ca_file,
        pinned=True,
        dtype=here.config.network.codec,
        chunk_bytes=here.config.broker.chunk_bytes,
        manifest=manifest,
    ) as transport:
        return await run_node(
            here,
            node,
            transport,
            trainer=trainer,
            since_s=party.since_s,
            linger_s=ABSENT_LINGER_S,
            tell=party.tell,
            checkpoints=party.checkpoints,
            health=party.health,
            company=Company(
                least=party.least,
                wait_s=START_WAIT_S if party.least is None else None,
                joined=joined,
                began=party.began,
            ),
        )
