"""One host of a run: checked, started, followed over broken connections, and stopped."""

import asyncio
import json
import signal
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final

from p2pfl.config.hosts import HostConfig
from p2pfl.errors import ConfigError, P2pflError, RefusedError, TransportError
from p2pfl.launch.commands import outpost_words, relay_words, survey_words, version_words
from p2pfl.launch.ssh import Shell, told
from p2pfl.runtime.host_words import NODES, Answer, Orders, Question, from_text, to_text
from p2pfl.runtime.jobs import Job
from p2pfl.runtime.relay import NOBODY
from p2pfl.types import NodeId

ALIVE_S: Final = 5.0
"""The host's outpost hears from us at least so often."""

RETRY_MAX_S: Final = 5.0
"""Between two attempts to reach a host again."""

Ended = Callable[[str, int], None]
Said = Callable[[str, str], None]


class RemoteHost:
    """The nodes of one host. Its connection may break and come back; commands are never lost."""

    def __init__(
        self,
        name: str,
        host: HostConfig,
        nodes: Sequence[NodeId],
        *,
        folder: str,
        alone_s: float,
        ended: Ended,
        said: Said,
        note: Callable[[str], None],
    ) -> None:
        self.name = name
        self.host = host
        self.nodes = tuple(nodes)
        self.shell = Shell(name, host)
        self.folder = folder
        self.pids: dict[str, int] = {}
        self.statuses: dict[str, int] = {}
        self.over = asyncio.Event()
        """Nothing of ours runs there any more."""
        self.begun = False
        self._alone_s = alone_s
        self._ended, self._said, self._note = ended, said, note
        self._works: dict[str, Path] = {}
        self._started: dict[str, asyncio.Future[int]] = {}
        self._commands: list[dict[str, object]] = []
        self._news = asyncio.Event()
        self._there = asyncio.Event()
        self._seen = 0
        self._told = 0
        self._tasks: set[asyncio.Task[None]] = set()

    def __repr__(self) -> str:
        return f"<RemoteHost {self.name}: {', '.join(self.nodes)}>"

    # ------------------------------------------------------------ before the start

    async def check(
        self, files: Mapping[str, bytes], question: Question, *, version: str, digest: str
    ) -> None:
        """See that all is there that nodes need.

        Raises:
            ConfigError, RefusedError, TransportError: the first thing that is missing.
        """
        name = self.name
        await self.shell.connect()
        try:
            found = (await self.shell.run(version_words(self.host))).split()[-1:]
        except TransportError as problem:
            if "No module named" not in str(problem):
                raise
            raise ConfigError(
                f"host {name}: {self.host.python} there has no p2pfl: install p2pfl-gossip"
                f" {version}, or give `python` in the hosts file"
            ) from None
        if found != [version]:
            raise ConfigError(
                f"host {name}: it has p2pfl {' '.join(found)}, and this machine {version}: install"
                " the same version"
            )
        self.folder = await self.shell.put(dict(files), self.folder)
        asked = replace(question, nodes=self.nodes, data=self.host.data)
        words = survey_words(self.host, self.folder)
        answer = from_text(Answer, await self.shell.run(words, given=to_text(asked)))
        if answer.experiment:
            raise ConfigError(f"host {name}: it cannot read the experiment: {answer.experiment}")
        if answer.digest != digest:
            raise ConfigError(
                f"host {name}: the experiment has digest {answer.digest} there and {digest} here:"
                " install the very same p2pfl on both"
            )
        if answer.broker:
            raise TransportError(
                f"host {name}: it cannot use the broker {question.url}: {answer.broker}"
            )
        if answer.data:
            raise ConfigError(
                f"host {name}: its data: {answer.data}; give `data` for it in the hosts file"
            )

    async def begin(self) -> None:
        """Start the outpost there, and follow it from now on. Raises TransportError."""
        orders = Orders(
            nodes=self.nodes, alone_s=self._alone_s, data=self.host.data, device=self.host.device
        )
        await self.shell.run(outpost_words(self.host, self.folder), given=to_text(orders))
        self.begun = True
        self._spawn(self._follow(), "follow")

    # ------------------------------------------------------------ commands

    async def start(self, job: Job) -> int:
        """Start a node's process there; its pid."""
        self._works[job.key] = Path(job.work)
        started = self._started[job.key] = asyncio.get_running_loop().create_future()
        self.command({"start": {**asdict(job), "experiment": {}}})
        return int(await started)

    def command(self, words: dict[str, object]) -> None:
        """Say this, now or when the host can be reached again."""
        self._commands.append(words)
        self._news.set()

    @property
    def there(self) -> bool:
        """Whether it can be reached, as far as is known."""
        return self._there.is_set() and not self.over.is_set()

    async def until_there(self) -> None:
        """Wait until it can be reached, or is over."""
        await self._there.wait()

    async def close(self) -> None:
        """Let go of the host; what runs there goes on."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.shell.close()

    # ------------------------------------------------------------ following

    async def _follow(self) -> None:
        """Talk with the outpost, again and again, until it is over."""
        pause_s, broken = 0.2, False
        while not self.over.is_set():
            why = ""
            try:
                if broken:
                    await self.shell.connect()
                    self._note(f"host {self.name} can be reached again")
                broken, pause_s = False, 0.2
                with told(self.shell):
                    await self._converse()
            except P2pflError as problem:
                why = str(problem)
            self._there.clear()
            if self.over.is_set():
                break
            if not broken and (why or pause_s > 1.0):
                self._note(
                    f"{why or f'host {self.name}: no answer'}; its nodes go on, trying again"
                )
            broken = True
            await asyncio.sleep(pause_s)
            pause_s = min(2.0 * pause_s, RETRY_MAX_S)
        self._there.set()

    async def _converse(self) -> None:
        """One conversation, until it breaks off."""
        async with self.shell.talk(relay_words(self.host, self.folder)) as line:
            line.stdin.write(_line({"seen": self._seen}))
            first = await line.stdout.readline()
            if not first:
                await line.wait_closed()
                if line.exit_status == NOBODY:
                    self._all_gone()
                return
            self._told = int(json.loads(first)["obeyed"])
            self._there.set()
            speaker = self._spawn(self._speak(line.stdin), "speak")
            try:
                while not self.over.is_set():
                    said = await line.stdout.readline()
                    if not said.endswith(b"\n"):
                        return
                    self._hear(json.loads(said))
            finally:
                speaker.cancel()

    async def _speak(self, stdin: Any) -> None:  # noqa: ANN401 - the library's stream
        """Say what was not said yet, and every few seconds that we are there."""
        with suppress(OSError):
            while True:
                self._news.clear()
                while self._told < len(self._commands):
                    stdin.write(_line(self._commands[self._told]))
                    self._told += 1
                with suppress(TimeoutError):
                    async with asyncio.timeout(ALIVE_S):
                        await self._news.wait()
                        continue
                stdin.write(_line({}))

    def _hear(self, words: Mapping[str, Any]) -> None:
        if "log" in words:
            self._said(str(words["log"]), str(words["line"]))
            return
        self._seen += 1
        if "started" in words:
            key = words["started"]
            self.pids[key] = int(words["pid"])
            waiting = self._started.pop(key, None)
            if waiting is not None and not waiting.done():
                waiting.set_result(int(words["pid"]))
        elif "ended" in words:
            self._spawn(self._bring(str(words["ended"]), int(words["status"])), "bring")
        elif "over" in words:
            self.over.set()

    async def _bring(self, key: str, status: int) -> None:
        """Fetch what a life left behind, then tell of its end."""
        while True:
            await self.until_there()
            try:
                await self.shell.fetch(f"{self.folder}/{NODES}", f"{key}.*", self._works[key])
                break
            except RefusedError:
                break
            except TransportError:
                if self.over.is_set():
                    break
                await asyncio.sleep(RETRY_MAX_S)
        self._end(key, status)

    def _all_gone(self) -> None:
        """The host was restarted, or somebody killed the outpost: and the nodes went with it."""
        self._note(f"host {self.name}: what started its nodes there is gone, and they with it")
        self.over.set()
        for key in list(self.pids):
            self._end(key, -signal.SIGKILL)

    def _end(self, key: str, status: int) -> None:
        self.statuses[key] = status
        self.pids.pop(key, None)
        self._ended(key, status)

    def _spawn(self, work: Any, what: str) -> asyncio.Task[None]:  # noqa: ANN401 - any coroutine
        task: asyncio.Task[None] = asyncio.create_task(work, name=f"p2pfl {what} {self.name}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def _line(words: Mapping[str, object]) -> bytes:
    return json.dumps(words).encode() + b"\n"
