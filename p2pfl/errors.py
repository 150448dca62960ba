"""What can go wrong, split by whose fault it is.

P2pflError
├── ConfigError     the user's: names the file, the key, what was found and what is allowed
├── DataError       the data's: a missing, torn or empty data set
├── ProtocolError   a peer's: the frame is counted by reason and dropped, the node goes on
├── CrashError      a node's process crashed: a fault of p2pfl's, or of the user's own code
└── TransportError  the network's: retried with backoff; told once, and once more when it is over
    └── RefusedError    the broker or the run refuses this node for good: no retry
        └── PlaceTakenError   another process has this node's place; another place may be free

A programmer's error is an assert and crashes.
"""


class P2pflError(Exception):
    """The root of every error that p2pfl raises on purpose."""


class ConfigError(P2pflError):
    """The user's input is wrong; the sentence says where, what was found and what is allowed."""


class DataError(P2pflError):
    """A data set is missing, torn, empty or of the wrong shape."""


class ProtocolError(P2pflError):
    """A peer sent what the protocol forbids; `reason` is the short key it is counted under."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason


class CrashError(P2pflError):
    """A node's process crashed; `trace` is the traceback that it left, or the end of its log."""

    def __init__(self, sentence: str, trace: str = "") -> None:
        super().__init__(sentence)
        self.trace = trace


class TransportError(P2pflError):
    """The network or the broker failed; trying again may help."""


class RefusedError(TransportError):
    """The broker or the run refuses this node (password, identity, digest); do not try again."""


class PlaceTakenError(RefusedError):
    """A living process has this node's place in the run."""
