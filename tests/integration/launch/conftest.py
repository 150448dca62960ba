"""An SSH server on this machine."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

SERVER = Path(__file__).parents[2] / "support" / "ssh_server.py"


@dataclass
class Loopback:
    """Where the server is, and what a hosts file says of it."""

    folder: Path
    port: int
    process: "subprocess.Popen[str]"

    def cut(self) -> None:
        """Break all connections."""
        self.process.send_signal(signal.SIGUSR1)

    @property
    def table(self) -> dict[str, object]:
        return {
            "address": "127.0.0.1",
            "port": self.port,
            "key": str(self.folder / "user"),
            "known_hosts": str(self.folder / "known_hosts"),
        }


@pytest.fixture
def loopback(tmp_path: Path) -> Iterator[Loopback]:
    """One server whose logins begin in a folder of the test's."""
    words = [sys.executable, str(SERVER), str(tmp_path)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield Loopback(tmp_path, int(process.stdout.readline()), process)
        process.kill()
