"""Which node lives on which host."""

from collections.abc import Mapping, Sequence

from p2pfl.config.hosts import HostsConfig
from p2pfl.errors import ConfigError
from p2pfl.types import NodeId


def assign(hosts: HostsConfig, nodes: Sequence[NodeId]) -> Mapping[str, tuple[NodeId, ...]]:
    """Host -> its nodes, each node once: those that it names, or its share of the others in order.

    Raises:
        ConfigError: a host names a node that is not there, some node has no host, or some host
            would have no node.
    """
    known = set(nodes)
    for name, host in hosts.hosts.items():
        for node in host.nodes:
            if node not in known:
                raise ConfigError(
                    f"host {name}: there is no node {node!r} in this experiment; it has"
                    f" {', '.join(nodes[:8])}{' ...' if len(nodes) > 8 else ''}"  # noqa: PLR2004 - a line's length
                )
    named = {node for host in hosts.hosts.values() for node in host.nodes}
    rest = [node for node in nodes if node not in named]
    left = len(rest)
    open_hosts = {name: host.share for name, host in hosts.hosts.items() if not host.nodes}
    if rest and not open_hosts:
        raise ConfigError(f"no host runs {', '.join(rest)}: add them to the nodes of some host")
    found = {name: tuple(map(NodeId, host.nodes)) for name, host in hosts.hosts.items()}
    for name, count in _shares(open_hosts, left).items():
        if not count:
            raise ConfigError(
                f"host {name} would run no node ({left} for {len(open_hosts)} hosts): take it"
                " out of the file, or give it a larger share"
            )
        found[name], rest = tuple(rest[:count]), rest[count:]
    return found


def _shares(weights: Mapping[str, float], count: int) -> dict[str, int]:
    """`count` dealt in proportion to the weights, by largest remainders."""
    total = sum(weights.values())
    exact = {name: count * weight / total for name, weight in weights.items()}
    dealt = {name: int(share) for name, share in exact.items()}
    order = sorted(exact, key=lambda name: dealt[name] - exact[name])
    for name in order[: count - sum(dealt.values())]:
        dealt[name] += 1
    return dealt
