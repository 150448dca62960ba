"""Which node lives where: named, or by shares, and every node exactly once."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pfl.config.hosts import HostsConfig, hosts_from_mapping
from p2pfl.errors import ConfigError
from p2pfl.launch.assignment import assign
from p2pfl.types import NodeId

NODES = tuple(NodeId(f"n{i}") for i in range(6))


def hosts(**tables: dict[str, Any]) -> HostsConfig:
    return hosts_from_mapping({"hosts": tables}, source="hosts.toml", folder=Path())


def test_named_nodes_live_where_they_are_named_and_the_others_are_dealt() -> None:
    found = assign(hosts(a={"nodes": ["n5", "n1"]}, b={}, c={}), NODES)
    assert found == {"a": ("n5", "n1"), "b": ("n0", "n2"), "c": ("n3", "n4")}


def test_a_larger_share_gets_more_nodes() -> None:
    found = assign(hosts(a={"share": 2.0}, b={}), NODES)
    assert found == {"a": NODES[:4], "b": NODES[4:]}


@given(st.lists(st.floats(0.5, 2.0), min_size=1, max_size=4))
def test_every_node_lives_somewhere_and_once(shares: list[float]) -> None:
    many = tuple(NodeId(f"n{i}") for i in range(17))
    found = assign(hosts(**{f"h{i}": {"share": each} for i, each in enumerate(shares)}), many)
    assert tuple(node for nodes in found.values() for node in nodes) == many


@pytest.mark.parametrize(
    ("tables", "sentence"),
    [
        ({"a": {"nodes": ["n9"]}}, "host a: there is no node 'n9' in this experiment; it has n0"),
        ({"a": {"nodes": ["n0"]}}, "no host runs n1, n2, n3, n4, n5"),
        ({"a": {"nodes": list(NODES)}, "b": {}}, "host b would run no node"),
        ({"a": {"share": 100.0}, "b": {}}, "host b would run no node (6 for 2 hosts)"),
    ],
)
def test_what_cannot_be_dealt_is_refused(tables: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        assign(hosts(**tables), NODES)
    assert sentence in str(caught.value)
