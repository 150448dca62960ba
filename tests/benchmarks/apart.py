"""A measurement in a process of its own: its memory is its own, and so is what it leaves behind."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from time import monotonic
from typing import Final

import psutil

LOOK_S: Final = 0.5
"""So often the memory of a family of processes is looked at."""

ONE_THREAD: Final = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
}


class FailedError(Exception):
    """It came to nothing; the message is its reason in one line."""


def measure_apart(
    command: Sequence[str],
    *,
    timeout_s: float,
    environment: Mapping[str, str] | None = None,
) -> dict[str, float]:
    """The JSON object in the last line that the command prints, and `family_mib`.

    `family_mib` is the largest sum over the process and its descendants, memory that they share
    counted once (PSS); what lives for less than `LOOK_S` may be missed.

    Raises:
        FailedError: it failed, took too long, or answered nothing.
    """
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        process = subprocess.Popen(
            command, stdout=out, stderr=err, env={**os.environ, **ONE_THREAD, **(environment or {})}
        )
        family: set[psutil.Process] = set()
        peak, until_s = 0.0, monotonic() + timeout_s
        try:
            while process.poll() is None:
                family |= _family(process.pid)
                peak = max(peak, _memory_mib(family))
                if monotonic() > until_s:
                    raise FailedError(f"was not done after {timeout_s:.0f} s")
                with suppress(subprocess.TimeoutExpired):
                    process.wait(LOOK_S)
        finally:
            # Nothing that it started outlives it, whatever happened.
            for each in family:
                with suppress(psutil.Error):
                    each.kill()
            process.wait()
        out.seek(0)
        err.seek(0)
        lines, told = out.read().strip().splitlines(), err.read().strip().splitlines()
    if process.returncode != 0 or not lines:
        raise FailedError((told or lines or [f"status {process.returncode}"])[-1])
    try:
        answer: dict[str, float] = json.loads(lines[-1])
    except ValueError as error:
        raise FailedError(f"answered {lines[-1][:80]!r}") from error
    return {**answer, "family_mib": peak}


def this_script(*words: str) -> list[str]:
    """The command that starts the running script anew, with these words."""
    return [sys.executable, str(Path(sys.argv[0]).resolve()), *words]


def _family(pid: int) -> set[psutil.Process]:
    with suppress(psutil.Error):
        parent = psutil.Process(pid)
        return {parent, *parent.children(recursive=True)}
    return set()


def _memory_mib(family: set[psutil.Process]) -> float:
    total = 0
    for each in family:
        with suppress(psutil.Error):
            total += each.memory_full_info().pss
    return total / 2**20
