"""One line that lets another machine into a run: broker, run, and a token that pins the broker.

    p2pfl join mqtts://HOST:PORT/RUN#TOKEN

The token holds the broker's password and the SHA-256 of its certificate. Who has the token is let
in, and talks to that broker and to no other, whatever stands between.
"""

import base64
import binascii
import contextlib
import datetime as dt
import hashlib
import ipaddress
import re
import secrets
import socket
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from p2pfl.codec.fields import RUN_ID
from p2pfl.errors import ConfigError, RefusedError, TransportError

if TYPE_CHECKING:
    from cryptography import x509

USER: Final = "p2pfl"
"""The broker's one user: who has the token."""

_PASSWORD_BYTES: Final = 18
_FINGERPRINT_BYTES: Final = 32
_VALID_DAYS: Final = 3650
_CONNECT_S: Final = 10.0
_HOST: Final = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]{0,251}[A-Za-z0-9_.])?")
_EXPECTED: Final = "expected mqtts://HOST:PORT/RUN#TOKEN, the whole line that `p2pfl up` printed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Invitation:
    """All that a joining machine is told."""

    host: str
    port: int
    run: str
    password: str
    fingerprint: bytes
    """SHA-256 of the broker's certificate (DER)."""

    @property
    def url(self) -> str:
        """The broker's, without secrets."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"mqtts://{USER}@{host}:{self.port}"

    @property
    def token(self) -> str:
        """The secret part."""
        raw = self.fingerprint + base64.urlsafe_b64decode(self.password)
        return base64.urlsafe_b64encode(raw).decode().rstrip("=")

    @property
    def address(self) -> str:
        """The line without the token: what a screen may show."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"mqtts://{host}:{self.port}/{self.run}"

    @property
    def line(self) -> str:
        """The whole line, a secret."""
        return f"{self.address}#{self.token}"


def new_password() -> str:
    """A random password that a token can carry."""
    return base64.urlsafe_b64encode(secrets.token_bytes(_PASSWORD_BYTES)).decode()


def read_invitation(line: str, *, token: str | None = None) -> Invitation:
    """The invitation in a line; `token`: where it came by another way.

    Raises:
        ConfigError: it is none; says what is missing, and never repeats a secret.
    """
    text = line.strip().removeprefix("p2pfl join ").strip()
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise ConfigError(f"join: this is no address: {_EXPECTED}") from None
    run = parts.path.strip("/")
    if parts.scheme != "mqtts" or not parts.hostname or not RUN_ID.fullmatch(run):
        raise ConfigError(f"join: this is no invitation: {_EXPECTED}")
    # Whoever pastes the whole line where the token alone is asked for means its token.
    secret = (token or "").rpartition("#")[2].strip() or parts.fragment.strip()
    if not secret:
        raise ConfigError(
            "join: the token is missing: paste the whole line with what follows #, or give"
            " --token-stdin and the token on standard input"
        )
    try:
        raw = base64.b64decode(secret + "=" * (-len(secret) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if len(raw) != _FINGERPRINT_BYTES + _PASSWORD_BYTES:
        raise ConfigError(f"join: the token is damaged: {_EXPECTED}")
    return Invitation(
        host=parts.hostname,
        port=port or 8883,
        run=run,
        password=base64.urlsafe_b64encode(raw[_FINGERPRINT_BYTES:]).decode(),
        fingerprint=raw[:_FINGERPRINT_BYTES],
    )


def pin_certificate(invitation: Invitation, folder: Path) -> Path:
    """Write the broker's certificate, if it is the one that the token pins, to trust it alone.

    Raises:
        RefusedError: the broker there shows another certificate.
        TransportError: nobody answers there.
    """
    try:
        pem = ssl.get_server_certificate((invitation.host, invitation.port), timeout=_CONNECT_S)
    except (OSError, ValueError) as problem:
        raise TransportError(
            f"broker {invitation.host}:{invitation.port} cannot be reached: {problem}"
        ) from None
    shown = hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).digest()
    if not secrets.compare_digest(shown, invitation.fingerprint):
        raise RefusedError(
            f"the broker at {invitation.host}:{invitation.port} is not the one that the token"
            " names: its certificate is another; ask for a new line, and do not trust the network"
            " between"
        )
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "broker.pem"
    file.write_text(pem, encoding="ascii")
    return file


def make_certificate(folder: Path, names: list[str]) -> tuple[Path, Path, bytes]:
    """A certificate for these host names and addresses, signed by itself: (certificate, key, hash).

    Valid for ten years; the key is readable by its owner alone.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0][:64])])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        # Clocks of machines differ.
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=_VALID_DAYS))
        .add_extension(
            x509.SubjectAlternativeName([_general_name(n) for n in names]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )
    folder.mkdir(parents=True, exist_ok=True)
    key_file, certificate_file = folder / "broker.key", folder / "broker.pem"
    key_file.touch(mode=0o600)
    key_file.chmod(0o600)
    key_file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    certificate_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    return certificate_file, key_file, certificate.fingerprint(hashes.SHA256())


def host_of(word: str) -> str:
    """A machine's name or address as a certificate and a URL have it. Raises ConfigError."""
    try:
        return str(ipaddress.ip_address(word.removeprefix("[").removesuffix("]")))
    except ValueError:
        pass
    with contextlib.suppress(UnicodeError):
        name = word.encode("idna").decode()
        if _HOST.fullmatch(name):
            return name
    raise ConfigError(
        f"{word!r} is no name or address of a machine; allowed: first.example, 192.0.2.7"
    )


def own_addresses() -> list[str]:
    """Names and addresses by which others may know this machine, the likeliest first."""
    found: list[str] = []
    # Nothing is sent: connecting a datagram socket only chooses the route, hence the address.
    for family, far in ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1")):
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            try:
                probe.connect((far, 9))
                found.append(probe.getsockname()[0])
            except OSError:
                continue
    if _HOST.fullmatch(socket.gethostname()):
        found.append(socket.gethostname())
    found += ["localhost", "127.0.0.1"]
    return list(dict.fromkeys(found))


def _general_name(name: str) -> "x509.GeneralName":
    from cryptography import x509

    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
