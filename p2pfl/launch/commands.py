"""The commands that run on hosts: in one place, so that `--dry-run` shows what is done."""

import shlex
from collections.abc import Iterator, Sequence

from p2pfl.config.hosts import HostConfig


def version_words(host: HostConfig) -> list[str]:
    """Prints p2pfl's version."""
    return [host.python, "-m", "p2pfl", "--version"]


def survey_words(host: HostConfig, folder: str) -> list[str]:
    """Answers whether experiment, broker and data are as they must be."""
    return [host.python, "-m", "p2pfl.runtime.survey", folder]


def outpost_words(host: HostConfig, folder: str) -> list[str]:
    """Starts what starts the nodes, and stays in the background."""
    return [host.python, "-m", "p2pfl.runtime.outpost", folder]


def relay_words(host: HostConfig, folder: str) -> list[str]:
    """Talks to it."""
    return [host.python, "-m", "p2pfl.runtime.relay", folder]


def shown(
    name: str, host: HostConfig, nodes: Sequence[str], files: Sequence[str], folder: str
) -> Iterator[str]:
    """What would be done on one host, as lines that a person can type."""
    options = []
    if host.port != 22:  # noqa: PLR2004 - ssh's own.
        options += ["-p", str(host.port)]
    if host.key:
        options += ["-i", host.key]
    if host.known_hosts:
        options += ["-o", f"UserKnownHostsFile={host.known_hosts}"]
    address = f"{host.user}@{host.address}" if host.user else host.address
    yield f"{name}: {', '.join(nodes)}"
    yield f"  sftp {address}: put {', '.join(files)} into {folder}"
    for words in (
        version_words(host),
        survey_words(host, folder),
        outpost_words(host, folder),
        relay_words(host, folder),
    ):
        yield "  " + shlex.join(["ssh", *options, address, shlex.join(words)])
    yield f"  sftp {address}: get {folder}/nodes/*"
