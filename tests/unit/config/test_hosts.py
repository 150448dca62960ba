"""The hosts file: what it may say, and the one line that refuses the rest."""

from pathlib import Path
from typing import Any

import pytest

from p2pfl.config.hosts import hosts_from_mapping, load_hosts
from p2pfl.errors import ConfigError


def read(table: dict[str, Any], folder: Path = Path("/etc/lab")) -> Any:  # noqa: ANN401 - by key
    return hosts_from_mapping(table, source="hosts.toml", folder=folder).hosts


def test_a_host_is_its_own_address_and_has_every_default() -> None:
    (host,) = read({"hosts": {"lab": {}}}).values()
    assert (host.address, host.port, host.python, host.nodes) == ("lab", 22, "python3", ())


def test_defaults_hold_for_all_hosts_that_say_nothing_else() -> None:
    hosts = read({"defaults": {"user": "ann", "port": 2222}, "hosts": {"a": {}, "b": {"port": 1}}})
    assert [(host.user, host.port) for host in hosts.values()] == [("ann", 2222), ("ann", 1)]


def test_keys_lie_beside_the_file_that_names_them() -> None:
    host = read({"hosts": {"a": {"key": "id", "known_hosts": "/etc/ssh/known"}}})["a"]
    assert (host.key, host.known_hosts) == ("/etc/lab/id", "/etc/ssh/known")


@pytest.mark.parametrize(
    ("table", "sentence"),
    [
        ({}, "hosts.toml: hosts is missing"),
        ({"hosts": {}}, "hosts is empty; needed: a table"),
        ({"hosts": {"a": {"usr": "x"}}}, 'hosts.a.usr is unknown; did you mean "user"?'),
        ({"defaults": {"nodes": ["n0"]}, "hosts": {"a": {}}}, "defaults.nodes is unknown"),
        ({"hosts": {"a": {"port": 0}}}, "hosts.a.port is 0; allowed: 1 to 65535"),
        ({"hosts": {"a": {"port": "22"}}}, 'hosts.a.port is "22"; allowed: a whole number'),
        ({"hosts": {"a": {"address": "-oProxy"}}}, "no leading dash"),
        ({"hosts": {"a": {"device": "gpu"}}}, 'device is "gpu"; allowed: auto, cpu, cuda'),
        ({"hosts": {"a": {"share": 0}}}, "hosts.a.share is 0; allowed: more than 0"),
        ({"hosts": {"a": {"share": 2.0, "nodes": ["n0"]}}}, "both nodes and a share"),
        ({"hosts": {"a": {"nodes": ["n0"]}, "b": {"nodes": ["n0"]}}}, "'n0' twice, at a and at b"),
        ({"hosts": {"a": {"python": ""}}}, "empty python or folder"),
        ({"hosts": {"a b": {}}}, "is no name of a host"),
        ({"hosts": {"a": 3}}, "hosts.a is 3; allowed: a table"),
        ({"alone_s": 0, "hosts": {"a": {}}}, "alone_s is 0; allowed: more than 0 seconds"),
    ],
)
def test_a_mistake_is_refused_with_its_place(table: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(table)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "hosts.toml").write_text("hosts = [", encoding="utf-8")
    with pytest.raises(ConfigError, match="is not valid TOML"):
        load_hosts(tmp_path / "hosts.toml")
    with pytest.raises(ConfigError, match=r'no such file; did you mean "hosts.toml"'):
        load_hosts(tmp_path / "host.toml")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_hosts(tmp_path)


def test_a_file_of_two_hosts_is_read(tmp_path: Path) -> None:
    file = tmp_path / "hosts.toml"
    file.write_text('[hosts.lab]\nnodes = ["n0"]\n[hosts.edge]\naddress = "10.0.0.7"\n')
    found = load_hosts(file).hosts
    assert found["lab"].nodes == ("n0",)
    assert found["edge"].address == "10.0.0.7"
