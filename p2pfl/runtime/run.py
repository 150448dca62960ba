"""One experiment for real, from this machine: a process per node, over an MQTT broker.

broker -> manifest -> processes -> all have joined -> `go` -> ... -> `end` -> final models
"""

import asyncio
import contextlib
import signal
import tempfile
from collections.abc import Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

from p2pfl.config.schema import CrashConfig
from p2pfl.config.write import config_to_mapping, config_to_toml
from p2pfl.errors import TransportError
from p2pfl.exit_codes import ExitCode
from p2pfl.experiment import Experiment
from p2pfl.messages import ModelMessage
from p2pfl.results.record import RunResult
from p2pfl.runtime.average import write_mean
from p2pfl.runtime.board import FAILED, LOST, STARTING, Board
from p2pfl.runtime.jobs import Job, node_of, read_fault, read_legacy
from p2pfl.runtime.processes import NodeProcesses, Processes
from p2pfl.runtime.recorder import check_recordable
from p2pfl.transport.broker import EmbeddedBroker, Engine
from p2pfl.transport.manifest import Manifest
from p2pfl.transport.words import Head, Word
from p2pfl.types import NodeId

if TYPE_CHECKING:
    from p2pfl.transport.mqtt import Observer

Watcher = Callable[[Board], None]
"""Shown the run's state about twice a second."""

START_WAIT_S: Final = 120.0
TIME_GRACE_S: Final = 10.0
"""So long after the time limit the end is said even to nodes that do not tell they are done."""

BREAK_OFF_WAIT_S: Final = 15.0
"""After the word `end`, where somebody waits for his terminal."""

SAY_WAIT_S: Final = 30.0
"""A broker that is away when a word is to be said may come back."""

_LOOK_S: Final = 0.5
_TIDY_S: Final = 5.0


class RealRun:
    """A run on its way. Entering returns after the go; leaving ends every process.

    `finish` waits for the end. Meanwhile nodes may be killed and started again. Raises ConfigError
    where `record` is given and the experiment names another device than the CPU.
    """

    def __init__(
        self,
        experiment: Experiment,
        *,
        broker_url: str | None = None,
        engine: Engine | None = None,
        password: str | None = None,
        ca_file: str | None = None,
        watcher: Watcher | None = None,
        record: Path | None = None,
        checkpoints: Path | None = None,
        processes: NodeProcesses | None = None,
    ) -> None:
        if record is not None and processes is None:
            check_recordable(experiment.config.runtime)
        config = experiment.config.broker
        self.experiment = experiment
        self.board = Board(experiment)
        self.processes: NodeProcesses = processes or Processes()
        self.url = broker_url or config.url
        self._engine: Engine = engine or config.engine
        self._password = password
        self._ca_file = ca_file or config.ca_file or None
        self._watcher = watcher
        self._record = record
        self._checkpoints = checkpoints
        self._broker: EmbeddedBroker | None = None
        self._work = Path(tempfile.gettempdir())
        self._manifest: Manifest | None = None
        self._lives: dict[NodeId, int] = {}
        self._ended_in_order: set[NodeId] = set()
        self._expected: set[NodeId] = set()
        """Nodes that crash because the experiment says so."""
        self._returns = 0
        self._changed = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._begun_s = perf_counter()
        self._go_s: float | None = None
        self._cleanup = contextlib.AsyncExitStack()

    def __repr__(self) -> str:
        return f"<RealRun {self.board.run} at {self.url}: {self.processes!r}>"

    async def __aenter__(self) -> Self:
        """Start everything, wait until all nodes have joined, and give the go."""
        try:
            await self._start()
        except BaseException as fault:
            await self.__aexit__(type(fault), fault, None)
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        fault: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End what still lives: told first, then terminated, then killed."""
        if kind is not None and self.processes.pids and self._manifest is not None:
            with contextlib.suppress(TransportError, TimeoutError):
                async with asyncio.timeout(2.0):
                    await self._say_once("end", "interrupted")
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._cleanup.__aexit__(kind, fault, trace)

    async def finish(self) -> RunResult:
        """Wait for the run's end, say so to all, and gather what they leave behind."""
        assert self._go_s is not None
        time_s = self.experiment.config.stop.time_s
        try:
            async with asyncio.timeout(None if time_s is None else time_s + TIME_GRACE_S):
                await self._until(lambda: self.board.all_are_done and not self._returns)
        except TimeoutError:
            self.board.notes.append("some nodes did not tell that their time was over")
        return await self._end("finished", self.processes.exit_wait_s)

    async def break_off(self) -> RunResult:
        """End it now; what it has come to so far."""
        self.board.notes.append(f"broken off at {self._since_go_s():.1f} s")
        return await self._end("interrupted", BREAK_OFF_WAIT_S)

    async def _end(self, reason: str, wait_s: float) -> RunResult:
        duration_s, time_s = self._since_go_s(), self.experiment.config.stop.time_s
        if time_s is not None:
            duration_s = min(duration_s, time_s)
        await self._say("end", reason)
        patient = reason == "finished"

        def waited_enough() -> bool:
            lives = self.processes
            hopeless = bool(lives.pids) and not any(map(lives.reaches, lives.pids))
            return lives.all_have_ended or (hopeless and not patient)

        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                await self._until(waited_enough)
        if not self._kill_the_rest():
            await self._tidy()
        if reason == "finished":
            await self._score_average()
        self._look()
        return self.board.result(duration_s=duration_s, wall_s=perf_counter() - self._begun_s)

    async def _score_average(self) -> None:
        """Score the mean of the final models, where they know an accuracy."""
        heirs = self.board.heirs
        if heirs and all(one.accuracy is not None for one in heirs.values()):
            mean = write_mean(self._work, [one.public for one in heirs.values()])
            job = replace(self._job(next(iter(heirs)), 0), model=str(mean))
            self.board.accuracy_average_model = await self.processes.score(job)

    def _kill_the_rest(self) -> bool:
        """Kill who did not end; whether some cannot be reached, and must still find the end."""
        unreached = False
        for key in list(self.processes.pids):
            where = self.board.standings[node_of(key)].where
            if self.processes.reaches(key):
                self.processes.kill(key)
                self.board.notes.append(f"{where} did not end by itself and was killed")
            else:
                unreached = True
                self.board.notes.append(f"{where} cannot be reached: its end is not known")
        return unreached

    async def start_node(self, node: str) -> int:
        """Start a node's process (again); its pid."""
        name = self.experiment.place(node).node
        life = self._lives[name] = self._lives.get(name, 0) + 1
        if life > 1:
            self.board.revive(name, self._since_go_s())
        return await self.processes.start(self._job(name, life))

    def kill_node(self, node: str, number: int = signal.SIGKILL) -> None:
        """Send a signal to a node's process."""
        name = self.experiment.place(node).node
        self.processes.kill(f"{name}-{self._lives[name]}", number)

    # ------------------------------------------------------------ beginning

    async def _start(self) -> None:
        experiment = self.experiment
        work = tempfile.TemporaryDirectory(prefix="p2pfl-run-", ignore_cleanup_errors=True)
        self._work = Path(self._cleanup.enter_context(work))
        await self._cleanup.enter_async_context(self.processes)
        names = list(experiment.places)
        # Importing takes longer than all else: let it run beside the start of the broker.
        self.processes.warm(self._job(names[0], 0))
        if not self.url:
            self._broker = EmbeddedBroker(self._engine, folder=self._work / "broker")
            await self._cleanup.enter_async_context(self._broker)
            self.url = self._broker.url
        await self._create_run()
        self._tasks = [
            asyncio.create_task(self._watch(), name="p2pfl watch"),
            asyncio.create_task(self._mourn(), name="p2pfl processes"),
            asyncio.create_task(self._show(), name="p2pfl table"),
        ]
        for name in names:
            await self._guarded(self.start_node(name))
        try:
            async with asyncio.timeout(START_WAIT_S):
                await self._until(lambda: self.board.all_are_there)
        except TimeoutError:
            late = [n for n, s in self.board.standings.items() if s.phase == STARTING]
            raise TransportError(
                f"{', '.join(late)} did not join within {START_WAIT_S:.0f} s"
            ) from None
        await self._say("go")
        self._go_s = asyncio.get_running_loop().time()
        self._tasks += [
            asyncio.create_task(self._crash(fault), name=f"p2pfl crash {fault.node}")
            for fault in experiment.config.faults.crash
            if fault.node in experiment.places
        ]

    async def _create_run(self) -> None:
        from p2pfl.transport.place import new_run_id

        experiment = self.experiment
        name = experiment.config.name
        self._manifest = Manifest(
            run=new_run_id(name),
            name=name,
            digest=experiment.digest,
            nodes=tuple(experiment.places),
            experiment=config_to_toml(experiment.config),
        )
        self.board.run, self.board.url = self._manifest.run, self.url
        async with self._observer() as observer:
            await observer.publish_manifest(self._manifest)

    def _job(self, node: NodeId, life: int) -> Job:
        return Job(
            node=node,
            life=life,
            run=self._manifest.run if self._manifest is not None else "",
            url=self.url,
            experiment=config_to_mapping(self.experiment.config),
            folder=str(self.experiment.folder.resolve()),
            work=str(self._work),
            password=self._password,
            ca_file=self._ca_file or "",
            record="" if self._record is None else str(self._record.resolve()),
            checkpoints="" if self._checkpoints is None else str(self._checkpoints.resolve()),
            since_s=self._go_s,
        )

    # ------------------------------------------------------------ what happens meanwhile

    async def _watch(self) -> None:
        """Hear what the nodes say."""
        assert self._manifest is not None
        async with self._observer() as observer:
            async for heard in observer.watch(self._manifest.run, self._manifest.nodes):
                if isinstance(heard.what, ModelMessage):
                    self.board.see(heard.node, heard.what.vector)
                elif not isinstance(heard.what, Head):
                    self.board.hear(heard.node, heard.what)
                    self._changed.set()

    async def _mourn(self) -> None:
        """Hear of processes that end."""
        while True:
            key, status = await self.processes.ends.get()
            node = node_of(key)
            legacy = read_legacy(self._work, key)
            if legacy is not None and status == 0:
                self.board.standings[node].legacy = legacy
            else:
                self._lose(node, key, status)
            self._changed.set()

    def _lose(self, node: NodeId, key: str, status: int) -> None:
        fault, where = read_fault(self._work, key), self.board.standings[node].where
        if self._go_s is None:
            raise fault.error(where, f"it ended with {status}")
        at_s, trace = self._since_go_s(), fault.trace
        if status < 0:
            name = signal.Signals(-status).name
            why = "as the experiment says" if node in self._expected else f"by {name}"
            note, phase = f"{where} was killed {why} at {at_s:.1f} s", LOST
            trace *= -status not in (signal.SIGKILL, signal.SIGTERM)
        elif status == ExitCode.TERMINATED:
            note, phase = f"{where} was told to leave at {at_s:.1f} s (SIGTERM)", LOST
        else:
            note, phase = f"{where} failed at {at_s:.1f} s: {fault.sentence or status}", FAILED
        self.board.lose(node, at_s, phase=phase, note=note, trace=trace)

    async def _crash(self, fault: CrashConfig) -> None:
        """Do for real what the experiment says of a node's crash."""
        node = NodeId(fault.node)
        self._returns += fault.restart_s is not None
        await asyncio.sleep(fault.at_s - self._since_go_s())
        self._expected.add(node)
        self.kill_node(node)
        if fault.restart_s is not None:
            await asyncio.sleep(fault.restart_s - self._since_go_s())
            await self.start_node(node)
            self._returns -= 1

    async def _show(self) -> None:
        while True:
            self.board.now_s = self._since_go_s()
            self.board.measure(self.board.now_s)
            self._look()
            await asyncio.sleep(_LOOK_S)

    def _look(self) -> None:
        if self._watcher is not None:
            self._watcher(self.board)

    async def _until(self, condition: Callable[[], bool]) -> None:
        """Wait until something is so; a background task that dies ends the waiting."""
        while not condition():
            self._changed.clear()
            changed = asyncio.create_task(self._changed.wait(), name="p2pfl changed")
            try:
                await asyncio.wait([changed, *self._tasks], return_when=asyncio.FIRST_COMPLETED)
            finally:
                changed.cancel()
            self._raise_faults()

    async def _guarded(self, coroutine: Coroutine[object, object, object]) -> None:
        """Do this unless a background task has died."""
        self._raise_faults()
        await coroutine

    def _raise_faults(self) -> None:
        for task in list(self._tasks):
            if task.done():
                self._tasks.remove(task)
                task.result()

    def _since_go_s(self) -> float:
        return 0.0 if self._go_s is None else asyncio.get_running_loop().time() - self._go_s

    # ------------------------------------------------------------ words, and tidying up

    async def _say(self, word: Word, reason: str = "") -> None:
        """Say a word to all nodes, though the broker be away for a while."""
        until_s = asyncio.get_running_loop().time() + SAY_WAIT_S
        while True:
            try:
                return await self._say_once(word, reason)
            except TransportError:
                if asyncio.get_running_loop().time() > until_s:
                    raise
                await asyncio.sleep(_LOOK_S)

    async def _say_once(self, word: Word, reason: str) -> None:
        assert self._manifest is not None
        async with self._observer() as observer:
            await observer.control(self._manifest.run, word, reason)

    async def _tidy(self) -> None:
        """Clear what the broker retains of this run; an embedded one goes with all it has."""
        if self._broker is not None or self._manifest is None:
            return
        with contextlib.suppress(TransportError, TimeoutError):
            async with asyncio.timeout(_TIDY_S), self._observer() as observer:
                await observer.clear_run(self._manifest)

    def _observer(self) -> "Observer":
        from p2pfl.transport.mqtt import Observer

        return Observer(self.url, password=self._password, ca_file=self._ca_file)
