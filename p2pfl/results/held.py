"""One process at a time: whoever writes beside a file holds it locked."""

import os
import sys
from pathlib import Path
from typing import Final, Self

if sys.platform != "win32":
    import fcntl

_PRIVATE: Final = 0o600


class Held:
    """A file that this process holds from now on, until `release` or until it ends, however.

    Where the disk takes no file, or its system knows no locks, nothing is held and nobody refused.

    Raises:
        BlockingIOError: another process holds it.
    """

    def __init__(self, file: Path) -> None:
        self._handle: int | None = None
        if sys.platform == "win32":
            return
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            handle = os.open(file, os.O_RDWR | os.O_CREAT, _PRIVATE)
        except OSError:
            return
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            raise
        except OSError:
            os.close(handle)
            return
        self._handle = handle

    def __repr__(self) -> str:
        return f"<Held: {self._handle}>"

    def __enter__(self) -> Self:
        """Held already."""
        return self

    def __exit__(self, *exc: object) -> None:
        """Let go."""
        self.release()

    def release(self) -> None:
        """Let another process have it; once is enough."""
        handle, self._handle = self._handle, None
        if handle is not None:
            os.close(handle)
