"""How many threads a node's process may use, so that those of one machine do not fight for cores.

Every process of a node holds a locked file in one folder of the machine; who wants its share counts
the locks. A process that dies, however, drops its lock.
"""

import contextlib
import os
import tempfile
from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import Final, Literal, Self

try:
    import fcntl
except ImportError:  # Not on Windows: there every process believes that it is alone.
    fcntl = None  # type: ignore[assignment]

Wanted = int | Literal["auto"]

_COUNT_EVERY_S: Final = 2.0
_QUOTA: Final = Path("/sys/fs/cgroup/cpu.max")


def cores_here(quota: Path = _QUOTA) -> int:
    """The cores that this process may use: by its affinity, and by its container's quota."""
    allowed = getattr(os, "sched_getaffinity", None)
    cores = len(allowed(0)) if allowed is not None else os.cpu_count() or 1
    with contextlib.suppress(OSError, ValueError):
        limit, period = quota.read_text().split()
        cores = min(cores, max(1, int(limit) // int(period)))
    return cores


class CoreShare:
    """This process's part of the machine, while it is entered.

    `threads()` is the number wanted, or with "auto" the cores divided by the node processes of this
    user on this machine, at least one.
    """

    def __init__(
        self, wanted: Wanted, *, cores: int | None = None, folder: Path | None = None
    ) -> None:
        user = os.getuid() if hasattr(os, "getuid") else 0
        self._wanted = wanted
        self._cores = cores_here() if cores is None else cores
        self._folder = folder or Path(tempfile.gettempdir()) / f"p2pfl-nodes-{user}"
        self._file: Path | None = None
        self._lock: int | None = None
        self._count = 1
        self._counted_s = -_COUNT_EVERY_S

    def __enter__(self) -> Self:
        """Be counted by the others. Where the folder cannot be written, nobody is."""
        if fcntl is not None:
            with contextlib.suppress(OSError):
                self._folder.mkdir(mode=0o700, exist_ok=True)
                self._lock, name = tempfile.mkstemp(dir=self._folder, prefix=".new-")
                fcntl.flock(self._lock, fcntl.LOCK_EX)
                # Locked before it has its name, so that nobody takes it for a dead one's.
                self._file = Path(name).rename(self._folder / Path(name).name.lstrip("."))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        fault: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Be counted no more."""
        if self._file is not None:
            self._file.unlink(missing_ok=True)
        if self._lock is not None:
            os.close(self._lock)
        self._file = self._lock = None

    def threads(self) -> int:
        """How many threads this process is to use now."""
        if self._wanted != "auto":
            return self._wanted
        now_s = monotonic()
        if now_s - self._counted_s >= _COUNT_EVERY_S:
            self._count, self._counted_s = self._others() + 1, now_s
        return max(1, self._cores // self._count)

    def _others(self) -> int:
        if self._file is None or fcntl is None:
            return 0
        with contextlib.suppress(OSError):
            return sum(_lives(file) for file in self._folder.glob("new-*") if file != self._file)
        return 0


def _lives(file: Path) -> bool:
    """Whether somebody holds the lock; a dead one's file is tidied away."""
    try:
        handle = os.open(file, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    else:
        file.unlink(missing_ok=True)
        return False
    finally:
        os.close(handle)
