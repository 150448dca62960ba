"""Nodes' processes on a machine that was told by SSH to start them: they outlive the connection.

`python -m p2pfl.runtime.outpost FOLDER` reads its orders from standard input, leaves for the
background once it listens, and serves lines of JSON on a socket in its folder:

    {"seen": n}                     first line: what the other side knows of `events` already
                                    ->  {"obeyed": m}, how many commands were obeyed, and the rest
    {"warm": job} {"start": job} {"signal": key, "number": ...} {"stop": true}
                                    commands, counted; {} only says that somebody is there
    ->  {"started": key, "pid": ...} {"ended": key, "status": ...} {"over": true}     the events
    ->  {"log": key, "line": ...}   what a node has logged, while somebody listens

Without a word for `alone_s` seconds, its nodes are asked to leave, and it ends.
"""

import asyncio
import contextlib
import json
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from p2pfl.config.load import load_config
from p2pfl.config.write import config_to_mapping
from p2pfl.runtime.host_words import (
    CA_FILE,
    CHECKPOINTS,
    EXPERIMENT,
    NODES,
    RECORDS,
    Orders,
    from_text,
)
from p2pfl.runtime.jobs import Job, log_file, read_job
from p2pfl.runtime.processes import Processes
from p2pfl.runtime.relay import SOCKET

LEAVE_S: Final = 10.0
"""Nodes that are asked to leave write a checkpoint and say goodbye."""

LOG: Final = "outpost.log"

_LOOK_S: Final = 0.5
_LINES_MAX: Final = 20
_CHARACTERS_MAX: Final = 300
_LOG_BYTES: Final = 1 << 16
_LINE_BYTES: Final = 1 << 22

_log: Final = logging.getLogger("p2pfl.runtime")


class Outpost:
    """The nodes' processes of one host in one run, and what the launching machine says of them."""

    def __init__(self, folder: Path, orders: Orders) -> None:
        self.folder = folder
        self.orders = orders
        self.events: list[dict[str, object]] = []
        self.obeyed = 0
        self._processes = Processes()
        config = load_config(folder / EXPERIMENT)
        if orders.device:
            config = replace(config, runtime=replace(config.runtime, device=orders.device))
        self._experiment = config_to_mapping(config)
        self._clients: set[asyncio.StreamWriter] = set()
        self._logs: dict[str, int] = {}
        """Life's key -> how far its log has been told."""
        self._heard_s = 0.0
        self._stop = asyncio.Event()
        self._empty = asyncio.Event()
        """No node lives, and all ends are told."""
        self._empty.set()

    async def serve(self, ready: Callable[[], None]) -> None:
        """Obey until told to stop, or left alone; `ready` is called once somebody may connect."""
        loop = asyncio.get_running_loop()
        self._heard_s = loop.time()
        (self.folder / NODES).mkdir(exist_ok=True)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        async with self._processes:
            server = await asyncio.start_unix_server(
                self._meet, sock=_socket(self.folder), limit=_LINE_BYTES
            )
            ready()
            watchers = [
                asyncio.create_task(self._tell_ends(), name="outpost ends"),
                asyncio.create_task(self._look(), name="outpost look"),
            ]
            try:
                await self._stop.wait()
                await self._ask_to_leave()
            finally:
                server.close()
                for task in watchers:
                    task.cancel()
        for key in self._processes.pids:
            self._tell({"ended": key, "status": -signal.SIGKILL})
        self._tell({"over": True})
        for writer in self._clients:
            with contextlib.suppress(OSError):
                await writer.drain()
            writer.close()

    async def _meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Listen to one client until it goes; the outpost stays."""
        try:
            hello = json.loads(await reader.readline())
            _write(writer, {"obeyed": self.obeyed})
            for event in self.events[int(hello["seen"]) :]:
                _write(writer, event)
            self._clients.add(writer)
            while line := await reader.readline():
                self._heard_s = asyncio.get_running_loop().time()
                await self._obey(json.loads(line))
        except (OSError, ValueError, KeyError) as problem:
            _log.warning("a connection ended: %r", problem)
        except asyncio.CancelledError:
            _log.info("a connection ends with the outpost")
        finally:
            self._clients.discard(writer)
            writer.close()

    async def _obey(self, command: dict[str, Any]) -> None:
        self.obeyed += bool(command)
        if "warm" in command:
            self._processes.warm(self._job(command["warm"]))
        elif "start" in command:
            job = self._job(command["start"])
            self._empty.clear()
            pid = await self._processes.start(job)
            self._logs[job.key] = 0
            self._tell({"started": job.key, "pid": pid})
        elif "signal" in command:
            self._processes.kill(command["signal"], int(command["number"]))
        elif "stop" in command:
            self._stop.set()

    def _job(self, plain: dict[str, object]) -> Job:
        """A job from elsewhere, with this machine's own folders, data and clock."""
        job, folder = read_job(json.dumps(plain)), self.folder
        ca_file = folder / CA_FILE
        now = asyncio.get_running_loop().time()
        return replace(
            job,
            experiment=self._experiment,
            folder=str(folder),
            work=str(folder / NODES),
            ca_file=str(ca_file) if ca_file.exists() else "",
            record=str(folder / RECORDS) if job.record else "",
            checkpoints=str(folder / CHECKPOINTS) if job.checkpoints else "",
            # On the way it says how long ago the run began: no two machines share a clock.
            since_s=None if job.since_s is None else now - job.since_s,
            data=self.orders.data,
            among=self.orders.nodes,
            stays=True,
        )

    async def _tell_ends(self) -> None:
        while True:
            key, status = await self._processes.ends.get()
            self._look_at_log(key)
            self._tell({"ended": key, "status": status})
            if self._processes.all_have_ended:
                self._empty.set()

    async def _look(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(_LOOK_S)
            for key in self._logs if self._clients else ():
                self._look_at_log(key)
            if loop.time() - self._heard_s > self.orders.alone_s:
                _log.warning("not a word for %.0f s: the nodes are stopped", self.orders.alone_s)
                self._stop.set()

    def _look_at_log(self, key: str) -> None:
        """Tell what is new in a node's log: whole lines, the last few of them."""
        file, told = log_file(self.folder / NODES, key), self._logs.get(key, 0)
        with contextlib.suppress(OSError), file.open("rb") as stream:
            stream.seek(max(told, file.stat().st_size - _LOG_BYTES))
            data = stream.read(_LOG_BYTES)
            whole = data.rfind(b"\n") + 1
            self._logs[key] = stream.tell() - len(data) + whole
            for line in data[:whole].decode(errors="replace").splitlines()[-_LINES_MAX:]:
                for writer in self._clients:
                    _write(writer, {"log": key, "line": line[:_CHARACTERS_MAX]})

    async def _ask_to_leave(self) -> None:
        """SIGTERM to all, and wait a little: who leaves in order keeps a checkpoint."""
        for key in self._processes.pids:
            self._processes.kill(key, signal.SIGTERM)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LEAVE_S):
                await self._empty.wait()

    def _tell(self, event: dict[str, object]) -> None:
        self.events.append(event)
        for writer in self._clients:
            _write(writer, event)


def _socket(folder: Path) -> socket.socket:
    """A socket in the folder, for its owner alone."""
    os.chdir(folder)  # Its address has at most 107 bytes; the folder's path may be longer.
    Path(SOCKET).unlink(missing_ok=True)
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    mask = os.umask(0o077)
    try:
        made.bind(SOCKET)
    finally:
        os.umask(mask)
    return made


def _write(writer: asyncio.StreamWriter, words: dict[str, object]) -> None:
    with contextlib.suppress(OSError):
        writer.write(json.dumps(words).encode() + b"\n")


def main() -> int:
    """Leave for the background; the exit code comes when the outpost listens."""
    folder = Path(sys.argv[1]).resolve()
    orders = from_text(Orders, sys.stdin.readline())
    hear, say = os.pipe()
    if os.fork():
        os.close(say)
        if os.read(hear, 1):
            return 0
        sys.stderr.write((folder / LOG).read_text(errors="replace"))
        return 1
    # A session of its own: what ends the connection's processes does not reach this one.
    os.setsid()
    os.close(hear)
    _redirect(folder / LOG)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")

    def ready() -> None:
        os.write(say, b".")
        os.close(say)

    asyncio.run(Outpost(folder, orders).serve(ready))
    return 0


def _redirect(file: Path) -> None:
    nowhere = os.open(os.devnull, os.O_RDONLY)
    log = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(nowhere, 0)
    os.dup2(log, 1)
    os.dup2(log, 2)


if __name__ == "__main__":
    sys.exit(main())
