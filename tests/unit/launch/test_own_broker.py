"""A broker of the launching machine: where it listens, and whom it lets in."""

from pathlib import Path

import pytest

from p2pfl.errors import ConfigError
from p2pfl.launch.own_broker import own_broker


@pytest.mark.parametrize(
    ("place", "url"),
    [
        ("first.example", "mqtts://p2pfl@first.example:8883"),
        ("first.example:99", "mqtts://p2pfl@first.example:99"),
        ("10.0.0.1:99", "mqtts://p2pfl@10.0.0.1:99"),
        ("[::1]:99", "mqtts://p2pfl@[::1]:99"),
        ("::1", "mqtts://p2pfl@[::1]:8883"),
    ],
)
def test_a_place_is_a_host_with_or_without_a_port(place: str, url: str, tmp_path: Path) -> None:
    assert own_broker(place, tmp_path, engine="nats").url == url


@pytest.mark.parametrize("place", ["", "a:b", "a:70000", ":99"])
def test_what_is_no_place_is_refused(place: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="allowed: this machine's name or address, or HOST:PORT"):
        own_broker(place, tmp_path, engine="nats")


def test_it_listens_on_its_own_address_and_else_on_all(tmp_path: Path) -> None:
    assert own_broker("127.0.0.1:0", tmp_path, engine="nats").broker.host == "127.0.0.1"
    assert own_broker("first.example", tmp_path, engine="nats").broker.host == "0.0.0.0"  # noqa: S104 - compared only


def test_two_brokers_have_two_passwords(tmp_path: Path) -> None:
    first, second = (own_broker("a", tmp_path, engine="nats").password for _ in range(2))
    assert first != second
