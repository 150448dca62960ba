"""Where a broker is and how to be let in; several addresses may lead to one broker or cluster."""

import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from p2pfl.errors import ConfigError

_PORTS: Final = {"mqtt": 1883, "mqtts": 8883}


@dataclass(frozen=True, slots=True, kw_only=True)
class Broker:
    """One address: `mqtt://[user@]host[:port]` or `mqtts://...`."""

    scheme: str
    host: str
    port: int
    user: str | None = None
    password: str | None = None
    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None
    pinned: bool = False
    """`ca_file` is this very broker's certificate, by whatever name the broker is reached."""

    @classmethod
    def parse(
        cls,
        url: str,
        *,
        password: str | None = None,
        ca_file: str | Path | None = None,
        cert_file: str | Path | None = None,
        key_file: str | Path | None = None,
        pinned: bool = False,
    ) -> "Broker":
        """Raises ConfigError where the URL is none of a broker."""
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as problem:
            raise ConfigError(f"broker {url!r}: {problem}") from None
        if parts.scheme not in _PORTS or not parts.hostname:
            raise ConfigError(f"broker {url!r}: expected mqtt://[user@]host[:port] or mqtts://...")
        word = password if password is not None else unquote(parts.password or "") or None
        return cls(
            scheme=parts.scheme,
            host=parts.hostname,
            port=port or _PORTS[parts.scheme],
            user=unquote(parts.username) if parts.username else None,
            password=word,
            ca_file=str(ca_file) if ca_file else None,
            cert_file=str(cert_file) if cert_file else None,
            key_file=str(key_file) if key_file else None,
            pinned=pinned,
        )

    @property
    def place(self) -> str:
        """Host and port, for messages."""
        return f"{self.host}:{self.port}"

    def context(self) -> ssl.SSLContext | None:
        """How to check the broker's certificate, and show one's own; None without TLS."""
        if self.scheme != "mqtts":
            return None
        try:
            context = ssl.create_default_context(cafile=self.ca_file)
            context.check_hostname = not self.pinned
            if self.cert_file is not None:
                context.load_cert_chain(self.cert_file, self.key_file)
        except (OSError, ssl.SSLError) as problem:
            raise ConfigError(f"broker {self.host}: certificates: {problem}") from None
        return context


def urls_of(text: str) -> list[str]:
    """The addresses in a list with commas between, as `--broker` and `broker.url` take it."""
    return [url for url in (each.strip() for each in text.split(",")) if url]


def read_brokers(
    urls: str,
    *,
    password: str | None = None,
    ca_file: str | Path | None = None,
    cert_file: str | Path | None = None,
    key_file: str | Path | None = None,
    pinned: bool = False,
) -> list[Broker]:
    """One or more addresses with commas between. Raises ConfigError where one is none, or all."""
    return [
        Broker.parse(
            url,
            password=password,
            ca_file=ca_file,
            cert_file=cert_file,
            key_file=key_file,
            pinned=pinned,
        )
        for url in urls_of(urls) or [urls]
    ]
