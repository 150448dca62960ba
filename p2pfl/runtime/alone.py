"""One node on this machine, in a run that spans machines: nobody here gives the go or the end."""

import asyncio
from pathlib import Path
from typing import Final

from p2pfl.config.write import config_to_toml
from p2pfl.errors import RefusedError
from p2pfl.experiment import Experiment
from p2pfl.runtime.company import Company
from p2pfl.runtime.health import Health
from p2pfl.runtime.life import NodeOutcome, Tell
from p2pfl.runtime.peer import run_node
from p2pfl.transport.manifest import Manifest
from p2pfl.transport.place import new_run_id

_LOOK_S: Final = 1.0


async def find_run(
    experiment: Experiment,
    *,
    url: str,
    run: str | None = None,
    create_run: bool = False,
    wait_for_run_s: float = 0.0,
    password: str | None = None,
    ca_file: str | None = None,
) -> Manifest:
    """The run to join: the one named, the living one of this experiment's name, or a new one.

    A named one that nobody has described yet is described here (`create_run`), or waited for.

    Raises:
        RefusedError: the run has another experiment, has ended, or there is none of that name.
        TransportError: the broker cannot be reached.
    """
    from p2pfl.transport.mqtt import Observer

    async with Observer(url, password=password, ca_file=ca_file) as observer:
        name = experiment.config.name
        draft = Manifest(
            run=new_run_id(name) if run is None else run,
            name=name,
            digest=experiment.digest,
            nodes=tuple(experiment.places),
            experiment=config_to_toml(experiment.config),
        )
        if run is None:
            return await observer.find_or_create_run(draft)
        until_s = asyncio.get_running_loop().time() + wait_for_run_s
        while (manifest := await observer.read_manifest(run)) is None:
            if create_run:
                await observer.describe_run(draft)
                return draft
            if asyncio.get_running_loop().time() > until_s:
                raise RefusedError(
                    f"there is no run {run!r} at {url}: leave --run out to join or create the run"
                    f" of experiment {name!r}"
                )
            await asyncio.sleep(_LOOK_S)
        return manifest


async def live_alone(
    experiment: Experiment,
    node: str,
    *,
    url: str,
    run: str | None = None,
    create_run: bool = False,
    wait_for_run_s: float = 0.0,
    password: str | None = None,
    ca_file: str | None = None,
    tell: Tell | None = None,
    record: Path | None = None,
    checkpoints: Path | None = None,
    company: Company | None = None,
    health: Health | None = None,
) -> NodeOutcome:
    """Live one node's life in a run at a broker, to the run's end.

    Raises:
        ConfigError, DataError: the experiment has no such node, or no data for it.
        RefusedError: as `find_run`, or a living node has this id.
        TransportError: the broker cannot be reached.
    """
    from p2pfl.transport.mqtt import MqttTransport

    experiment.place(node)
    manifest = await find_run(
        experiment,
        url=url,
        run=run,
        create_run=create_run,
        wait_for_run_s=wait_for_run_s,
        password=password,
        ca_file=ca_file,
    )
    config = experiment.config
    async with MqttTransport(
        url,
        run=manifest.run,
        node=node,
        password=password,
        ca_file=ca_file,
        dtype=config.network.codec,
        chunk_bytes=config.broker.chunk_bytes,
        manifest=manifest,
    ) as transport:
        return await run_node(
            experiment,
            node,
            transport,
            tell=tell,
            record=record,
            checkpoints=checkpoints,
            company=company,
            health=health,
        )
