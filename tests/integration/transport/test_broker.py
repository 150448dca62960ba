"""The embedded brokers as programs: they answer, keep what they retain, stop, and die with us."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import aiomqtt
import pytest

from p2pfl.errors import ConfigError, TransportError
from p2pfl.transport.broker import EmbeddedBroker, Engine, find_program, free_port, is_loopback

StartBroker = Callable[..., Awaitable[EmbeddedBroker]]

pytestmark = pytest.mark.broker

ENGINES = ["nats", "amqtt", pytest.param("mosquitto", marks=pytest.mark.mosquitto)]
RIGHT, WRONG = "right", "wrong"


def is_alive(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/stat").read_text(encoding="ascii")
    except FileNotFoundError:
        return False
    return status.rsplit(")", 1)[1].split()[0] != "Z"


@pytest.mark.parametrize("engine", ENGINES)
async def test_users_are_let_in_with_their_password_only(
    start_broker: StartBroker, engine: str, tmp_path: Path
) -> None:
    (tmp_path / "users").write_text(f"# who\n\nann:{RIGHT}\n", encoding="utf-8")
    broker = await start_broker(engine, password_file=tmp_path / "users")
    async with aiomqtt.Client("127.0.0.1", broker.port, username="ann", password=RIGHT):
        pass
    for user, password in (("ann", WRONG), ("bob", RIGHT), (None, None)):
        with pytest.raises(aiomqtt.MqttError):
            async with aiomqtt.Client(
                "127.0.0.1", broker.port, username=user, password=password, timeout=3
            ):
                pass


@pytest.mark.parametrize("engine", ["nats", pytest.param("mosquitto", marks=pytest.mark.mosquitto)])
async def test_what_is_retained_survives_a_kill(start_broker: StartBroker, engine: str) -> None:
    broker = await start_broker(engine)
    async with aiomqtt.Client("127.0.0.1", broker.port) as client:
        await client.publish("kept", b"x" * 999_000, qos=1, retain=True)
    # Both acknowledge before they write; mosquitto saves once in one or two seconds.
    await asyncio.sleep(3.0 if engine == "mosquitto" else 1.0)
    await broker.kill()
    await broker.start()
    assert await retained(broker.port, "kept") == b"x" * 999_000


async def retained(port: int, topic: str) -> object:
    """What a broker retains. NATS serves clients before it has read its own store: ask again."""
    for _ in range(10):
        async with aiomqtt.Client("127.0.0.1", port) as client:
            await client.subscribe(topic, qos=1)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.5):
                    async for message in client.messages:
                        return message.payload
    return None


@pytest.mark.parametrize("engine", ENGINES)
async def test_it_stops_when_it_is_left(start_broker: StartBroker, engine: str) -> None:
    broker = await start_broker(engine)
    pid = broker.pid
    assert pid is not None
    assert is_alive(pid)
    await broker.stop()
    assert not is_alive(pid)
    assert repr(broker) == f"EmbeddedBroker({engine}, {broker.url}, stopped)"


async def test_a_folder_of_its_own_is_removed() -> None:
    async with EmbeddedBroker() as broker:
        folder = broker.folder
        assert folder is not None
        assert folder.exists()
    assert not folder.exists()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells children of the death")
def test_no_broker_outlives_a_killed_parent(tmp_path: Path) -> None:
    program = (
        "import asyncio\n"
        "from p2pfl.transport.broker import EmbeddedBroker\n"
        "async def main():\n"
        f"    async with EmbeddedBroker(folder={str(tmp_path)!r}) as broker:\n"
        "        print(broker.pid, flush=True)\n"
        "        await asyncio.sleep(60)\n"
        "asyncio.run(main())\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert is_alive(pid)
        parent.kill()
    deadline_s = time.monotonic() + 5.0
    while is_alive(pid) and time.monotonic() < deadline_s:
        time.sleep(0.01)
    assert not is_alive(pid)


async def test_a_port_that_is_taken_is_told(broker: EmbeddedBroker, tmp_path: Path) -> None:
    with pytest.raises(TransportError, match=f"cannot listen on 127.0.0.1:{broker.port}: Address"):
        await EmbeddedBroker(port=broker.port, folder=tmp_path / "second").start()


async def test_a_broker_that_ends_at_once_is_told_with_its_last_words(tmp_path: Path) -> None:
    nothing = tmp_path / "nothing.pem"
    with pytest.raises(TransportError, match=r"nats .* ended with status 1: .*nothing\.pem"):
        await EmbeddedBroker(folder=tmp_path, tls_cert=nothing, tls_key=nothing).start()


@pytest.mark.parametrize(
    ("engine", "line"),
    [("nats", "pip install 'p2pfl-gossip\\[nats\\]'"), ("mosquitto", "apt-get install mosquitto")],
)
def test_a_missing_program_is_told_with_the_line_that_installs_it(
    engine: Engine, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.which", lambda *_, **__: None)
    monkeypatch.setattr("sysconfig.get_path", lambda _: "/nowhere")
    with pytest.raises(ConfigError, match=line):
        find_program(engine)


def test_a_certificate_needs_its_key() -> None:
    with pytest.raises(ConfigError, match="tls_key"):
        EmbeddedBroker(tls_cert="cert.pem")


@pytest.mark.parametrize("content", ["", "ann", ":x", "ann:"])
def test_a_password_file_that_names_nobody_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "users"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"password file .*users"):
        EmbeddedBroker(password_file=path)
    with pytest.raises(ConfigError, match="No such file"):
        EmbeddedBroker(password_file=tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("::1", True),
        ("localhost", True),
        ("10.0.0.1", False),
        ("x.org", False),
    ],
)
def test_loopback_addresses_are_known(host: str, expected: bool) -> None:  # noqa: FBT001 - a table.
    assert is_loopback(host) is expected


def child_of(pid: int) -> int:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii")
    return int(children.split()[0])


async def command(*arguments: str) -> asyncio.subprocess.Process:
    program = (
        "import argparse, sys\n"
        "from p2pfl.cli import broker\n"
        "from p2pfl.errors import P2pflError\n"
        "parser = argparse.ArgumentParser()\n"
        "broker.add_arguments(parser)\n"
        "try:\n"
        "    sys.exit(broker.run(parser.parse_args()))\n"
        "except P2pflError as problem:\n"
        "    sys.exit(str(problem))\n"
    )
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        program,
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def test_the_command_says_its_url_and_stops_at_ctrl_c() -> None:
    port = free_port("127.0.0.1")
    process = await command("--port", str(port))
    assert process.stdout is not None
    line = await asyncio.wait_for(process.stdout.readline(), 10.0)
    assert line.decode() == f"mqtt://127.0.0.1:{port} (nats; Ctrl-C stops it)\n"
    async with aiomqtt.Client("127.0.0.1", port):
        pass
    process.send_signal(signal.SIGINT)
    _, errors = await asyncio.wait_for(process.communicate(), 10.0)
    assert (process.returncode, errors) == (0, b"")


async def test_the_command_ends_with_its_broker(tmp_path: Path) -> None:
    process = await command("--port", "0", "--folder", str(tmp_path))
    assert process.stdout is not None
    await asyncio.wait_for(process.stdout.readline(), 10.0)
    os.kill(child_of(process.pid), signal.SIGKILL)
    _, errors = await asyncio.wait_for(process.communicate(), 10.0)
    assert process.returncode == 1
    assert b"broker ended with status -9" in errors


async def test_the_command_refuses_to_let_everybody_in_from_everywhere() -> None:
    process = await command("--bind", "0.0.0.0", "--port", "0")  # noqa: S104 - what is refused.
    _, errors = await asyncio.wait_for(process.communicate(), 10.0)
    assert process.returncode == 1
    assert b"other machines can reach 0.0.0.0: give --password-file FILE" in errors
