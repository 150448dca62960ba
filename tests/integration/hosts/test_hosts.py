"""Hosts of their own: network namespaces that share nothing but a broker in a third."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.hosts

HERE = Path(__file__).parent
BROKER_ADDRESS = "10.77.0.1"
PASSWORD = "correct horse"  # noqa: S105 - made for this test's own broker


def ip(*words: str) -> None:
    """One `ip` command; its own words if it fails."""
    path = os.environ["PATH"] + ":/usr/sbin:/sbin"
    done = subprocess.run(
        ["ip", *words], env={"PATH": path}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"ip {' '.join(words)}: {done.stderr.strip()}"


class Hosts:
    """A broker's host with a bridge, and other hosts that are plugged into it."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.names: list[str] = []

    def add_broker_host(self) -> None:
        """The host in the middle."""
        self._add("broker")
        ip("-n", self.name("broker"), "link", "add", "br0", "type", "bridge")
        ip("-n", self.name("broker"), "addr", "add", f"{BROKER_ADDRESS}/24", "dev", "br0")
        ip("-n", self.name("broker"), "link", "set", "br0", "up")

    def add(self, host: str, address: str) -> None:
        """A host with an address of its own and one cable to the broker's."""
        self._add(host)
        middle, here = self.name("broker"), self.name(host)
        ip("-n", here, "link", "add", "eth0", "type", "veth", "peer", "name", host, "netns", middle)
        ip("-n", middle, "link", "set", host, "master", "br0")
        ip("-n", middle, "link", "set", host, "up")
        ip("-n", here, "addr", "add", f"{address}/24", "dev", "eth0")
        ip("-n", here, "link", "set", "eth0", "up")

    def start(self, host: str, *words: str) -> "subprocess.Popen[str]":
        """Start p2pfl on a host."""
        path = os.environ["PATH"] + ":/usr/sbin:/sbin"
        return subprocess.Popen(
            ["ip", "netns", "exec", self.name(host), sys.executable, "-m", "p2pfl", *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=os.environ | {"PATH": path, "P2PFL_PASSWORD": PASSWORD, "PYTHONUNBUFFERED": "1"},
        )

    def remove(self) -> None:
        """Take all down again."""
        for name in self.names:
            ip("netns", "delete", name)

    def name(self, host: str) -> str:
        """The namespace's name; the process id keeps parallel runs apart."""
        return f"{self.prefix}-{host}"

    def _add(self, host: str) -> None:
        ip("netns", "add", self.name(host))
        self.names.append(self.name(host))
        ip("-n", self.name(host), "link", "set", "lo", "up")


@pytest.fixture
def hosts() -> Iterator[Hosts]:
    made = Hosts(f"p2pfl{os.getpid()}")
    try:
        made.add_broker_host()
        made.add("one", "10.77.0.11")
        made.add("two", "10.77.0.12")
        yield made
    finally:
        made.remove()


@pytest.fixture
def broker(hosts: Hosts, tmp_path: Path) -> Iterator[str]:
    """A broker with a password on the host in the middle; its URL for the others."""
    passwords = tmp_path / "passwords"
    passwords.write_text(f"alice:{PASSWORD}\n")
    passwords.chmod(0o600)
    process = hosts.start(
        "broker", "broker", "--bind", BROKER_ADDRESS, "--password-file", str(passwords)
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    assert BROKER_ADDRESS in line, line
    yield f"mqtt://alice@{BROKER_ADDRESS}:1883"
    process.terminate()
    ended(process, within_s=20.0)


def ended(process: "subprocess.Popen[str]", *, within_s: float) -> str:
    """What the process printed, once it has ended well."""
    output, _ = process.communicate(timeout=within_s)
    assert process.returncode == 0, output
    return output


def accuracy(output: str) -> float:
    """The last accuracy that a node told."""
    return float(re.findall(r"accuracy (0\.\d+)", output)[-1])


def test_two_hosts_that_share_only_a_broker_learn_together(
    hosts: Hosts, broker: str, tmp_path: Path
) -> None:
    file = str(HERE / "two_hosts.toml")
    nodes = []
    for host, node in (("one", "n0"), ("two", "n1")):
        out = str(tmp_path / f"{node}.npy")
        nodes.append(
            hosts.start(host, "node", file, "--id", node, "--broker", broker, "--out", out)
        )
        time.sleep(0.5)
    outputs = [ended(process, within_s=90.0) for process in nodes]
    assert all(accuracy(output) > 0.85 for output in outputs), outputs
    first, second = (np.load(tmp_path / f"{node}.npy") for node in ("n0", "n1"))
    # With both final models at hand, both serve the same mean.
    assert float(np.linalg.norm(first - second)) < 0.2 * float(np.linalg.norm(first))


def test_a_host_with_a_wrong_password_is_told_so(hosts: Hosts, broker: str) -> None:
    file = str(HERE / "two_hosts.toml")
    stranger = broker.replace("alice", "mallory")
    process = hosts.start("one", "node", file, "--id", "n0", "--broker", stranger)
    output, _ = process.communicate(timeout=60.0)
    assert process.returncode == 4, output
    assert len(output.strip().splitlines()) == 1
    assert "password" in output


def test_a_host_that_cannot_reach_the_broker_is_told_where_it_looked(hosts: Hosts) -> None:
    file = str(HERE / "two_hosts.toml")
    process = hosts.start("one", "node", file, "--id", "n0", "--broker", "mqtt://10.77.0.99:1883")
    output, _ = process.communicate(timeout=90.0)
    assert process.returncode == 3, output
    assert "10.77.0.99" in output
    assert len(output.strip().splitlines()) == 1
