"""How long a delivery takes, and whether it comes at all, once or twice: pure draws by counter."""

import math
from collections.abc import Iterable

from p2pfl.compute import lognormal_factor
from p2pfl.config.schema import LinkConfig, NetworkConfig, NetworkPartitionConfig
from p2pfl.draws import draw, draw_normal
from p2pfl.types import NodeId


class LinkLaw:
    """The fate of each delivery, a function of (seed, sender, receiver, number) and nothing else.

    `number` counts what the broker has passed on; a message keeps it for all its receivers.
    """

    def __init__(self, config: NetworkConfig, *, seed: int) -> None:
        self._config = config
        self._seed = seed
        self._links: dict[tuple[str, str], LinkConfig] = {}
        for link in config.links:
            a, b = link.between
            self._links[a, b] = self._links[b, a] = link
        self._lossy = config.loss > 0.0 or any(link.loss for link in config.links)
        self._constant = config.latency == "constant"
        self._plain = self._constant and not config.duplication and not config.reorder

    def arrivals(
        self, sender: NodeId, receivers: tuple[NodeId, ...], number: int
    ) -> Iterable[tuple[float, tuple[NodeId, ...]]]:
        """(seconds from now, who gets it then); who is in none does not get it."""
        if self._lossy:
            receivers = tuple(r for r in receivers if not self._loses(sender, r, number))
        if not receivers:
            return ()
        if not self._plain:
            return [
                (delay_s, (receiver,))
                for receiver in receivers
                for delay_s in self._delays_s(sender, receiver, number)
            ]
        if self._links:
            return self._by_latency(sender, receivers)
        return ((self._config.latency_s, receivers),)

    def mean_latency_s(self, sender: NodeId, receiver: NodeId) -> float:
        """Mean seconds from one to the other."""
        link = self._links.get((sender, receiver))
        if link is None or link.latency_s is None:
            return self._config.latency_s
        return link.latency_s

    def _by_latency(
        self, sender: NodeId, receivers: Iterable[NodeId]
    ) -> Iterable[tuple[float, tuple[NodeId, ...]]]:
        groups: dict[float, list[NodeId]] = {}
        for receiver in receivers:
            groups.setdefault(self.mean_latency_s(sender, receiver), []).append(receiver)
        return [(latency_s, tuple(group)) for latency_s, group in groups.items()]

    def _delays_s(self, sender: NodeId, receiver: NodeId, number: int) -> tuple[float, ...]:
        """One delay, or two where the broker has not heard of the first one's arrival."""
        config, link = self._config, f"{sender}>{receiver}"
        mean_s = self.mean_latency_s(sender, receiver)
        first_s = self._latency_s(link, "latency", number, mean_s)
        if config.reorder and draw(self._seed, link, "reorder", number) < config.reorder:
            first_s += _exponential(config.reorder_s, draw(self._seed, link, "held", number))
        if config.duplication and draw(self._seed, link, "twice", number) < config.duplication:
            return first_s, first_s + self._latency_s(link, "again", number, mean_s)
        return (first_s,)

    def _latency_s(self, link: str, purpose: str, number: int, mean_s: float) -> float:
        if self._constant:
            return mean_s
        if self._config.latency == "exponential":
            return _exponential(mean_s, draw(self._seed, link, purpose, number))
        normal = draw_normal(self._seed, link, purpose, number)
        return mean_s * lognormal_factor(self._config.latency_sigma, normal)

    def _loses(self, sender: NodeId, receiver: NodeId, number: int) -> bool:
        link = self._links.get((sender, receiver))
        loss = self._config.loss if link is None or link.loss is None else link.loss
        return loss > 0.0 and draw(self._seed, f"{sender}>{receiver}", "loss", number) < loss


class Partitions:
    """Who cannot hear whom right now; several partitions may hold at once."""

    def __init__(self) -> None:
        self._sides: dict[int, dict[str, int]] = {}

    def begin(self, key: int, partition: NetworkPartitionConfig) -> None:
        """Part the groups from each other, and from everybody who is in none."""
        self._sides[key] = {
            node: side for side, group in enumerate(partition.groups) for node in group
        }

    def heal(self, key: int) -> None:
        """End one partition; others may still hold."""
        self._sides.pop(key, None)

    def __bool__(self) -> bool:
        """True while any partition holds."""
        return bool(self._sides)

    def apart(self, a: NodeId, b: NodeId) -> bool:
        """True while these two cannot hear each other."""
        return any(side.get(a, -1) != side.get(b, -1) for side in self._sides.values())


def _exponential(mean: float, uniform: float) -> float:
    return -mean * math.log(1.0 - uniform)
