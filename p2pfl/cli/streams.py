"""Standard output and error that stop no work: their reader has gone, their disk is full."""

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TextIO, cast

_GONE: Final = (errno.EPIPE, errno.EBADF)


class Lasting:
    """A stream whose writer never hears of its faults; what it does not take is lost."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __repr__(self) -> str:
        return f"Lasting({self._stream!r})"

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever the stream has
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """As the stream does, while it can."""
        try:
            return self._stream.write(text)
        except OSError as problem:
            self._note(problem)
            return len(text)

    def flush(self) -> None:
        """As the stream does, while it can. A full disk may have room again later."""
        try:
            self._stream.flush()
        except OSError as problem:
            self._note(problem)

    def settle(self) -> None:
        """Flush for the last time: the interpreter must find nothing that it cannot write."""
        try:
            self._stream.flush()
        except OSError:
            _lead_nowhere(self._stream)

    def _note(self, problem: OSError) -> None:
        if problem.errno in _GONE:
            _lead_nowhere(self._stream)


@contextmanager
def lasting_streams() -> Iterator[None]:
    """Within, standard output and error are such streams."""
    _fill_descriptors()
    before = sys.stdout, sys.stderr
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere:
        # Where a descriptor was closed before the start, Python has None here.
        made = [Lasting(cast("TextIO | None", stream) or nowhere) for stream in before]
        sys.stdout, sys.stderr = (cast("TextIO", each) for each in made)
        try:
            yield
        finally:
            for each in made:
                each.settle()
            sys.stdout, sys.stderr = before


def _fill_descriptors() -> None:
    """Where 0, 1 or 2 was closed before the start, a socket would get that number."""
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # The lowest free number.


def _lead_nowhere(stream: TextIO) -> None:
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, stream.fileno())
    finally:
        os.close(nowhere)
