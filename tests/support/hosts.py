"""Hosts of their own: network namespaces that share nothing but a broker's, each with an sshd."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

BROKER_ADDRESS = "10.77.0.1"
PASSWORD = "correct horse"  # noqa: S105 - made for these tests' own broker
PATH = os.environ["PATH"] + ":/usr/sbin:/sbin"
ROOT = Path(__file__).parents[2]


def system(*words: str, check: bool = True) -> bool:
    """Run one command of the system, quietly; its own words if it must work and fails."""
    done = subprocess.run(
        words, env=os.environ | {"PATH": PATH}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0 or not check, f"{' '.join(words)}: {done.stderr.strip()}"
    return done.returncode == 0


def ip(*words: str) -> None:
    """One `ip` command."""
    system("ip", *words)


class Hosts:
    """A broker's host with a bridge, and other hosts that are plugged into it."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.names: list[str] = []
        self.servers: list[subprocess.Popen[Any]] = []
        self.addresses: dict[str, str] = {}

    def add_broker_host(self) -> None:
        """The host in the middle."""
        self._add("broker")
        ip("-n", self.name("broker"), "link", "add", "br0", "type", "bridge")
        ip("-n", self.name("broker"), "addr", "add", f"{BROKER_ADDRESS}/24", "dev", "br0")
        ip("-n", self.name("broker"), "link", "set", "br0", "up")

    def add(self, host: str, address: str) -> None:
        """A host with an address of its own and one cable to the broker's."""
        self._add(host)
        self.addresses[host] = address
        middle, here = self.name("broker"), self.name(host)
        ip("-n", here, "link", "add", "eth0", "type", "veth", "peer", "name", host, "netns", middle)
        ip("-n", middle, "link", "set", host, "master", "br0")
        ip("-n", middle, "link", "set", host, "up")
        ip("-n", here, "addr", "add", f"{address}/24", "dev", "eth0")
        ip("-n", here, "link", "set", "eth0", "up")

    def shape(self, host: str, *, rate: str, delay: str, loss: str) -> bool:
        """Bound both directions of a host's cable; whether the kernel can delay and lose, too."""
        cables = ((self.name(host), "eth0"), (self.name("broker"), host))
        delays = True
        for namespace, device in cables:
            tc = ("tc", "-n", namespace, "qdisc", "add", "dev", device)
            bound = ("tbf", "rate", rate, "burst", "32kbit", "latency", "400ms")
            system(*tc, "root", "handle", "1:", *bound)
            netem = ("parent", "1:1", "handle", "10:", "netem", "delay", delay, "loss", loss)
            delays = system(*tc, *netem, check=False) and delays
        return delays

    def cut(self, host: str) -> None:
        """Pull the host's cable."""
        ip("-n", self.name("broker"), "link", "set", host, "down")

    def heal(self, host: str) -> None:
        """Plug it in again."""
        ip("-n", self.name("broker"), "link", "set", host, "up")

    def start_sshd(self, host: str, folder: Path, *, public_key: Path) -> str:
        """An sshd on a host, all of whose files lie in `folder`; its line for known_hosts."""
        folder.mkdir(parents=True)
        key = folder / "host_key"
        make_key(key)
        config = folder / "sshd_config"
        config.write_text(
            f"ListenAddress {self.addresses[host]}:22\n"
            f"HostKey {key}\n"
            f"PidFile {folder / 'sshd.pid'}\n"
            f"AuthorizedKeysFile {public_key}\n"
            "StrictModes no\nUsePAM no\nPermitRootLogin prohibit-password\n"
            "PasswordAuthentication no\nKbdInteractiveAuthentication no\n"
            "Subsystem sftp internal-sftp\n"
            f"SetEnv PYTHONPATH={ROOT} HOME={folder}\n"
        )
        sshd = shutil.which("sshd", path=PATH)
        assert sshd is not None, "these tests need openssh-server (make system)"
        # /run/sshd must be there; in a mount namespace of its own, so that nothing else sees it.
        script = (
            f"mount -t tmpfs none /run && mkdir -m 755 /run/sshd && exec {sshd} -D -e -f {config}"
        )
        with (folder / "sshd.log").open("wb") as log:
            self.servers.append(
                subprocess.Popen(
                    ["ip", "netns", "exec", self.name(host), "sh", "-c", script],
                    env=os.environ | {"PATH": PATH},
                    stdout=log,
                    stderr=log,
                )
            )
        kind, word, *_ = key.with_suffix(".pub").read_text().split()
        return f"{self.addresses[host]} {kind} {word}\n"

    def start(self, host: str, *words: str) -> "subprocess.Popen[str]":
        """Start p2pfl on a host."""
        return subprocess.Popen(
            ["ip", "netns", "exec", self.name(host), sys.executable, "-m", "p2pfl", *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=os.environ | {"PATH": PATH, "P2PFL_PASSWORD": PASSWORD, "PYTHONUNBUFFERED": "1"},
        )

    def start_broker(self, folder: Path) -> str:
        """A broker with a password on the host in the middle; its URL for the others."""
        passwords = folder / "passwords"
        passwords.write_text(f"alice:{PASSWORD}\n")
        passwords.chmod(0o600)
        process = self.start(
            "broker", "broker", "--bind", BROKER_ADDRESS, "--password-file", str(passwords)
        )
        self.servers.append(process)
        assert process.stdout is not None
        line = process.stdout.readline()
        assert BROKER_ADDRESS in line, line
        return f"mqtt://alice@{BROKER_ADDRESS}:1883"

    def start_script(self, host: str, *words: str) -> None:
        """Start a Python script on a host; it ends with the hosts."""
        self.servers.append(
            subprocess.Popen(
                ["ip", "netns", "exec", self.name(host), sys.executable, *words],
                env=os.environ | {"PATH": PATH},
            )
        )

    def pids(self, host: str) -> list[int]:
        """All processes on a host."""
        done = subprocess.run(
            ["ip", "netns", "pids", self.name(host)],
            env=os.environ | {"PATH": PATH},
            capture_output=True,
            text=True,
            check=False,
        )
        return [int(pid) for pid in done.stdout.split()]

    def remove(self) -> None:
        """Take all down again, and end whatever still runs there."""
        for server in self.servers:
            server.kill()
            server.communicate()
        for host in [name.removeprefix(f"{self.prefix}-") for name in self.names]:
            for pid in self.pids(host):
                system("kill", "-KILL", str(pid), check=False)
        for name in self.names:
            ip("netns", "delete", name)

    def name(self, host: str) -> str:
        """The namespace's name; the process id keeps parallel runs apart."""
        return f"{self.prefix}-{host}"

    def _add(self, host: str) -> None:
        ip("netns", "add", self.name(host))
        self.names.append(self.name(host))
        ip("-n", self.name(host), "link", "set", "lo", "up")


def make_key(file: Path) -> None:
    """A new key pair without a passphrase: `file` and `file.pub`."""
    system("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(file))
