"""One host over SSH: commands, files, and errors that name the host and what to do."""

import asyncio
import contextlib
import shlex
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Final

from p2pfl.config.hosts import HostConfig
from p2pfl.errors import ConfigError, P2pflError, RefusedError, TransportError

if TYPE_CHECKING:
    import asyncssh

CONNECT_S: Final = 15.0
KEEPALIVE_S: Final = 5.0
KEEPALIVES_MAX: Final = 3
"""A connection that answers none of so many is broken."""

_LINE_BYTES: Final = 1 << 22
_NOT_FOUND: Final = 127
_SHOWN_CHARACTERS: Final = 300


class Shell:
    """A connection to one host. `connect` may be called again when it broke."""

    def __init__(self, name: str, host: HostConfig) -> None:
        self.name = name
        self.host = host
        self._connection: asyncssh.SSHClientConnection | None = None

    def __repr__(self) -> str:
        return f"<Shell on {self.name} ({self.address})>"

    @property
    def address(self) -> str:
        """As a person would give it to ssh."""
        user = f"{self.host.user}@" if self.host.user else ""
        port = "" if self.host.port == 22 else f":{self.host.port}"  # noqa: PLR2004 - ssh's own.
        return f"{user}{self.host.address}{port}"

    @property
    def connected(self) -> bool:
        """Whether it was, and is not known to be broken."""
        return self._connection is not None and not self._connection.is_closed()

    async def connect(self) -> None:
        """Connect, once.

        Raises:
            RefusedError: the host's key is not known, or it does not let the user in.
            TransportError: it cannot be reached.
            ConfigError: the key or known_hosts cannot be read, or asyncssh is not installed.
        """
        await self.close()
        with told(self):
            self._connection = await _library().connect(
                self.host.address, self.host.port, **_options(self.host)
            )

    async def close(self) -> None:
        """Disconnect."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
            with contextlib.suppress(OSError, TimeoutError):
                await connection.wait_closed()

    async def run(self, words: Sequence[str], *, given: str = "") -> str:
        """Run a program to its end; what it printed.

        Raises:
            ConfigError: it is not there.
            TransportError: it failed, with its last line; or the connection broke.
        """
        with told(self):
            done = await self._open.run(shlex.join(words), input=given, check=False)
        output, complaint = str(done.stdout or ""), str(done.stderr or "").strip()
        if done.exit_status == _NOT_FOUND:
            raise ConfigError(
                f"host {self.name}: there is no {words[0]}; give `python` in the hosts file"
            )
        if done.exit_status != 0:
            last = (
                complaint.splitlines()[-1][:_SHOWN_CHARACTERS] if complaint else "it said nothing"
            )
            raise TransportError(f"host {self.name}: {shlex.join(words)} failed: {last}")
        return output

    @asynccontextmanager
    async def talk(self, words: Sequence[str]) -> AsyncIterator["asyncssh.SSHClientProcess[bytes]"]:
        """A program whose input and output stay open. Raises TransportError."""
        with told(self):
            process = await self._open.create_process(shlex.join(words), encoding=None)
        try:
            yield process
        finally:
            process.close()

    async def put(self, files: dict[str, bytes], folder: str) -> str:
        """Write small files into a new folder of the host; its absolute path. SFTP.

        Raises:
            ConfigError: it cannot be written.
            TransportError: the connection broke.
        """
        with told(self):
            async with self._open.start_sftp_client() as sftp:
                try:
                    await sftp.makedirs(folder, exist_ok=True)
                    await sftp.chmod(folder, 0o700)
                    for name, content in files.items():
                        async with sftp.open(f"{folder}/{name}", "wb") as stream:
                            await stream.write(content)
                    return str(await sftp.realpath(folder))
                except _refusals() as problem:
                    raise ConfigError(
                        f"host {self.name}: cannot write into {folder} there:"
                        f" {_sentence(problem)}; make room, or give another `folder` in the hosts"
                        " file"
                    ) from None

    async def fetch(self, folder: str, pattern: str, into: Path) -> list[Path]:
        """Copy the files there that match into a folder here; those that came. SFTP.

        Raises:
            TransportError: the connection broke.
        """
        found = []
        await asyncio.to_thread(into.mkdir, parents=True, exist_ok=True)
        with told(self):
            async with self._open.start_sftp_client() as sftp:
                for source in await _matching(sftp, f"{folder}/{pattern}"):
                    target = into / PurePosixPath(source).name
                    await sftp.get(source, str(target))
                    found.append(target)
        return found

    async def remove(self, folder: str) -> None:
        """Remove a folder of the host with all that is in it. Raises TransportError."""
        with told(self):
            async with self._open.start_sftp_client() as sftp:
                await sftp.rmtree(folder, ignore_errors=True)

    @property
    def _open(self) -> "asyncssh.SSHClientConnection":
        if self._connection is None:
            raise TransportError(f"host {self.name}: there is no connection")
        return self._connection


def _refusals() -> tuple[type[Exception], ...]:
    """What a host's disk says to a file, while the connection is well."""
    import asyncssh

    return (
        asyncssh.SFTPFailure,
        asyncssh.SFTPNoSuchFile,
        asyncssh.SFTPNoSuchPath,
        asyncssh.SFTPNotADirectory,
        asyncssh.SFTPPermissionDenied,
        asyncssh.SFTPNoSpaceOnFilesystem,
        asyncssh.SFTPQuotaExceeded,
        asyncssh.SFTPWriteProtect,
        asyncssh.SFTPFileAlreadyExists,
    )


async def _matching(sftp: "asyncssh.SFTPClient", pattern: str) -> list[str]:
    import asyncssh

    try:
        return [str(each) for each in await sftp.glob(pattern)]
    except asyncssh.SFTPNoSuchFile:
        return []


def _options(host: HostConfig) -> dict[str, Any]:
    """What the hosts file says; what it leaves out is as ~/.ssh has it."""
    options: dict[str, Any] = {
        "connect_timeout": CONNECT_S,
        "login_timeout": CONNECT_S,
        "keepalive_interval": KEEPALIVE_S,
        "keepalive_count_max": KEEPALIVES_MAX,
        # Nobody is there to type a password.
        "password_auth": False,
        "kbdint_auth": False,
    }
    if host.user:
        options["username"] = host.user
    if host.key:
        options["client_keys"] = [host.key]
    if host.known_hosts:
        options["known_hosts"] = host.known_hosts
    return options


def _library() -> Any:  # noqa: ANN401 - a module
    try:
        import asyncssh
    except ModuleNotFoundError:
        raise ConfigError(
            "launch: asyncssh is missing: pip install 'p2pfl-gossip[launch]'"
        ) from None
    asyncssh.set_log_level("CRITICAL")  # What fails is raised, and told once.
    return asyncssh


@contextmanager
def told(shell: Shell) -> Iterator[None]:
    """Turn what the library raises into one sentence about this host."""
    asyncssh = _library()
    where = f"host {shell.name} ({shell.address})"
    try:
        yield
    except P2pflError:
        raise
    except asyncssh.HostKeyNotVerifiable:
        raise RefusedError(
            f"{where}: its public key is not among the known ones: compare it, then add it with"
            f" ssh-keyscan {shell.host.address}, or give known_hosts in the hosts file"
        ) from None
    except asyncssh.PermissionDenied:
        raise RefusedError(
            f"{where}: it does not let this user in with these keys: give user and key in the hosts"
            " file, and see that `ssh` works without a password"
        ) from None
    except (asyncssh.KeyImportError, asyncssh.KeyEncryptionError, FileNotFoundError) as problem:
        raise ConfigError(f"{where}: its key or known_hosts: {_sentence(problem)}") from None
    except (OSError, TimeoutError, asyncssh.Error) as problem:
        raise TransportError(f"{where}: {_sentence(problem)}") from None


def _sentence(problem: BaseException) -> str:
    if isinstance(problem, TimeoutError):
        return f"no answer within {CONNECT_S:.0f} s; is it up, and is the address right?"
    text = " ".join(str(problem).split())
    return text or type(problem).__name__
