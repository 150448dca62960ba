"""A broker on the launching machine, for one run: TLS and a password of its own."""

import ipaddress
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from p2pfl.errors import ConfigError
from p2pfl.transport.broker import EmbeddedBroker, Engine, free_port
from p2pfl.transport.invitation import USER, make_certificate, new_password

PORT: Final = 8883


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnBroker:
    """A broker that is not started yet, and how to be let in."""

    url: str
    password: str
    ca_file: Path
    broker: EmbeddedBroker


def own_broker(place: str, folder: Path, *, engine: Engine) -> OwnBroker:
    """A broker at `place`, HOST or HOST:PORT, as the hosts reach this machine; files in `folder`.

    Raises:
        ConfigError: `place` is none, or the engine is not installed.
    """
    host, port = _place(place)
    bind = host if _is_ours(host) else "0.0.0.0"  # noqa: S104 - other machines must reach it; TLS and a password guard it.
    port = port or free_port(bind)
    certificate, key, _ = make_certificate(folder, [host])
    password = new_password()
    broker = EmbeddedBroker(
        engine,
        host=bind,
        port=port,
        folder=folder / "broker",
        users={USER: password},
        tls_cert=certificate,
        tls_key=key,
    )
    shown = f"[{host}]" if ":" in host else host
    return OwnBroker(
        url=f"mqtts://{USER}@{shown}:{port}",
        password=password,
        ca_file=Path(certificate),
        broker=broker,
    )


def _place(place: str) -> tuple[str, int]:
    try:
        return str(ipaddress.IPv6Address(place)), PORT
    except ValueError:
        pass
    try:
        parts = urlsplit(f"//{place}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host or parts.path or parts.username is not None:
        raise ConfigError(f"--serve {place}: allowed: this machine's name or address, or HOST:PORT")
    return host, PORT if port is None else port


def _is_ours(host: str) -> bool:
    """Whether it is an address that this machine can listen on."""
    try:
        family = socket.AF_INET6 if ipaddress.ip_address(host).version == 6 else socket.AF_INET  # noqa: PLR2004 - IPv6
    except ValueError:
        return False
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        try:
            probe.bind((host, 0))
        except OSError:
            return False
    return True
