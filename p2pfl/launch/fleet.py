"""All hosts of a run, as the process that starts it sees them: nodes' processes, only elsewhere."""

import asyncio
import signal
from collections.abc import Callable, Coroutine, Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Final, Self

from p2pfl.config.hosts import HostsConfig
from p2pfl.errors import ConfigError, P2pflError, RefusedError, TransportError
from p2pfl.exit_codes import ExitCode
from p2pfl.experiment import Experiment
from p2pfl.launch.assignment import assign
from p2pfl.launch.host import RemoteHost
from p2pfl.runtime.board import Board
from p2pfl.runtime.host_words import CHECKPOINTS, RECORDS, Question
from p2pfl.runtime.jobs import Job, node_of
from p2pfl.transport.broker import EmbeddedBroker
from p2pfl.types import NodeId

START_S: Final = 60.0
"""A host that was there a moment ago starts a node within this."""

STOP_S: Final = 20.0
"""A host that can be reached has stopped its nodes within this."""

AWAY_S: Final = 5.0
"""One that cannot be reached may come back within this."""

EXIT_WAIT_S: Final = 120.0
"""After the word `end`: what a slow or broken link still has to carry, final models too."""

TIDY_S: Final = 30.0

_IN_ORDER: Final = frozenset({ExitCode.DONE, ExitCode.TERMINATED})


class Fleet:
    """Entering checks all hosts and makes them ready; leaving stops what lives there.

    `fleet.afterwards`, then: what is left on which host that somebody should know of.

    Raises:
        ConfigError, RefusedError, TransportError: what is wrong with which hosts, on entering.
    """

    def __init__(
        self,
        experiment: Experiment,
        hosts: HostsConfig,
        files: Mapping[str, bytes],
        *,
        question: Question,
        run: str,
        version: str,
        tell: Callable[[str], None],
        broker: EmbeddedBroker | None = None,
    ) -> None:
        """`broker`: one that is to be there as long as the fleet is."""
        self.ends: asyncio.Queue[tuple[str, int]] = asyncio.Queue()
        self.pids: dict[str, int] = {}
        self.exit_wait_s = EXIT_WAIT_S
        self.afterwards: list[str] = []
        self._experiment = experiment
        self._files, self._question, self._version = files, question, version
        self._tell = tell
        self._broker = broker
        self._notes: list[str] = []
        self._said: dict[NodeId, str] = {}
        self._bring: dict[str, Path] = {}
        self._homes: dict[NodeId, RemoteHost] = {}
        nodes = tuple(experiment.places)
        self.hosts = [
            RemoteHost(
                name,
                hosts.hosts[name],
                own,
                folder=f"{hosts.hosts[name].folder}/{run}-{name}",
                alone_s=hosts.alone_s,
                ended=self._end,
                said=self._hear,
                note=self._notes.append,
            )
            for name, own in assign(hosts, nodes).items()
        ]
        self._homes = {node: host for host in self.hosts for node in host.nodes}
        self._alone_s = hosts.alone_s

    def __repr__(self) -> str:
        return f"Fleet({', '.join(f'{key}: {pid}' for key, pid in self.pids.items())})"

    @property
    def all_have_ended(self) -> bool:
        """Whether no node lives, and all ends have been heard of."""
        return not self.pids and self.ends.empty()

    async def __aenter__(self) -> Self:
        """Check all hosts, side by side; only when all are well, start something there."""
        try:
            if self._broker is not None:
                await self._broker.start()
            digest = self._experiment.digest
            await _all_of(
                host.check(self._files, self._question, version=self._version, digest=digest)
                for host in self.hosts
            )
            for host in self.hosts:
                self._tell(
                    f"host {host.name} ({host.shell.address}): p2pfl {self._version}, broker and"
                    f" data are there; it runs {', '.join(host.nodes)}"
                )
            await _all_of(host.begin() for host in self.hosts)
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Stop all that runs, fetch what is kept, and tidy up."""
        faults = await asyncio.gather(
            *(self._leave(host) for host in self.hosts), return_exceptions=True
        )
        await asyncio.gather(*(host.close() for host in self.hosts), return_exceptions=True)
        if self._broker is not None:
            await self._broker.stop()
        for fault in faults:
            if isinstance(fault, BaseException) and not isinstance(fault, P2pflError):
                raise fault

    def reaches(self, key: str) -> bool:
        """Whether it lives on a host that is there now."""
        return key in self.pids and self._homes[node_of(key)].there

    async def score(self, job: Job) -> float | None:
        """None: the machine that launches needs neither torch nor data."""
        del job
        return None

    def warm(self, job: Job) -> None:
        """Let every host load what its nodes will need."""
        for host in self.hosts:
            plain = _plain(replace(job, node=host.nodes[0]))
            host.command({"warm": plain})

    async def start(self, job: Job) -> int:
        """Start a node's process where it lives; its pid there."""
        host = self._homes[NodeId(job.node)]
        for path, folder in ((job.record, RECORDS), (job.checkpoints, CHECKPOINTS)):
            if path:
                self._bring[folder] = Path(path)
        if job.since_s is not None:
            # How long ago, for the other machine's clock is another.
            job = replace(job, since_s=asyncio.get_running_loop().time() - job.since_s)
        try:
            async with asyncio.timeout(START_S):
                pid = await host.start(job)
        except TimeoutError:
            raise TransportError(
                f"host {host.name}: it did not start {job.node} within {START_S:.0f} s"
            ) from None
        if job.key not in host.statuses:
            self.pids[job.key] = pid
        return pid

    def kill(self, key: str, number: int = signal.SIGKILL) -> None:
        """Send a signal to one life's process, if it lives and as soon as its host is there."""
        self._homes[node_of(key)].command({"signal": key, "number": int(number)})

    def annotate(self, board: Board) -> None:
        """Put on the board where each node lives, what it has logged last, and what went wrong."""
        for node, host in self._homes.items():
            board.standings[node].host = host.name
        for node, line in self._said.items():
            board.standings[node].said = line
        board.notes += self._notes
        self._notes.clear()

    # ------------------------------------------------------------ one host's end

    async def _leave(self, host: RemoteHost) -> None:
        if not host.begun and not host.shell.connected:
            return
        if host.begun:
            host.command({"stop": True})
            try:
                async with asyncio.timeout(STOP_S if host.there else AWAY_S):
                    await host.over.wait()
            except TimeoutError:
                self.afterwards.append(
                    f"host {host.name} cannot be reached: what runs there"
                    f" ({', '.join(host.nodes)}) hears of the end from the broker, or stops by"
                    f" itself after {self._alone_s:.0f} s without a word; look into {host.folder}"
                )
                return
        with suppress(TransportError, TimeoutError):
            async with asyncio.timeout(TIDY_S):
                try:
                    await self._bring_home(host)
                except TransportError:
                    # The connection may have broken with the last conversation.
                    await host.shell.connect()
                    await self._bring_home(host)
                return
        self.afterwards.append(f"host {host.name} keeps {host.folder}: it could not be tidied up")

    async def _bring_home(self, host: RemoteHost) -> None:
        """Fetch what is kept; remove the run's folder there unless something failed."""
        for folder, into in self._bring.items():
            await host.shell.fetch(f"{host.folder}/{folder}", "*", into)
        if any(status not in _IN_ORDER for status in host.statuses.values()):
            self.afterwards.append(f"host {host.name} keeps {host.folder}, with logs to look into")
        elif host.shell.connected:
            await host.shell.remove(host.folder)

    def _end(self, key: str, status: int) -> None:
        self.pids.pop(key, None)
        self.ends.put_nowait((key, status))

    def _hear(self, key: str, line: str) -> None:
        self._said[node_of(key)] = line


def _plain(job: Job) -> dict[str, object]:
    from dataclasses import asdict

    return {**asdict(job), "experiment": {}}


async def _all_of(works: Iterable[Coroutine[object, object, None]]) -> None:
    """Do all side by side; what went wrong, of all of them, in one error."""
    found = await asyncio.gather(*works, return_exceptions=True)
    faults = [each for each in found if isinstance(each, BaseException)]
    for fault in faults:
        if not isinstance(fault, P2pflError):
            raise fault
    if not faults:
        return
    sentence = "; ".join(dict.fromkeys(map(str, faults)))
    for kind in (RefusedError, TransportError):
        if all(isinstance(fault, kind) for fault in faults):
            raise kind(sentence)
    raise ConfigError(sentence)
