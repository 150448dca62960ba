"""The embedded brokers' own configuration files."""

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from p2pfl.errors import ConfigError

_PACKET_BYTES_MAX: Final = 2 * 1024 * 1024
"""Twice our largest packet of 1,000,000 bytes, with room for topic and header."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What every engine must be told."""

    host: str
    port: int
    folder: Path
    users: Mapping[str, str] = field(default_factory=dict)
    tls_cert: Path | None = None
    tls_key: Path | None = None
    websocket_port: int | None = None


def read_users(path: Path) -> dict[str, str]:
    """Names and passwords from lines `name:password`; empty lines and # comments are skipped."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as problem:
        raise ConfigError(f"password file {path}: {problem.strerror}") from None
    users: dict[str, str] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.startswith("#"):
            continue
        name, colon, password = line.partition(":")
        if not (name and colon and password):
            raise ConfigError(f"password file {path}, line {number}: expected name:password")
        users[name] = password
    if not users:
        raise ConfigError(f"password file {path} names nobody: expected lines name:password")
    return users


def write(engine: str, settings: Settings) -> list[str]:
    """Write an engine's files into the folder; its arguments."""
    writers = {"nats": _nats, "mosquitto": _mosquitto, "amqtt": _amqtt}
    return writers[engine](settings)


def _nats(settings: Settings) -> list[str]:
    """NATS: JSON is valid in its configuration language."""
    tls = {}
    if settings.tls_cert is not None:
        tls = {"tls": {"cert_file": str(settings.tls_cert), "key_file": str(settings.tls_key)}}
    content: dict[str, object] = {
        "server_name": "p2pfl",
        # NATS' own protocol is not used, but its listener cannot be left out: loopback, any port.
        "host": "127.0.0.1",
        "port": -1,
        "max_payload": _PACKET_BYTES_MAX,
        # A late reader's retained parts are queued at once: 64 MB, the default, is one model.
        "max_pending": 1024 * 1024 * 1024,
        "write_deadline": "60s",
        "jetstream": {"store_dir": str(settings.folder / "jetstream")},
        # A session may hold 65,535 / max_ack_pending QoS 1 subscriptions; the default of 1,024
        # allows 63, too few for a server with 100 clients.
        "mqtt": {
            "host": settings.host,
            "port": settings.port,
            "max_ack_pending": 32,
            **tls,
        },
    }
    if settings.users:
        content["authorization"] = {
            "users": [{"user": name, "password": word} for name, word in settings.users.items()]
        }
    if settings.websocket_port is not None:
        content["websocket"] = {
            "host": settings.host,
            "port": settings.websocket_port,
            **(tls or {"no_tls": True}),
        }
    path = _private(settings.folder / "nats.conf", json.dumps(content, indent=2))
    return ["-c", str(path)]


def _mosquitto(settings: Settings) -> list[str]:
    lines = [
        f"listener {settings.port} {settings.host}",
        "socket_domain ipv6" if ":" in settings.host else "socket_domain ipv4",
        "persistence true",
        f"persistence_location {settings.folder}/",
        "autosave_interval 1",
        "set_tcp_nodelay true",
        "max_queued_messages 1000",
    ]
    if os.geteuid() == 0:
        # Started by root it becomes the user mosquitto, who cannot read our folder.
        lines.append("user root")
    if settings.tls_cert is not None:
        lines += [f"certfile {settings.tls_cert}", f"keyfile {settings.tls_key}"]
    if settings.users:
        path = settings.folder / "passwords"
        _private(path, "".join(f"{name}:{word}\n" for name, word in settings.users.items()))
        program = shutil.which("mosquitto_passwd")
        if program is None:
            raise ConfigError("mosquitto_passwd is missing: apt-get install mosquitto")
        subprocess.run([program, "-U", str(path)], check=True, capture_output=True)  # noqa: S603 - a found program, our own file.
        lines += ["allow_anonymous false", f"password_file {path}"]
    else:
        lines.append("allow_anonymous true")
    if settings.websocket_port is not None:
        lines += [f"listener {settings.websocket_port} {settings.host}", "protocol websockets"]
    path = _private(settings.folder / "mosquitto.conf", "\n".join(lines) + "\n")
    return ["-c", str(path)]


def _amqtt(settings: Settings) -> list[str]:
    if settings.websocket_port is not None:
        raise ConfigError("broker engine amqtt: no WebSocket listener here, use --engine nats")
    content = {
        "host": settings.host,
        "port": settings.port,
        "users": dict(settings.users),
        "certfile": str(settings.tls_cert) if settings.tls_cert is not None else None,
        "keyfile": str(settings.tls_key) if settings.tls_key is not None else None,
    }
    return [str(_private(settings.folder / "amqtt.json", json.dumps(content)))]


def _private(path: Path, content: str) -> Path:
    """Write a file that only its owner may read: it may hold passwords."""
    path.touch(mode=0o600)
    path.chmod(0o600)
    path.write_text(content, encoding="utf-8")
    return path
