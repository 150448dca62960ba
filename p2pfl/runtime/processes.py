"""The node processes as the starting process sees them: start, signal, and hear of their end."""

import asyncio
import json
import os
import signal
import sys
from contextlib import suppress
from typing import Final, Protocol, Self

from p2pfl.errors import TransportError
from p2pfl.runtime.average import read_accuracy
from p2pfl.runtime.jobs import Job

EXIT_WAIT_S: Final = 30.0
"""After the word `end`: a last training and a last evaluation, and the models' way to disk."""

SCORE_S: Final = 20.0
"""A model that is not scored by then has no accuracy."""

_STOP_S: Final = 8.0
_LINE_BYTES: Final = 1 << 20


class NodeProcesses(Protocol):
    """Where nodes' processes live: on this machine, or on others.

    Entering makes ready; leaving ends all that lives. Keys are those of lives.
    """

    ends: asyncio.Queue[tuple[str, int]]
    """(key, exit status; negative: the signal), once what the life left behind is here."""
    pids: dict[str, int]
    """The living processes."""
    exit_wait_s: float
    """So long after the word `end` a process may still live."""

    @property
    def all_have_ended(self) -> bool:
        """Whether none lives, and all ends have been heard of."""
        ...

    async def __aenter__(self) -> Self:
        """Make ready."""
        ...

    async def __aexit__(self, *exc: object) -> None:
        """End all."""
        ...

    def reaches(self, key: str) -> bool:
        """Whether a signal would get to this life's process now."""
        ...

    def warm(self, job: Job) -> None:
        """Load what jobs like this one will need."""
        ...

    async def start(self, job: Job) -> int:
        """Start a node's process; its pid."""
        ...

    async def score(self, job: Job) -> float | None:
        """The accuracy of the job's model; None where that cannot be had here, or has none."""
        ...

    def kill(self, key: str, number: int = signal.SIGKILL) -> None:
        """Send a signal to one life's process, if it lives."""
        ...


class Processes:
    """Entering starts the nursery; leaving ends it with all that live in it.

    `ends` yields (key of the life, exit status; negative: the signal) as processes end.
    """

    def __init__(self) -> None:
        self.ends: asyncio.Queue[tuple[str, int]] = asyncio.Queue()
        self.pids: dict[str, int] = {}
        """The living processes, by the key of their life."""
        self.exit_wait_s = EXIT_WAIT_S
        self._nursery: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None
        self._started: dict[str, asyncio.Future[int]] = {}
        self._scoring: dict[str, asyncio.Event] = {}

    def __repr__(self) -> str:
        return f"Processes({', '.join(f'{key}: {pid}' for key, pid in self.pids.items())})"

    @property
    def all_have_ended(self) -> bool:
        """Whether none lives, and all ends have been heard of."""
        return not self.pids and self.ends.empty()

    async def __aenter__(self) -> Self:
        """Start the nursery."""
        self._nursery = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "p2pfl.runtime.nursery",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            # One thread a node: eight nodes with a pool each would fight for the cores.
            env={"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"} | dict(os.environ),
            # A session of its own: Ctrl-C reaches the parent alone, which ends all in order.
            start_new_session=True,
            limit=_LINE_BYTES,
        )
        self._reader = asyncio.create_task(self._read(), name="p2pfl nursery")
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Close the pipe: the nursery ends its children, then itself."""
        nursery, self._nursery = self._nursery, None
        assert nursery is not None
        assert nursery.stdin is not None
        nursery.stdin.close()
        try:
            await asyncio.wait_for(nursery.wait(), _STOP_S)
        except TimeoutError:
            nursery.kill()
            await nursery.wait()
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.gather(self._reader, return_exceptions=True)

    def reaches(self, key: str) -> bool:
        """Whether it lives."""
        return key in self.pids

    def warm(self, job: Job) -> None:
        """Load what jobs like this one will need."""
        self._say({"warm": json.loads(job.encode())})

    async def start(self, job: Job) -> int:
        """Start a node's process; its pid."""
        started = asyncio.get_running_loop().create_future()
        self._started[job.key] = started
        self._say({"start": json.loads(job.encode())})
        return int(await started)

    async def score(self, job: Job) -> float | None:
        """The accuracy of the job's model, from a process of its own; None: it came to nothing."""
        ended = self._scoring[job.key] = asyncio.Event()
        with suppress(TimeoutError):
            async with asyncio.timeout(SCORE_S):
                await self.start(job)
                await ended.wait()
        self.kill(job.key)
        return read_accuracy(job)

    def kill(self, key: str, number: int = signal.SIGKILL) -> None:
        """Send a signal to one life's process, if it lives."""
        self._say({"signal": key, "number": int(number)})

    def _say(self, command: dict[str, object]) -> None:
        assert self._nursery is not None
        assert self._nursery.stdin is not None
        with suppress(ConnectionError):  # The reader tells that the nursery is gone.
            self._nursery.stdin.write(json.dumps(command).encode() + b"\n")

    async def _read(self) -> None:
        assert self._nursery is not None
        assert self._nursery.stdout is not None
        while line := await self._nursery.stdout.readline():
            answer = json.loads(line)
            if "started" in answer:
                key = answer["started"]
                self.pids[key] = answer["pid"]
                self._started.pop(key).set_result(answer["pid"])
            else:
                self._bury(answer["ended"], answer["status"])
        for future in self._started.values():
            future.set_exception(TransportError("the process that starts the nodes has ended"))
        for key in list(self.pids):
            self._bury(key, -signal.SIGKILL)

    def _bury(self, key: str, status: int) -> None:
        self.pids.pop(key, None)
        scoring = self._scoring.pop(key, None)
        if scoring is None:
            self.ends.put_nowait((key, status))
        else:
            scoring.set()
