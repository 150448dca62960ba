"""A small process that loads what is heavy once, and forks a node's process for every job.

`python -m p2pfl.runtime.nursery`; reads lines of JSON on stdin, writes lines of JSON on stdout:

    {"warm": job}                     ->  load what this experiment needs
    {"start": job}                    ->  {"started": key, "pid": ...},
                                          and later {"ended": key, "status": ...}
    {"signal": key, "number": ...}    ->  send a signal to that process
    end of file                       ->  end all children, and itself

It has one thread and no event loop of its own, so that forking is safe. Where the system is not
Linux, a child is a fresh interpreter instead.
"""

import contextlib
import ctypes
import json
import os
import selectors
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

from p2pfl.runtime.jobs import Job, log_file, read_job

_GRACE_S: Final = 3.0
_POLL_S: Final = 0.05
_PR_SET_PDEATHSIG: Final = 1
_FORKS: Final = sys.platform.startswith("linux")


class Nursery:
    """The children, and the two pipes to the parent."""

    def __init__(self, commands: int, answers: int) -> None:
        self._commands = commands
        self._answers = answers
        self._pids: dict[int, str] = {}
        self._folders: set[str] = set()
        self._rest = b""

    def run(self) -> None:
        """Serve until the parent closes its end."""
        wake_read, wake_write = os.pipe()
        os.set_blocking(wake_write, False)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, _nothing)
        with selectors.DefaultSelector() as selector:
            selector.register(self._commands, selectors.EVENT_READ)
            selector.register(wake_read, selectors.EVENT_READ)
            while True:
                ready = {key.fd for key, _ in selector.select()}
                if wake_read in ready:
                    os.read(wake_read, 4096)
                    self._reap()
                if self._commands in ready and not self._read():
                    break
        self._end_all()
        # The parent has read what it wants, or was killed and cannot tidy up.
        for folder in self._folders:
            shutil.rmtree(folder, ignore_errors=True)

    def _read(self) -> bool:
        data = os.read(self._commands, 1 << 16)
        if not data:
            return False
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._obey(json.loads(line))
        return True

    def _obey(self, command: dict[str, object]) -> None:
        if "warm" in command:
            _warm(read_job(json.dumps(command["warm"])))
        elif "start" in command:
            job = read_job(json.dumps(command["start"]))
            if not job.stays:
                self._folders.add(job.work)
            pid = self._fork(job) if _FORKS else _spawn(job)
            self._pids[pid] = job.key
            self._tell({"started": job.key, "pid": pid})
        else:
            for pid, key in self._pids.items():
                if key == command["signal"]:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, int(str(command["number"])))

    def _fork(self, job: Job) -> int:
        nursery = os.getpid()
        pid = os.fork()
        if pid:
            return pid
        status = 1
        try:
            _die_with(nursery)
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os.close(self._commands)
            os.close(self._answers)
            _redirect(job)
            status = _live(job)
        finally:
            # Never the nursery's own way out: no atexit, no waiting for a training thread.
            os._exit(status)
        raise AssertionError

    def _reap(self) -> None:
        while self._pids:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            key = self._pids.pop(pid, None)
            if key is not None:
                self._tell({"ended": key, "status": os.waitstatus_to_exitcode(status)})

    def _end_all(self) -> None:
        for number in (signal.SIGTERM, signal.SIGKILL):
            for pid in self._pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)
            until_s = time.monotonic() + _GRACE_S
            while self._pids and time.monotonic() < until_s:
                self._reap()
                time.sleep(_POLL_S)

    def _tell(self, answer: dict[str, object]) -> None:
        with contextlib.suppress(BrokenPipeError):
            os.write(self._answers, json.dumps(answer).encode() + b"\n")


def _warm(job: Job) -> None:
    """Import what the children will need, by making a trainer once; they tell of what is wrong.

    A user's own modules are left to the children: they may start threads.
    """
    import p2pfl.runtime.process
    import p2pfl.transport.mqtt

    if job.experiment.get("runtime", {}).get("device", "cpu") != "cpu":
        # A process that has used CUDA cannot fork children that use it.
        import p2pfl.learning.loop_trainer

        return
    kinds = (str(job.experiment[part]["kind"]) for part in ("data", "model"))
    if any(":" in kind for kind in kinds):
        import p2pfl.learning.loop_trainer  # noqa: F401 - the same.

        return
    with contextlib.suppress(Exception):
        experiment = job.load_experiment()
        experiment.make_trainer(only=experiment.learners[:1])


def _live(job: Job) -> int:
    from p2pfl.runtime.process import main

    status = main(job)
    sys.stdout.flush()
    sys.stderr.flush()
    return status


def _redirect(job: Job) -> None:
    """Nothing in, everything out into this life's log."""
    nowhere = os.open(os.devnull, os.O_RDONLY)
    log = os.open(log_file(Path(job.work), job.key), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(nowhere, 0)
    os.dup2(log, 1)
    os.dup2(log, 2)


def _die_with(nursery: int) -> None:
    """Ask the system for SIGKILL when the nursery dies: no orphans, whatever happens."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != nursery:
        os._exit(1)


def _spawn(job: Job) -> int:
    with log_file(Path(job.work), job.key).open("ab") as log:
        child = subprocess.Popen(
            [sys.executable, "-m", "p2pfl.runtime.nursery", "child"],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
        )
    assert child.stdin is not None
    child.stdin.write(job.encode().encode())
    child.stdin.close()
    return child.pid


def _nothing(number: int, frame: object) -> None:
    """SIGCHLD only has to wake the selector."""


def main() -> int:
    """The nursery, or (with the word `child`, where there is no fork) one node's process."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("MKL_NUM_THREADS", "1")
    if sys.argv[1:] == ["child"]:
        return _live(read_job(sys.stdin.read()))
    # The answers keep their pipe; whatever a library prints goes to stderr.
    answers = os.dup(1)
    os.dup2(2, 1)
    commands = os.dup(0)
    Nursery(commands, answers).run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
