"""Deployments in earnest: the written broker and nodes run, and the broker keeps nodes apart."""

import asyncio
import os
import re
import shlex
import shutil
import subprocess
import sys
from asyncio.subprocess import PIPE, STDOUT, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiomqtt
import pytest

from p2pfl.cli.main import main
from p2pfl.transport import topics
from p2pfl.transport.address import Broker
from p2pfl.transport.broker import free_port

# A chain, so that its ends are no neighbours; a model that travels in parts.
TEXT = """
name = "small"
data = { kind = "quadratic", dimension = 30000 }
model = "quadratic"
topology = { kind = "path", nodes = 3 }
training = { learning_rate = 0.02, local_steps = 2 }
compute = { step_s = 0.005 }
stop = { steps = 100 }
evaluation = { every_s = 0.5 }
broker = { chunk_bytes = 16384 }
"""


def written(folder: Path) -> Path:
    (folder / "small.toml").write_text(TEXT)
    out = folder / "out"
    words = ("deploy", "systemd", str(folder / "small.toml"), "--host", "localhost")
    assert main([*words, "--host", "127.0.0.1", "--out", str(out)]) == 0
    return out


@pytest.mark.systemd
def test_the_units_are_what_systemd_understands(tmp_path: Path) -> None:
    units = []
    for made in sorted(written(tmp_path).rglob("*.service")) + sorted(tmp_path.rglob("*.timer")):
        there = tmp_path / "units" / made.name
        there.parent.mkdir(exist_ok=True)
        # The programs are looked for; what p2pfl is called on the machine is not at stake.
        there.write_text(made.read_text().replace("/usr/local/p2pfl/bin/p2pfl", "/bin/true"))
        units.append(there)
    assert len(units) == 1 + 3 * 3
    verify = [require("systemd-analyze"), "verify", "--man=no", "--recursive-errors=no"]
    done = subprocess.run([*verify, *units], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    broken = units[0]
    broken.write_text(broken.read_text().replace("Restart=always", "Restarts=always"))
    done = subprocess.run([*verify, broken], capture_output=True, text=True, check=False)
    assert "'Restarts' in section" in done.stderr


def test_the_units_say_which_systemd_they_need_and_name_nothing_that_is_newer(
    tmp_path: Path,
) -> None:
    out = written(tmp_path)
    texts = [(out / each / f"p2pfl-small-{each}.service").read_text() for each in ("broker", "n1")]
    for text in texts:
        assert text.startswith("# Needs systemd 247 or newer")
        # %d, the short name of the folder of secrets, came with 251.
        assert "%d" not in text
        assert "${CREDENTIALS_DIRECTORY}/" in text


def require(name: str) -> str:
    found = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
    if found is None:
        pytest.fail(f"{name} is missing: make system", pytrace=False)
    return found


@dataclass
class Machine:
    """This machine as systemd would make it for the units: what stands where, and on which port."""

    out: Path
    state: Path
    port: int
    ports: dict[str, int] = field(default_factory=dict)

    def here(self, text: str, folder: str) -> str:
        """A line of a unit or of the broker's configuration, with this machine's places."""
        unit = f"p2pfl-small-{folder}"
        text = text.replace("${CREDENTIALS_DIRECTORY}", str(self.out / folder))
        text = text.replace(f"/run/credentials/{unit}.service", str(self.out / folder))
        text = text.replace(f"/etc/p2pfl/small/{folder}", str(self.out / folder))
        text = text.replace(f"/var/lib/p2pfl/{unit}", str(self.state / folder))
        text = text.replace("localhost:8883", f"localhost:{self.port}")
        return re.sub(r"port 94\d\d", f"port {self.ports.get(folder, 0)}", text)

    def command(self, folder: str, key: str) -> list[str]:
        """What a unit starts."""
        (unit,) = (self.out / folder).glob(f"p2pfl-small-{folder}.service")
        (line,) = re.findall(rf"^{key}=(.*)$", unit.read_text(), re.MULTILINE)
        return shlex.split(self.here(line, folder))

    @property
    def run(self) -> str:
        """The deployment's run."""
        words = self.command("n0", "ExecStart")
        return words[words.index("--run") + 1]

    def client(self, node: str) -> aiomqtt.Client:
        """A client that has this node's password."""
        password = (self.out / node / "password").read_text().strip()
        return self.stranger(node, password)

    def stranger(self, name: str | None, password: str | None) -> aiomqtt.Client:
        url = f"mqtts://localhost:{self.port}"
        context = Broker.parse(url, ca_file=self.out / "n0" / "broker.pem").context()
        return aiomqtt.Client(
            "localhost",
            self.port,
            username=name,
            password=password,
            tls_context=context,
            protocol=aiomqtt.ProtocolVersion.V5,
        )


@asynccontextmanager
async def broker_of(machine: Machine) -> AsyncIterator[None]:
    """The deployment's own Mosquitto, with its own certificate, passwords and access rules."""
    require("mosquitto")
    file = machine.out / "broker" / "mosquitto.conf"
    text = machine.here(file.read_text(), "broker")
    text = text.replace("listener 8883", f"listener {machine.port}")
    if os.geteuid() == 0:
        # The unit runs it as a user of its own; as root it would become one who cannot read here.
        text += "user root\n"
    file.write_text(text)
    (machine.state / "broker").mkdir(parents=True)
    process = await asyncio.create_subprocess_exec(
        *machine.command("broker", "ExecStart"), stdout=PIPE, stderr=STDOUT
    )
    try:
        async with asyncio.timeout(10.0):
            while True:
                try:
                    _, writer = await asyncio.open_connection("localhost", machine.port)
                except OSError:
                    assert process.returncode is None, await process.communicate()
                    await asyncio.sleep(0.05)
                else:
                    writer.close()
                    break
        yield
    finally:
        process.terminate()
        await process.communicate()


@pytest.fixture
async def machine(tmp_path: Path) -> AsyncIterator[Machine]:
    out = await asyncio.to_thread(written, tmp_path)
    ports = {node: free_port("127.0.0.1") for node in ("n0", "n1", "n2")}
    made = Machine(out, tmp_path / "state", free_port("127.0.0.1"), ports)
    async with broker_of(made):
        yield made


async def started(words: list[str]) -> Process:
    assert words[0] == "/usr/local/p2pfl/bin/p2pfl"
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "p2pfl", *words[1:]), stdout=PIPE, stderr=STDOUT
    )


@pytest.mark.mosquitto
async def test_the_nodes_of_a_deployment_learn_to_the_end_over_its_broker(machine: Machine) -> None:
    # The one that describes the run comes last.
    nodes = [await started(machine.command(node, "ExecStart")) for node in ("n2", "n1")]
    try:
        asked = await started(machine.command("n1", "ExecStartPost"))
        said, _ = await asked.communicate()
        assert (asked.returncode, b"live" in said) == (0, True), said
        nodes.append(await started(machine.command("n0", "ExecStart")))
        async with asyncio.timeout(120.0):
            outputs = [(await process.communicate())[0].decode() for process in nodes]
    finally:
        for process in nodes:
            if process.returncode is None:
                process.kill()
                await process.wait()
    assert [process.returncode for process in nodes] == [0, 0, 0], outputs
    assert all('"outcome": "finished"' in output for output in outputs)
    kept = {path.name for path in machine.state.rglob("*.checkpoint")}
    assert kept == {"n0.checkpoint", "n1.checkpoint", "n2.checkpoint"}


@pytest.mark.mosquitto
async def test_whoever_has_one_nodes_password_speaks_and_hears_as_that_node_alone(
    machine: Machine,
) -> None:
    run = machine.run
    forged = [
        topics.presence(run, "n0"),
        topics.head(run, "n0"),
        topics.part(run, "n0", 0, 0),
        topics.metrics(run, "n0"),
        topics.letter(run, "n0", "n1"),
        topics.manifest(run),
        topics.control(run),
        topics.manifest("small"),
    ]
    own = [topics.presence(run, "n1"), topics.part(run, "n1", 0, 0), topics.letter(run, "n1", "n0")]
    async with machine.client("n0") as n0, machine.client("n1") as n1, machine.client("n2") as n2:
        # The neighbours listen to all that they may, and to what is forged at them.
        for listener in (n0, n1, n2):
            for topic in (*forged, *own):
                await listener.subscribe(topic, qos=1)
        for topic in forged:
            await n1.publish(topic, b"forged", qos=1, retain=True)
        for topic in own:
            await n1.publish(topic, b"own", qos=1, retain=True)
        heard_0 = await heard(n0, own[-1])
        heard_1 = await heard(n1, own[0])
        heard_2 = await heard(n2, own[1])
    assert set(heard_0) == {(topic, b"own") for topic in own}
    # n1 may hear all that n0 says, and would hear what it says in n0's name.
    assert set(heard_1) == {(own[0], b"own")}
    # n2 is n1's neighbour too, but the letter is for n0.
    assert set(heard_2) == {(topic, b"own") for topic in own[:2]}
    async with machine.client("n2") as n2, machine.client("n0") as n0:
        # Nothing forged was retained, and the ends of the chain do not hear each other.
        await n0.publish(topics.presence(run, "n0"), b"far", qos=1, retain=True)
        await n2.subscribe(f"{topics.ROOT}/#", qos=1)
        await n2.subscribe(topics.presence(run, "n1"), qos=1)
        late = await heard(n2, topics.presence(run, "n1"))
    assert b"forged" not in {payload for _, payload in late}
    assert topics.presence(run, "n0") not in {topic for topic, _ in late}


async def heard(client: aiomqtt.Client, last: str) -> list[tuple[str, bytes]]:
    """What comes in up to this topic, and shortly after."""
    found: list[tuple[str, bytes]] = []
    patience_s = 10.0
    try:
        while True:
            async with asyncio.timeout(patience_s):
                message = await anext(aiter(client.messages))
            assert isinstance(message.payload, bytes)
            found.append((message.topic.value, message.payload))
            if found[-1][0] == last:
                patience_s = 0.5
    except TimeoutError:
        return found


@pytest.mark.mosquitto
@pytest.mark.parametrize(
    ("name", "password"), [(None, None), ("n0", "wrong"), ("n1", None), ("mallory", "n0")]
)
async def test_strangers_are_not_let_in(
    machine: Machine, name: str | None, password: str | None
) -> None:
    with pytest.raises(aiomqtt.MqttError, match=r"[Nn]ot authori[sz]ed|[Bb]ad user"):
        async with machine.stranger(name, password):
            pass
