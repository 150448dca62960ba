"""How p2pfl's processes end: one code for each answer to the question who must do something.

An orchestrator restarts after 1, 3 and 143, and leaves 2 and 4 alone: trying again would not help.
"""

from enum import IntEnum

from p2pfl.errors import ConfigError, DataError, P2pflError, RefusedError, TransportError


class ExitCode(IntEnum):
    """The exit codes of the command `p2pfl` and of each node's process."""

    DONE = 0
    CRASHED = 1
    """p2pfl's own fault, or that of the user's own model or data code: there is a traceback."""
    USER = 2
    """The user's to mend: wrong usage, a wrong file, missing or torn data."""
    NETWORK = 3
    """The broker cannot be reached, or ended: trying again may help."""
    REFUSED = 4
    """The broker or the run does not let in: password, certificate, name, experiment."""
    PARTLY_FAILED = 5
    """It went through, but some of its nodes or runs failed; the rest is written down."""
    DIFFERS = 6
    """What was checked is not as expected: a replay, a reproduction, a node that is not well."""
    INTERRUPTED = 130
    """Ctrl-C: 128 + SIGINT, as shells have it."""
    TERMINATED = 143
    """Told to stop by SIGTERM: it took its leave in order."""


def code_of(error: P2pflError) -> ExitCode:
    """The code of a process that this error ends."""
    if isinstance(error, RefusedError):
        return ExitCode.REFUSED
    if isinstance(error, TransportError):
        return ExitCode.NETWORK
    if isinstance(error, ConfigError | DataError):
        return ExitCode.USER
    return ExitCode.CRASHED
