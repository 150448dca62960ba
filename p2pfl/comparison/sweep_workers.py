"""Who runs the cells of a sweep: processes of this machine, each one run at a time."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Lock, Thread
from types import TracebackType
from typing import IO, Final, Protocol, Self

from p2pfl.comparison.sweep_cell import CellResult, CellTask, result_from_object, task_to_line
from p2pfl.errors import DataError

_STOP_S: Final = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class UnderWay:
    """So much of a cell is done, from 0 to 1."""

    key: str
    share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """A cell has its result."""

    key: str
    result: CellResult


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """A cell came to nothing: the reason in a sentence, and where it arose, if known."""

    key: str
    sentence: str
    details: str = ""


News = UnderWay | Done | Failed


class Workers(Protocol):
    """What runs cells: a context in which `run` may be called once."""

    def __enter__(self) -> Self:
        """Make ready."""
        ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End all that still runs, at once."""
        ...

    def run(self, tasks: Sequence[CellTask]) -> Iterator[News]:
        """Run them, in order as far as there is room; each ends in one `Done` or `Failed`."""
        ...


def news_of(key: str, answer: str) -> News:
    """What a worker's line of JSON says of this cell."""
    found = json.loads(answer)
    if "share" in found:
        return UnderWay(key=key, share=float(found["share"]))
    if "failure" in found:
        return Failed(key=key, sentence=found["failure"], details=found["details"])
    return Done(key=key, result=result_from_object(found["result"], where=key))


def cores() -> int:
    """How many processors this process may use."""
    with suppress(AttributeError):  # Only Linux says which of them are ours.
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class LocalWorkers:
    """Processes of this machine, one thread each; one that dies fails its cell and is replaced.

    A worker ends by itself when this process dies, however that happens. What workers print goes
    to `log`.
    """

    def __init__(self, jobs: int | None = None, *, log: Path | None = None) -> None:
        self.jobs = jobs if jobs is not None else cores()
        self._log = log
        self._lock = Lock()
        self._alive: set[subprocess.Popen[str]] = set()
        self._closed = False

    def __repr__(self) -> str:
        return f"LocalWorkers({self.jobs} jobs, {len(self._alive)} alive)"

    def __enter__(self) -> Self:
        """Nothing is started before there is work."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Kill what still runs: its results are not wanted any more."""
        with self._lock:
            self._closed = True
            alive = list(self._alive)
        for process in alive:
            process.kill()

    @property
    def pids(self) -> tuple[int, ...]:
        """The living workers."""
        with self._lock:
            return tuple(process.pid for process in self._alive)

    def run(self, tasks: Sequence[CellTask]) -> Iterator[News]:
        """Run them all; news arrive in the order in which things happen."""
        waiting: SimpleQueue[CellTask] = SimpleQueue()
        news: SimpleQueue[News] = SimpleQueue()
        for task in tasks:
            waiting.put(task)
        threads = [
            Thread(target=self._employ, args=(waiting, news), name=f"sweep {place}", daemon=True)
            for place in range(min(self.jobs, len(tasks)))
        ]
        for thread in threads:
            thread.start()
        left = len(tasks)
        while left:
            each = news.get()
            left -= not isinstance(each, UnderWay)
            yield each
        for thread in threads:
            thread.join()

    def _employ(self, waiting: "SimpleQueue[CellTask]", news: "SimpleQueue[News]") -> None:
        """Keep one worker busy until nothing waits."""
        process: subprocess.Popen[str] | None = None
        while True:
            try:
                task = waiting.get_nowait()
            except Empty:
                break
            try:
                process = process if process is not None else self._start()
            except OSError as error:
                news.put(Failed(key=task.key, sentence=f"no process can be started: {error}"))
                continue
            if process is None:
                return
            if not _ask(process, task, news):
                status = self._end(process)
                news.put(Failed(key=task.key, sentence=_death(status)))
                process = None
        if process is not None:
            self._end(process)

    def _start(self) -> "subprocess.Popen[str] | None":
        """A new worker; None once all is over."""
        with self._lock:
            if self._closed:
                return None
            stream: IO[str] | None = None if self._log is None else self._log.open("a")
            try:
                process = subprocess.Popen(
                    [sys.executable, "-m", "p2pfl.comparison.sweep_worker"],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=stream,
                    text=True,
                    encoding="utf-8",
                    # Runs side by side: a pool of threads in each would fight for the cores.
                    env={**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1",
                         "OPENBLAS_NUM_THREADS": "1"},
                    # Ctrl-C reaches the parent alone, which ends its workers.
                    start_new_session=True,
                )  # fmt: skip
            finally:
                if stream is not None:
                    stream.close()
            self._alive.add(process)
            return process

    def _end(self, process: "subprocess.Popen[str]") -> int:
        """Close the worker's pipes, on which it ends, and wait for it."""
        assert process.stdin is not None
        assert process.stdout is not None
        with suppress(OSError):
            process.stdin.close()
        try:
            status = process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            status = process.wait()
        process.stdout.close()
        with self._lock:
            self._alive.discard(process)
        return status


def _ask(process: "subprocess.Popen[str]", task: CellTask, news: "SimpleQueue[News]") -> bool:
    """Hand a task over and pass on what the worker says of it; False: the worker died over it."""
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(f"{task_to_line(task)}\n")
        process.stdin.flush()
        for line in process.stdout:
            each = news_of(task.key, line)
            news.put(each)
            if not isinstance(each, UnderWay):
                return True
    except (OSError, ValueError, DataError):  # The last two: half a line is no answer.
        return False
    return False


def _death(status: int) -> str:
    if status >= 0:
        return f"its process ended with status {status}; workers.log may say why"
    try:
        name = signal.Signals(-status).name
    except ValueError:
        name = f"signal {-status}"
    hint = " (out of memory? try fewer --jobs)" if -status == signal.SIGKILL else ""
    return f"its process was ended by {name}{hint}"
