"""The first machine's part of a run: the broker and the run in it, and what it needs to come back.

All lies in a folder of the run's own: certificate, key, what the broker retains, checkpoints, and
`run.json` with the password. While that file is there, the run is not over: whoever starts the same
experiment there again goes on with the same run, and the line that the others have stays good.
"""

import asyncio
import json
import logging
import shutil
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Final

from p2pfl.config.write import config_to_toml
from p2pfl.errors import ConfigError, TransportError
from p2pfl.experiment import Experiment
from p2pfl.messages import Presence, PresenceState
from p2pfl.results.held import Held
from p2pfl.runtime.run_clock import RunClock
from p2pfl.transport.broker import EmbeddedBroker, Engine, free_port
from p2pfl.transport.invitation import USER, Invitation, make_certificate, new_password
from p2pfl.transport.manifest import Manifest
from p2pfl.transport.place import new_run_id
from p2pfl.types import NodeId

if TYPE_CHECKING:
    from p2pfl.transport.mqtt import Observer

CHECKPOINTS: Final = "checkpoints"

_STATE: Final = "run.json"
_FAILURES_MAX: Final = 3
"""A broker that ends so often within a short time is not started again."""
_SHORT_S: Final = 30.0
_AGAIN_S: Final = 1.0
_NEAR: Final = {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "::1"}  # noqa: S104 - what to call instead.

_log: Final = logging.getLogger("p2pfl.runtime")


@dataclass(frozen=True, slots=True, kw_only=True)
class HostedRun:
    """A run that this machine serves, as `run.json` has it."""

    run: str
    digest: str
    schema: str
    """Empty: no model was made yet."""
    host: str
    """By which the others reach this machine."""
    bind: str
    port: int
    engine: Engine
    password: str
    began_unix_s: float | None = None
    """When this machine's node first started; None: it has not. The limit counts from then."""


def find_hosted(folder: Path, digest: str) -> HostedRun | None:
    """The newest run of this experiment in `folder` that is not over; None: there is none."""
    files = [file for file in folder.glob(f"*/{_STATE}") if file.is_file()]
    for file in sorted(files, key=lambda each: each.stat().st_mtime, reverse=True):
        try:
            found = HostedRun(**json.loads(file.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError) as problem:
            _log.warning("%s: is not readable, and its run is left alone: %s", file, problem)
            continue
        whole = all((file.parent / name).is_file() for name in ("broker.pem", "broker.key"))
        if found.digest == digest and found.run == file.parent.name and whole:
            return found
    return None


def new_hosted(
    experiment: Experiment, *, host: str, bind: str, port: int, engine: Engine
) -> HostedRun:
    """A run that nobody has heard of yet; port 0: any free one. Raises ConfigError."""
    return HostedRun(
        run=new_run_id(experiment.config.name),
        digest=experiment.digest,
        schema="",
        host=host,
        bind=bind,
        port=port or free_port(bind),
        engine=engine,
        password=new_password(),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """A run that is there for others to join."""

    invitation: Invitation
    """For the others."""
    near: Invitation
    """For this machine itself, which may not reach itself by the name that others use."""
    manifest: Manifest
    certificate: Path
    clock: RunClock
    """To be told when this machine's node starts."""


@asynccontextmanager
async def hosted_run(
    experiment: Experiment,
    hosted: HostedRun,
    *,
    folder: Path,
    names: list[str],
    schema: str,
    waiting: Callable[[int], None],
) -> AsyncIterator[Served]:
    """A broker that other machines reach, with the experiment's run in it.

    When the time of the run is over, all are told, late ones too. At the end the broker stops when
    the others are done, and the run is over. `waiting` is told how many are still there. Broken
    off, the run can be found again. A broker that ends by itself is started again. `names`: of
    this machine, for the certificate.

    Raises:
        ConfigError: the folder cannot be written, another process serves the run from there, or
            this machine's data make another model than before.
        TransportError: the broker cannot start here.
    """
    home = folder / hosted.run
    if hosted.schema not in ("", schema):
        raise ConfigError(
            f"run {hosted.run} learns the model {hosted.schema}, and this machine's data now makes"
            f" {schema}: give the data that it began with, or --new for another run"
        )
    with _held(home):
        now = replace(hosted, schema=schema)
        served, key = await asyncio.to_thread(_served, experiment, now, home, names)
        broker = EmbeddedBroker(
            hosted.engine,
            host=hosted.bind,
            port=hosted.port,
            folder=home / "broker",
            users={USER: hosted.password},
            tls_cert=served.certificate,
            tls_key=key,
        )
        try:
            async with AsyncExitStack() as stack:
                await stack.enter_async_context(broker)
                # Not before: what cannot be served is nothing to go on with.
                await asyncio.to_thread(_remember, home, now)
                observer = await stack.enter_async_context(_published(served))
                group = await stack.enter_async_context(asyncio.TaskGroup())
                attendance = _Attendance()
                tasks = [
                    group.create_task(attendance.follow(observer, served.manifest)),
                    group.create_task(_keep_up(broker)),
                    group.create_task(_keep_time(served, home, now)),
                ]
                try:
                    yield served
                    await attendance.empty(waiting)
                finally:
                    for task in tasks:
                        task.cancel()
        except BaseExceptionGroup as problems:
            fault: BaseException = problems
            while isinstance(fault, BaseExceptionGroup):
                fault = fault.exceptions[0]
            raise fault from None
        finally:
            _never_began(home)
        await asyncio.to_thread(_forget, home)


def _served(
    experiment: Experiment, hosted: HostedRun, home: Path, names: list[str]
) -> tuple[Served, Path]:
    """The run as it is joined, and the broker's key."""
    certificate, key = _certified(home, names)
    der = ssl.PEM_cert_to_DER_cert(certificate.read_text(encoding="ascii"))
    invitation = Invitation(
        host=hosted.host,
        port=hosted.port,
        run=hosted.run,
        password=hosted.password,
        fingerprint=sha256(der).digest(),
    )
    manifest = Manifest(
        run=hosted.run,
        name=experiment.config.name,
        digest=experiment.digest,
        schema=hosted.schema,
        nodes=tuple(experiment.places),
        experiment=config_to_toml(experiment.config),
    )
    near = replace(invitation, host=_NEAR.get(hosted.bind, hosted.bind))
    served = Served(
        invitation=invitation,
        near=near,
        manifest=manifest,
        certificate=certificate,
        clock=RunClock(hosted.began_unix_s, time_s=experiment.config.stop.time_s),
    )
    return served, key


@asynccontextmanager
async def _published(served: Served) -> "AsyncIterator[Observer]":
    """An observer of the run, which is described at its broker."""
    async with _observer(served) as observer:
        await observer.publish_manifest(served.manifest)
        yield observer


def _observer(served: Served) -> "Observer":
    from p2pfl.transport.mqtt import Observer

    near = served.near
    return Observer(near.url, password=near.password, ca_file=served.certificate, pinned=True)


async def _keep_time(served: Served, home: Path, hosted: HostedRun) -> None:
    """Write down when the run began, and say `end` when its time is over."""
    clock = served.clock
    await clock.begun()
    try:
        now = replace(hosted, began_unix_s=clock.began_unix_s)
        await asyncio.to_thread(_remember, home, now)
    except ConfigError as problem:
        _log.warning("when the run began is not kept: %s", problem)
    await clock.over()
    while True:
        try:
            async with _observer(served) as observer:
                await observer.control(hosted.run, "end", "time")
                await observer.describe_run(served.manifest.with_state("ended"))
        except TransportError as problem:  # The broker is being started again.
            _log.warning("the end of the run could not be said yet: %s", problem)
            await asyncio.sleep(_AGAIN_S)
        else:
            return


def _held(home: Path) -> Held:
    try:
        return Held(home / "lock")
    except BlockingIOError:
        raise ConfigError(
            f"{home}: another process serves this run from there: stop it, or give --new for"
            " another run"
        ) from None


def _certified(home: Path, names: list[str]) -> tuple[Path, Path]:
    """The run's certificate and key, which are made once: the token pins them."""
    certificate, key = home / "broker.pem", home / "broker.key"
    if not (certificate.is_file() and key.is_file()):
        with _writable(home):
            certificate, key, _ = make_certificate(home, names)
    return certificate, key


def _remember(home: Path, hosted: HostedRun) -> None:
    """Write down what the run needs to come back."""
    with _writable(home):
        fresh = home / f"{_STATE}.part"
        fresh.touch(mode=0o600)
        fresh.chmod(0o600)
        fresh.write_text(json.dumps(asdict(hosted), indent=1), encoding="utf-8")
        fresh.replace(home / _STATE)


@contextmanager
def _writable(home: Path) -> Iterator[None]:
    try:
        yield
    except OSError as problem:
        raise ConfigError(
            f"--folder {home.parent}: cannot be written: {problem.strerror}; give another"
        ) from None


def _never_began(home: Path) -> None:
    """A run that nobody was told of, and that cannot be gone on with, leaves nothing behind."""
    if not (home / _STATE).is_file() and not (home / CHECKPOINTS).exists():
        shutil.rmtree(home, ignore_errors=True)


def _forget(home: Path) -> None:
    """The run is over: nobody goes on with it, and nobody is let in. Checkpoints stay."""
    for name in (_STATE, "broker.key", "lock"):
        (home / name).unlink(missing_ok=True)
    shutil.rmtree(home / "broker", ignore_errors=True)


async def _keep_up(broker: EmbeddedBroker) -> None:
    """Start the broker again whenever it ends by itself, forever. Raises TransportError."""
    loop, ends = asyncio.get_running_loop(), list[float]()
    while True:
        status = await broker.wait()
        ends = [at_s for at_s in ends if loop.time() - at_s < _SHORT_S] + [loop.time()]
        if len(ends) >= _FAILURES_MAX:
            raise TransportError(
                f"the broker ended {len(ends)} times within {_SHORT_S:.0f} s, the last time with"
                f" status {status}; {broker.folder}/broker.log says more"
            )
        _log.warning("the broker ended with status %d and is started again", status)
        await broker.start()


class _Attendance:
    """Who is there, from what the nodes say of themselves."""

    def __init__(self) -> None:
        self.there: set[NodeId] = set()
        self._changed = asyncio.Event()

    async def follow(self, observer: "Observer", manifest: Manifest) -> None:
        """Listen, forever."""
        async for heard in observer.watch(manifest.run, manifest.nodes):
            if isinstance(heard.what, Presence):
                gone = heard.what.state in (PresenceState.LEFT, PresenceState.LOST)
                if gone:
                    self.there.discard(heard.node)
                elif not heard.retained:
                    # What was retained before may be of one that went while nobody noted it.
                    self.there.add(heard.node)
                self._changed.set()

    async def empty(self, waiting: Callable[[int], None]) -> None:
        """Return when nobody is there any more; `waiting` is told how many still are."""
        told = 0
        while self.there:
            if len(self.there) != told:
                told = len(self.there)
                waiting(told)
            self._changed.clear()
            await self._changed.wait()
