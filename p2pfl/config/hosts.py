"""The hosts file of `p2pfl launch`: which machines, how to log in, and which nodes live there."""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Final

from p2pfl.config.read import Place, read_dataclass, shown, suggestion
from p2pfl.errors import ConfigError

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")
_DEVICE: Final = re.compile(r"|auto|cpu|cuda|cuda:[0-9]{1,2}")
_FILE_BYTES: Final = 1024 * 1024
_PORT_MAX: Final = 65535


@dataclass(frozen=True, slots=True, kw_only=True)
class HostDefaults:
    """What all hosts have in common, unless they say otherwise."""

    user: str = ""
    """Empty: as ssh would choose."""
    port: int = 22
    key: str = ""
    """A private key's file; empty: the agent and the usual ones."""
    known_hosts: str = ""
    """Whose public keys are trusted; empty: ~/.ssh/known_hosts. An unknown host is refused."""
    python: str = "python3"
    """The Python there that has p2pfl installed."""
    folder: str = "p2pfl-launch"
    """The working folder there; relative ones begin where a login begins."""
    data: str = ""
    """Where the data lies there, as `p2pfl up --data` has it; empty: as the experiment says."""
    device: str = ""
    """Where its nodes train, as `runtime.device`; empty: as the experiment says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostConfig(HostDefaults):
    """One machine."""

    address: str = ""
    """Name or address; empty: the host's own name in the file."""
    nodes: tuple[str, ...] = ()
    """The nodes that live there, by name; empty: a share of those that nobody names."""
    share: float = 1.0
    """How large a share, next to the other hosts that name none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostsConfig:
    """A hosts file, whole; `hosts` have their defaults and absolute paths filled in."""

    hosts: Mapping[str, HostConfig]
    defaults: HostDefaults = field(default_factory=HostDefaults)
    alone_s: float = 600.0
    """Nodes go on so long without a word from the launching machine, then they stop by themselves,
    with a checkpoint: no process is left for ever."""


def load_hosts(path: Path) -> HostsConfig:
    """The hosts of a TOML file; relative paths of keys are meant from the file's folder.

    Raises:
        ConfigError: no such file, not TOML, or not a hosts file; one line says what to change.
    """
    try:
        if path.stat().st_size > _FILE_BYTES:
            raise ConfigError(f"{path}: has more than {_FILE_BYTES} bytes; is it a hosts file?")
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        near = suggestion(path.name, (each.name for each in path.parent.glob("*.toml")))
        raise ConfigError(f"{path}: no such file{near}") from error
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: is not valid TOML: {error}") from error
    return hosts_from_mapping(table, source=str(path), folder=path.parent)


def hosts_from_mapping(table: Mapping[str, object], *, source: str, folder: Path) -> HostsConfig:
    """The hosts that a mapping describes. Raises ConfigError as `load_hosts`."""
    given, common = table.get("hosts"), table.get("defaults", {})
    read_dataclass(HostDefaults, common, Place(source, "defaults"))
    merged = dict(table)
    if isinstance(given, Mapping) and isinstance(common, Mapping):
        merged["hosts"] = {
            name: {**common, **own} if isinstance(own, Mapping) else own
            for name, own in given.items()
        }
    config = read_dataclass(HostsConfig, merged, Place(source))
    for name, host in config.hosts.items():
        _check_host(name, host, Place(source, "hosts").at(name))
    _check_all(config, Place(source))
    hosts = {
        name: replace(
            host,
            address=host.address or name,
            key=_resolved(host.key, folder),
            known_hosts=_resolved(host.known_hosts, folder),
        )
        for name, host in config.hosts.items()
    }
    return replace(config, hosts=hosts)


def _resolved(path: str, folder: Path) -> str:
    return str((folder / Path(path).expanduser()).resolve()) if path else ""


def _check_host(name: str, host: HostConfig, place: Place) -> None:
    if not _NAME.fullmatch(name):
        raise place.error("is no name of a host; allowed: letters, digits, dots and dashes")
    for key in ("address", "user"):
        value = getattr(host, key)
        if value.startswith("-") or any(each.isspace() for each in value):
            raise place.at(key).error(f"is {shown(value)}; allowed: one word, no leading dash")
    if not 1 <= host.port <= _PORT_MAX:
        raise place.at("port").error(f"is {host.port}; allowed: 1 to {_PORT_MAX}")
    if not _DEVICE.fullmatch(host.device):
        raise place.at("device").error(
            f"is {shown(host.device)}; allowed: auto, cpu, cuda, or one as in cuda:1"
        )
    if not host.python or not host.folder:
        raise place.error("has an empty python or folder; leave it out for the default")
    if host.share <= 0.0:
        raise place.at("share").error(f"is {host.share:g}; allowed: more than 0")
    if host.nodes and host.share != next(f.default for f in fields(host) if f.name == "share"):
        raise place.error("has both nodes and a share; give one of them")


def _check_all(config: HostsConfig, place: Place) -> None:
    if not config.hosts:
        raise place.at("hosts").error("is empty; needed: a table [hosts.NAME] for each machine")
    if config.alone_s <= 0.0:
        raise place.at("alone_s").error(f"is {config.alone_s:g}; allowed: more than 0 seconds")
    owners: dict[str, str] = {}
    for name, host in config.hosts.items():
        for node in host.nodes:
            if node in owners:
                raise place.at("hosts").error(
                    f"name node {node!r} twice, at {owners[node]} and at {name}"
                )
            owners[node] = name
