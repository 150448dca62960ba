"""Containers without an engine: a command with its mounts, user, name and address, as written.

Each has a network namespace (see `hosts`) and a mount namespace of its own: a root that is
read-only, an empty /tmp, /run and /var/lib, and of p2pfl's files those alone that are mounted.
Needs root.
"""

import os
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from support.hosts import BROKER_ADDRESS, PATH, Hosts

UID = 10001


@dataclass(frozen=True, kw_only=True)
class Mount:
    """A folder or file of this machine, and where the container sees it."""

    here: Path
    there: str
    read_only: bool = False


@dataclass(frozen=True, kw_only=True)
class Container:
    """What an engine is told of one container."""

    name: str
    words: Sequence[str]
    """Entry point and command."""
    mounts: Sequence[Mount]
    user: int = UID
    group: int = UID
    environment: Mapping[str, str] = field(default_factory=dict)


class Engine:
    """Starts containers on hosts of their own, which know each other by name."""

    def __init__(self, hosts: Hosts, folder: Path, *, wheel: Path) -> None:
        self._hosts = hosts
        self._folder = folder
        self._site = folder / "site"
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
        subprocess.run([*pip, "--target", str(self._site), str(wheel)], check=True)
        self._addresses: dict[str, str] = {}
        self._processes: list[subprocess.Popen[Any]] = []

    def add(self, name: str, *aliases: str, broker: bool = False) -> None:
        """A host for a container, known to all by these names."""
        if broker:
            self._hosts.add_broker_host()
            address = BROKER_ADDRESS
        else:
            address = f"10.77.0.{len(self._addresses) + 10}"
            self._hosts.add(name, address)
        for each in (name, *aliases):
            self._addresses[each] = address

    def address(self, name: str) -> str:
        """Where a container is reached."""
        return self._addresses[name]

    def start(self, container: Container) -> "subprocess.Popen[str]":
        """Start it; what it says goes to its file."""
        with self.log(container.name).open("a") as log:
            process = subprocess.Popen(
                self._words(container, container.words), stdout=log, stderr=log, text=True
            )
        self._processes.append(process)
        return process

    def run(self, container: Container, words: Sequence[str]) -> tuple[int, str]:
        """Run a command as in this container, a health check; exit code, and what it says."""
        done = subprocess.run(
            self._words(container, words), capture_output=True, text=True, check=False
        )
        return done.returncode, done.stdout + done.stderr

    def log(self, name: str) -> Path:
        """What a container has said."""
        return self._folder / f"{name}.log"

    def volume(self, name: str) -> Path:
        """A volume, as the image's folder has made it."""
        folder = self._folder / "volumes" / name
        if not folder.exists():
            folder.mkdir(parents=True)
            folder.chmod(0o700)
            os.chown(folder, UID, UID)
        return folder

    def stop(self) -> None:
        """End all."""
        for process in self._processes:
            process.kill()
            process.wait()

    def _words(self, container: Container, words: Sequence[str]) -> list[str]:
        host = "broker" if self._addresses[container.name] == BROKER_ADDRESS else container.name
        script = "\n".join(self._script(container, words))
        variables = {"PATH": f"/mnt/bin:{PATH}", **container.environment}
        shown = [f"{key}={value}" for key, value in variables.items()]
        return [
            *("env", "-i", *shown, "ip", "netns", "exec", self._hosts.name(host)),
            *("unshare", "--mount", "--propagation", "private", "bash", "-c", script),
        ]

    def _script(self, container: Container, words: Sequence[str]) -> list[str]:
        program = f'#!/bin/sh\nPYTHONPATH=/mnt/site exec {sys.executable} -P -m p2pfl "$@"\n'
        names = "".join(f"{address} {name}\n" for name, address in self._addresses.items())
        lines = [
            "set -e",
            "mount -t tmpfs -o mode=755 tmpfs /mnt",
            "mkdir /mnt/etc /mnt/bin /mnt/site",
            "cp -a /etc/. /mnt/etc && mount --bind /mnt/etc /etc",
            f"mount --bind {self._site} /mnt/site",
            f"echo -n {shlex.quote(names)} >> /etc/hosts",
            f"echo -n {shlex.quote(program)} > /mnt/bin/p2pfl && chmod 755 /mnt/bin/p2pfl",
        ]
        lines += _opened(Path(sys.base_prefix), "/mnt/python")
        user = f"--reuid {container.user} --regid {container.group} --clear-groups"
        command = shlex.join(words)
        # What is mounted may lie below what is hidden next: keep hold of it.
        for at, mount in enumerate(container.mounts):
            kept = f"/mnt/{at}"
            make = "mkdir" if mount.here.is_dir() else "touch"
            lines += [f"{make} {kept}", f"mount --bind {mount.here} {kept}"]
        lines += [f"mount -t tmpfs -o mode=755 tmpfs {place}" for place in ("/run", "/var/lib")]
        for at, mount in enumerate(container.mounts):
            there = mount.there
            make = "mkdir -p" if mount.here.is_dir() else f"mkdir -p {Path(there).parent} && touch"
            lines += [f"{make} {there}", f"mount --bind /mnt/{at} {there}"]
            if mount.read_only:
                lines.append(f"mount -o remount,bind,ro {there}")
        lines += [
            "mount -o remount,bind,ro /",
            "mount -t tmpfs -o mode=1777 tmpfs /tmp",
            "cd /",
            f"exec setpriv {user} --bounding-set=-all --inh-caps=-all --no-new-privs {command}",
        ]
        return lines


def _opened(folder: Path, kept: str) -> list[str]:
    """Let everybody read a folder of a home that is closed: Python itself may lie there."""
    closed = [each for each in folder.parents if not each.stat().st_mode & 0o001]
    if not closed:
        return []
    return [
        f"mkdir {kept} && mount --bind {folder} {kept}",
        f"mount -t tmpfs -o mode=755 tmpfs {closed[-1]}",
        f"mkdir -p {folder} && mount --bind {kept} {folder}",
    ]


def entry(dockerfile: str, target: str) -> tuple[list[str], dict[str, str]]:
    """The entry point and the variables of an image, as its Dockerfile says."""
    text = dockerfile.split(f" AS {target}\n", 1)[1].split("\nFROM ", 1)[0]
    words: list[str] = []
    variables: dict[str, str] = {}
    for line in text.splitlines():
        kind, _, rest = line.partition(" ")
        if kind == "ENTRYPOINT":
            words = [each.strip(' "') for each in rest.strip("[]").split(",")]
        elif kind == "ENV":
            variables |= dict(pair.split("=", 1) for pair in shlex.split(rest))
    return words, variables
