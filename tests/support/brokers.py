"""Brokers that p2pfl does not bring: RabbitMQ, ejabberd, aedes, rumqttd; as plain processes.

Each in a folder of its own, on a port of this machine, without a password.
"""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final, Self

from p2pfl.errors import ConfigError, TransportError
from p2pfl.transport.broker import free_port
from p2pfl.transport.greeting import greet

_START_S: Final = 60.0


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How one kind of broker is started."""

    words: list[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    afterwards: list[str] = field(default_factory=list)
    """What stops what it leaves behind."""


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One kind of broker."""

    name: str
    recipe: Callable[[Path, int], Recipe]
    version: Callable[[], str]
    entry: str = ""
    """What stands before the host in its URL."""


class OtherBroker:
    """Entering starts it and waits until it answers; leaving stops it."""

    def __init__(self, kind: str, *, folder: Path) -> None:
        self.kind = KINDS[kind]
        self.folder = folder.resolve()
        self.port = 0
        self._process: asyncio.subprocess.Process | None = None
        self._recipe: Recipe | None = None

    @property
    def url(self) -> str:
        """Where clients connect."""
        return f"mqtt://{self.kind.entry}127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Start, or start again with what the folder holds. Raises ConfigError where missing."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.port = self.port or free_port("127.0.0.1")
        self._recipe = self.kind.recipe(self.folder, self.port)
        with (self.folder / "broker.log").open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self._recipe.words,
                env=os.environ | dict(self._recipe.environment),
                cwd=self.folder,
                stdin=asyncio.subprocess.PIPE,  # rumqttd ends when it is closed.
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            async with asyncio.timeout(_START_S):
                while not await self._answers():
                    if self._process.returncode is not None:
                        raise TransportError(f"{self.kind.name} ended: {self._tail()}")
                    await asyncio.sleep(0.1)
        except TimeoutError:
            await self.stop()
            raise TransportError(f"{self.kind.name} does not answer: {self._tail()}") from None

    async def stop(self) -> None:
        """End it and all that it started."""
        await self._end(signal.SIGTERM)

    async def kill(self) -> None:
        """End it as a power cut does."""
        await self._end(signal.SIGKILL)

    async def _end(self, how: int) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, how)
        try:
            async with asyncio.timeout(15.0):
                await process.wait()
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
        assert self._recipe is not None
        if self._recipe.afterwards:
            stopping = await asyncio.create_subprocess_exec(
                *self._recipe.afterwards,
                env=os.environ | dict(self._recipe.environment),
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.DEVNULL,
            )
            await stopping.wait()

    async def _answers(self) -> bool:
        try:
            async with asyncio.timeout(2.0):
                await greet("127.0.0.1", self.port, context=None)
        except (OSError, TransportError):
            return False
        return True

    def _tail(self) -> str:
        lines = (self.folder / "broker.log").read_text(errors="replace").splitlines()
        return " | ".join(line.strip() for line in lines[-8:])


def _found(program: str, install: str) -> str:
    found = shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if found is None:
        raise ConfigError(f"{program} is missing: {install}")
    return found


def _debian_version(package: str) -> str:
    words = ["dpkg-query", "--show", "--showformat=${Version}", package]
    said = subprocess.run(words, capture_output=True, text=True, check=False).stdout
    return said.partition("-")[0]


PLACE: Final = Path(__file__).parents[2] / "build" / "brokers"
"""Where `make test-brokers` puts what comes from npm and PyPI."""

_RABBITMQ: Final = "apt-get install rabbitmq-server"
_EJABBERD: Final = "apt-get install ejabberd"
_AEDES: Final = f"npm install --prefix {PLACE} aedes@1.2.0"
_RUMQTTD: Final = f"python -m venv {PLACE}/venv && {PLACE}/venv/bin/pip install iotcore==0.4.0"


def _rabbitmq(folder: Path, port: int) -> Recipe:
    _found("rabbitmq-server", _RABBITMQ)
    (folder / "plugins").write_text("[rabbitmq_mqtt].\n")
    (folder / "rabbitmq.conf").write_text(
        "listeners.tcp = none\n"
        f"mqtt.listeners.tcp.1 = 127.0.0.1:{port}\n"
        "mqtt.allow_anonymous = true\n"
        "mqtt.tcp_listen_options.nodelay = true\n"
    )
    numbers = folder / "ports"
    if not numbers.exists():
        numbers.write_text(f"{free_port('127.0.0.1')} {free_port('127.0.0.1')}")
    epmd_port, dist_port = numbers.read_text().split()
    environment = {
        "HOME": str(folder),
        "RABBITMQ_NODENAME": "p2pfl@localhost",
        "RABBITMQ_BASE": str(folder),
        "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
        "RABBITMQ_LOG_BASE": str(folder / "log"),
        "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
        "RABBITMQ_DIST_PORT": dist_port,
        "ERL_EPMD_PORT": epmd_port,
        "ERL_EPMD_ADDRESS": "127.0.0.1",
    }
    return Recipe(
        words=["/usr/lib/rabbitmq/bin/rabbitmq-server"],
        environment=environment,
        afterwards=["epmd", "-port", epmd_port, "-kill"],
    )


def _ejabberd(folder: Path, port: int) -> Recipe:
    _found("ejabberdctl", _EJABBERD)
    (folder / "ejabberd.yml").write_text(
        "hosts: [localhost]\n"
        "loglevel: warning\n"
        f"listen:\n  - {{port: {port}, ip: '127.0.0.1', module: mod_mqtt, backlog: 1000}}\n"
        "auth_method: [anonymous]\nanonymous_protocol: login_anon\n"
        "modules:\n"
        "  mod_mqtt:\n"
        "    max_queue: 65536\n"
    )
    environment = {
        "HOME": str(folder),
        "EJABBERD_CONFIG_PATH": str(folder / "ejabberd.yml"),
        "EJABBERD_LOG_PATH": str(folder / "ejabberd.log"),
        "ERL_LIBS": "/usr/lib/x86_64-linux-gnu",
        "ERL_CRASH_DUMP": "/dev/null",
    }
    words = ["erl", "-noinput", "-mnesia", "dir", f'"{folder}/mnesia"', "-s", "ejabberd"]
    return Recipe(words=words, environment=environment)


def _aedes(folder: Path, port: int) -> Recipe:
    node = _found("node", "apt-get install nodejs")
    if not (PLACE / "node_modules" / "aedes").is_dir():
        raise ConfigError(f"aedes is missing: {_AEDES}")
    program = PLACE / "broker.mjs"
    program.write_text(
        "import { createServer } from 'node:net'\n"
        "import { Aedes } from 'aedes'\n"
        "const aedes = await Aedes.createBroker()\n"
        "const server = createServer({ noDelay: true }, aedes.handle)\n"
        "server.listen(Number(process.argv[2]), '127.0.0.1')\n"
    )
    del folder
    return Recipe(words=[node, str(program), str(port)])


def _aedes_version() -> str:
    package = json.loads((PLACE / "node_modules" / "aedes" / "package.json").read_text())
    return str(package["version"])


def _rumqttd(folder: Path, port: int, *, version: int) -> Recipe:
    python = PLACE / "venv" / "bin" / "python"
    if not python.exists():
        raise ConfigError(f"rumqttd is missing: {_RUMQTTD}")
    (folder / "rumqttd.toml").write_text(
        "id = 0\n"
        "[router]\nid = 0\nmax_connections = 1000\nmax_outgoing_packet_count = 200\n"
        "max_segment_size = 16777216\nmax_segment_count = 10\n"
        f'[v{version}.1]\nname = "v{version}"\nlisten = "127.0.0.1:{port}"\n'
        f"next_connection_delay_ms = 1\n[v{version}.1.connections]\n"
        "connection_timeout_ms = 60000\nmax_payload_size = 1048576\nmax_inflight_count = 100\n"
        "dynamic_filters = true\n"
    )
    options = json.dumps({"config_path": str(folder / "rumqttd.toml")})
    return Recipe(words=[str(python), "-m", "iotcore._serve", options])


KINDS: Final = {
    kind.name: kind
    for kind in (
        Kind(
            name="rabbitmq",
            recipe=_rabbitmq,
            version=partial(_debian_version, "rabbitmq-server"),
        ),
        Kind(
            name="ejabberd",
            recipe=_ejabberd,
            version=partial(_debian_version, "ejabberd"),
            entry="any%40localhost:any@",
        ),
        Kind(name="aedes", recipe=_aedes, version=_aedes_version),
        Kind(
            name="rumqttd-v4",
            recipe=partial(_rumqttd, version=4),
            version=lambda: "iotcore 0.4.0",
        ),
        Kind(
            name="rumqttd-v5",
            recipe=partial(_rumqttd, version=5),
            version=lambda: "iotcore 0.4.0",
        ),
    )
}
