"""An SSH server on this machine that really runs commands: python ssh_server.py FOLDER.

It makes its keys in the folder, prints its port, and breaks all connections when it gets SIGUSR1.
"""

import asyncio
import contextlib
import os
import signal
import sys
from pathlib import Path
from typing import Any

import asyncssh

ROOT = Path(__file__).parents[2]

connections: "set[asyncssh.SSHServerConnection]" = set()


class Server(asyncssh.SSHServer):
    """Remembers its connections."""

    def connection_made(self, conn: "asyncssh.SSHServerConnection") -> None:
        connections.add(conn)


async def run(process: "asyncssh.SSHServerProcess[bytes]") -> None:
    """Run one command, joined to its channel."""
    child = await asyncio.create_subprocess_shell(
        process.command or "true",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    # The library's own way to join them breaks the connection where a child does not read.
    feeding = asyncio.create_task(pump(process.stdin, child.stdin))
    await asyncio.gather(pump(child.stdout, process.stdout), pump(child.stderr, process.stderr))
    feeding.cancel()
    with contextlib.suppress(OSError, asyncssh.Error):
        process.exit(await child.wait())


async def pump(reader: Any, writer: Any) -> None:  # noqa: ANN401 - a process's streams or a channel's
    """Copy until the end of either; the end of input is handed on."""
    try:
        with contextlib.suppress(OSError, asyncssh.Error):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
    finally:
        if isinstance(writer, asyncio.StreamWriter):
            writer.close()


def make_keys(folder: Path) -> None:
    """The server's, a user's, and a stranger's."""
    for name in ("host", "user", "stranger"):
        key = asyncssh.generate_private_key("ssh-ed25519")
        key.write_private_key(str(folder / name))
        key.write_public_key(str(folder / f"{name}.pub"))


def cut() -> None:
    """Break all connections."""
    for connection in connections:
        connection.abort()
    connections.clear()


async def serve(folder: Path) -> None:
    """Serve until killed; logins begin in the folder's `home`."""
    server = await asyncssh.create_server(
        Server,
        "127.0.0.1",
        0,
        server_host_keys=[str(folder / "host")],
        authorized_client_keys=str(folder / "user.pub"),
        process_factory=run,
        sftp_factory=True,
        encoding=None,
    )
    port = server.get_port()
    public = (folder / "host.pub").read_text()
    known = folder / "known_hosts"
    known.write_text(f"[127.0.0.1]:{port} {public}")
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, cut)
    sys.stdout.write(f"{port}\n")
    sys.stdout.flush()
    await server.wait_closed()


if __name__ == "__main__":
    where = Path(sys.argv[1])
    make_keys(where)
    (where / "home").mkdir()
    os.chdir(where / "home")
    asyncio.run(serve(where))
