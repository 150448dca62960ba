"""Hosts of their own: network namespaces that share nothing but a broker in a third."""

import os
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from support.hosts import Hosts

pytestmark = pytest.mark.hosts

HERE = Path(__file__).parent


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
def broker(hosts: Hosts, tmp_path: Path) -> str:
    """A broker with a password on the host in the middle; its URL for the others."""
    return hosts.start_broker(tmp_path)


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
