"""The one line that lets another machine into a run."""

import ssl
from pathlib import Path

import pytest

from p2pfl.errors import ConfigError, TransportError
from p2pfl.transport.invitation import (
    Invitation,
    host_of,
    make_certificate,
    new_password,
    own_addresses,
    pin_certificate,
    read_invitation,
)


def invitation(host: str = "first.example") -> Invitation:
    return Invitation(
        host=host, port=8884, run="digits-1a2b", password=new_password(), fingerprint=bytes(32)
    )


@pytest.mark.parametrize("host", ["first.example", "192.0.2.7", "2001:db8::1"])
def test_an_invitation_comes_back_from_its_line(host: str) -> None:
    given = invitation(host)
    assert read_invitation(given.line) == given
    assert read_invitation(f"  p2pfl join {given.line}\n") == given


def test_the_token_may_come_by_another_way() -> None:
    given = invitation()
    assert given.token not in given.address
    assert given.token not in given.url
    assert read_invitation(given.address, token=f"{given.token}\n") == given
    assert read_invitation(given.address, token=f" p2pfl join {given.line} \r\n") == given


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("mqtt://first.example:1883/digits#x", "no invitation"),
        ("mqtts://first.example:x/digits#x", "no address"),
        ("mqtts://first.example/#x", "no invitation"),
        ("mqtts://first.example/digits", "the token is missing"),
        ("mqtts://first.example/digits#secret?", "the token is damaged"),
        ("mqtts://first.example/digits#c2VjcmV0", "the token is damaged"),
    ],
)
def test_what_is_no_invitation_is_refused_without_showing_secrets(line: str, word: str) -> None:
    with pytest.raises(ConfigError, match=word) as refusal:
        read_invitation(line)
    assert "secret" not in str(refusal.value)
    assert "c2VjcmV0" not in str(refusal.value)


def test_no_port_means_the_usual_one() -> None:
    given = invitation()
    assert read_invitation(given.line.replace(":8884", "")).port == 8883


def test_every_run_has_another_password() -> None:
    assert new_password() != new_password()


def test_a_certificate_is_good_for_its_names_and_its_key_is_private(tmp_path: Path) -> None:
    certificate, key, fingerprint = make_certificate(tmp_path, ["first.example", "192.0.2.7"])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    assert key.stat().st_mode & 0o077 == 0
    assert len(fingerprint) == 32
    text = ssl.PEM_cert_to_DER_cert(certificate.read_text())
    assert b"first.example" in text
    assert bytes([192, 0, 2, 7]) in text


def test_where_nobody_answers_is_told(tmp_path: Path) -> None:
    nobody = Invitation(
        host="127.0.0.1", port=1, run="r", password=new_password(), fingerprint=bytes(32)
    )
    with pytest.raises(TransportError, match=r"broker 127\.0\.0\.1:1 cannot be reached"):
        pin_certificate(nobody, tmp_path)


def test_a_machine_knows_some_name_of_its_own() -> None:
    assert "localhost" in own_addresses()


def test_a_machines_name_is_as_certificates_have_it() -> None:
    assert host_of("first.example") == "first.example"
    assert host_of("[2001:db8::0:1]") == "2001:db8::1"
    assert host_of("m\u00fcnchen.example") == "xn--mnchen-3ya.example"
    for word in ("a b", "x:1", "*", "a" * 300, "", "mqtts://first.example"):
        with pytest.raises(ConfigError, match="no name or address of a machine"):
            host_of(word)
