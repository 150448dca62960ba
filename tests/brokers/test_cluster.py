"""The cluster of docs/deploy.md: three NATS servers, a node at each, and one server dies."""

import asyncio
import json
import os
import re
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, STDOUT, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from p2pfl.errors import TransportError
from p2pfl.transport.broker import find_program, free_port
from p2pfl.transport.mqtt import Observer

ROOT = Path(__file__).parents[2]
PASSWORD = "SECRET"  # noqa: S105 - the guide's.


def guide_configuration() -> str:
    """The first server's file, as the guide has it."""
    text = (ROOT / "docs" / "deploy.md").read_text()
    (found,) = re.findall(r"```\n# nats\.conf of broker-1\n(.*?)```", text, re.DOTALL)
    return str(found)


class Cluster:
    """Three servers as the guide describes them, on ports of this machine, without TLS."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ports = [free_port("127.0.0.1") for _ in range(3)]
        self.routes = [free_port("127.0.0.1") for _ in range(3)]
        self.servers: list[Process] = []

    def configuration(self, number: int) -> Path:
        """The guide's file for this server: only names, ports and TLS differ."""
        text = guide_configuration()
        one, two = (route for at, route in enumerate(self.routes) if at != number)
        for found, here in (
            ('"broker-1"', f'"broker-{number + 1}"'),
            ("\nport = 4222", '\nhost = "127.0.0.1"\nport = -1'),
            ("port = 6222", f'host = "127.0.0.1", port = {self.routes[number]}'),
            ("nats://broker-2:6222", f"nats://127.0.0.1:{one}"),
            ("nats://broker-3:6222", f"nats://127.0.0.1:{two}"),
            ("port = 8883", f'host = "127.0.0.1", port = {self.ports[number]}'),
            (', tls { cert_file = "broker.pem", key_file = "broker.key" }', ""),
            ('"jetstream"', f'"{self.folder}/jetstream-{number}"'),
        ):
            assert found in text, found
            text = text.replace(found, here)
        file = self.folder / f"nats-{number}.conf"
        file.write_text(text)
        return file

    async def start(self) -> None:
        for number in range(3):
            words = [*find_program("nats"), "-c", str(self.configuration(number))]
            self.servers.append(
                await asyncio.create_subprocess_exec(*words, stdout=DEVNULL, stderr=DEVNULL)
            )
        async with asyncio.timeout(60.0):
            for number in range(3):
                while not await self._lets_in(number):  # noqa: ASYNC110 - another process.
                    await asyncio.sleep(0.2)

    async def _lets_in(self, number: int) -> bool:
        """Whether this server has found its place in the cluster."""
        url = self.urls(number).partition(",")[0]
        try:
            async with Observer(url, password=PASSWORD) as observer:
                await observer.find_run("nothing")
        except TransportError:
            return False
        return True

    def urls(self, number: int) -> str:
        """All addresses, beginning with this one."""
        ports = self.ports[number:] + self.ports[:number]
        return ",".join(f"mqtt://alice@127.0.0.1:{port}" for port in ports)


@asynccontextmanager
async def cluster(folder: Path) -> AsyncIterator[Cluster]:
    made = Cluster(folder)
    try:
        await made.start()
        yield made
    finally:
        for server in made.servers:
            if server.returncode is None:
                server.kill()
            await server.wait()


def is_under_way(word: dict[str, object]) -> bool:
    """Whether a line of a node's log says that it has trained for two seconds."""
    return word["event"] == "progress" and float(str(word["at_s"])) > 2


async def test_a_node_whose_server_dies_goes_on_at_another_one(tmp_path: Path) -> None:
    file = ROOT / "examples" / "three-parties.toml"
    async with cluster(tmp_path) as made:
        nodes = []
        for number in range(3):
            words = ["node", str(file), "--id", f"n{number}", "--broker", made.urls(number)]
            words += ["--set", "stop.time_s=30", "--log-format", "json"]
            nodes.append(
                await asyncio.create_subprocess_exec(
                    *(sys.executable, "-m", "p2pfl", *words),
                    env=os.environ | {"P2PFL_PASSWORD": PASSWORD},
                    cwd=tmp_path,
                    stdout=PIPE,
                    stderr=STDOUT,
                )
            )
        try:
            said: list[list[dict[str, object]]] = [[], [], []]

            async def listen(number: int) -> None:
                stdout = nodes[number].stdout
                assert stdout is not None
                async for line in stdout:
                    said[number].append(json.loads(line))

            listening = asyncio.gather(*(listen(number) for number in range(3)))
            async with asyncio.timeout(120.0):
                while not any(is_under_way(word) for word in said[1]):  # noqa: ASYNC110 - see above.
                    await asyncio.sleep(0.1)
                made.servers[1].send_signal(signal.SIGKILL)
                await listening
        finally:
            for node in nodes:
                if node.returncode is None:
                    node.kill()
                await node.wait()
    assert [each[-1].get("exit_code") for each in said] == [0, 0, 0], said
    logs = [str(word.get("message")) for word in said[1] if word["event"] == "log"]
    assert any("lost broker" in line for line in logs), logs
    assert any("goes on in its place" in line for line in logs), logs
    for each in said:
        (outcome,) = (word for word in each if word["event"] == "outcome")
        # As without a fault, where it is 0.96 to 0.97; a party alone comes to 0.44.
        assert float(str(outcome["accuracy"])) > 0.9
        assert float(str(outcome["staleness_max"])) <= 3.0
