"""Standard input and output joined to an outpost's socket: `python -m p2pfl.runtime.relay FOLDER`.

What runs at the far end of an SSH connection. It ends with the connection, or when nothing came in
for a minute, for a broken connection may look like a silent one; the outpost goes on.
"""

import os
import selectors
import socket
import sys
from typing import Final

SOCKET: Final = "outpost.sock"
"""In the outpost's folder."""

SILENT_S: Final = 60.0
NOBODY: Final = 3
"""The exit code where no outpost listens."""

_BYTES: Final = 1 << 16


def relay(folder: str, *, silent_s: float = SILENT_S) -> int:
    """Copy both ways until one side ends; the exit code."""
    os.chdir(folder)  # A socket's address has at most 107 bytes; a folder's path may be longer.
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
        try:
            line.connect(SOCKET)
        except OSError:
            return NOBODY
        with selectors.DefaultSelector() as selector:
            selector.register(0, selectors.EVENT_READ)
            selector.register(line, selectors.EVENT_READ)
            while ready := {key.fd for key, _ in selector.select(silent_s)}:
                if line.fileno() in ready:
                    data = line.recv(_BYTES)
                    if not data:
                        return 0
                    _write(data)
                if 0 in ready:
                    data = os.read(0, _BYTES)
                    if not data:
                        return 0
                    line.sendall(data)
    return 0


def _write(data: bytes) -> None:
    while data:
        data = data[os.write(1, data) :]


if __name__ == "__main__":
    sys.exit(relay(sys.argv[1]))
