"""What the world of an experiment must satisfy beyond ranges: names, times, matching keys."""

from collections import Counter
from collections.abc import Iterator
from typing import Final

from p2pfl.config.read import Place, shown
from p2pfl.config.schema import ExperimentConfig
from p2pfl.config.world import ComputeConfig, NetworkConfig, NetworkPartitionConfig

SERVER_TOO: Final = "network."
"""Below this key FedAvg's server may be named too."""


def named_nodes(config: ExperimentConfig) -> Iterator[tuple[str, str]]:
    """Every node that a section names, with the dotted key that names it."""
    for key in ("local_steps_of", "weights"):
        yield from ((f"training.{key}", node) for node in getattr(config.training, key))
    yield from (("compute.slowdown", node) for node in config.compute.slowdown)
    faults, network = config.faults, config.network
    for kind in ("crash", "leave", "join"):
        for i, fault in enumerate(getattr(faults, kind)):
            yield f"faults.{kind}[{i}].node", fault.node
    for key in ("node_uplink_bytes_per_s", "node_downlink_bytes_per_s"):
        yield from ((f"network.{key}", node) for node in getattr(network, key))
    for i, link in enumerate(network.links):
        yield from ((f"network.links[{i}].between", node) for node in link.between)
    for i, partition in enumerate(network.partitions):
        for j, group in enumerate(partition.groups):
            yield from ((f"network.partitions[{i}].groups[{j}]", node) for node in group)


def check_world(config: ExperimentConfig, place: Place) -> None:
    """Refuse a world that contradicts itself.

    Raises:
        ConfigError: the first thing wrong.
    """
    _check_compute(config.compute, place.at("compute"))
    _check_read(config.network, "latency_sigma", "latency", "lognormal", place.at("network"))
    _check_links(config.network, place.at("network"))
    for i, partition in enumerate(config.network.partitions):
        _check_partition(partition, place.at(f"network.partitions[{i}]"))
    _check_faults(config, place.at("faults"))
    _check_end(config, place)


def _check_compute(compute: ComputeConfig, place: Place) -> None:
    _check_read(compute, "alpha", "distribution", "pareto", place)
    if compute.availability is not None and compute.trace:
        raise place.at("availability").error(
            "is given and so is compute.trace, which says itself when devices are up;"
            " remove one of them"
        )


def _check_read(
    part: ComputeConfig | NetworkConfig, key: str, kind: str, needed: str, place: Place
) -> None:
    """A number of one distribution is refused under another, where nothing would read it."""
    if getattr(part, key) != getattr(type(part)(), key) and getattr(part, kind) != needed:
        raise place.at(key).error(
            f'is read by the {kind} "{needed}" only, and {place.key}.{kind} is'
            f" {shown(getattr(part, kind))}; remove one of them"
        )


def _check_links(network: NetworkConfig, place: Place) -> None:
    seen: set[frozenset[str]] = set()
    for i, link in enumerate(network.links):
        here, pair = place.at(f"links[{i}]"), frozenset(link.between)
        if len(pair) < len(link.between):
            raise here.at("between").error(f"is {shown(link.between)}; allowed: two nodes")
        if pair in seen:
            raise here.at("between").error(f"is {shown(link.between)}, which stands there twice")
        if link.latency_s is None and link.loss is None:
            raise here.error("says nothing; give latency_s, loss or both")
        seen.add(pair)


def _check_partition(partition: NetworkPartitionConfig, place: Place) -> None:
    if partition.until_s is not None and partition.until_s <= partition.from_s:
        raise place.at("until_s").error(
            f"is {partition.until_s:g}; allowed: above from_s, which is {partition.from_s:g}"
        )
    if not partition.groups or not all(partition.groups):
        raise place.at("groups").error("has nobody in it; allowed: lists of nodes, each not empty")
    counts = Counter(node for group in partition.groups for node in group)
    twice = [node for node, n in counts.items() if n > 1]
    if twice:
        raise place.at("groups").error(f"names {shown(twice[0])} twice; a node is in one group")


def _check_faults(config: ExperimentConfig, place: Place) -> None:
    for i, crash in enumerate(config.faults.crash):
        _check_order(crash.at_s, crash.restart_s, "restart_s", place.at(f"crash[{i}]"))
    for i, leave in enumerate(config.faults.leave):
        _check_order(leave.at_s, leave.return_s, "return_s", place.at(f"leave[{i}]"))
    counts = Counter(join.node for join in config.faults.join)
    for i, join in enumerate(config.faults.join):
        if counts[join.node] > 1:
            raise place.at(f"join[{i}].node").error(
                f"is {shown(join.node)}, which stands there twice; who comes back is told by"
                " faults.leave"
            )


def _check_order(first_s: float, then_s: float | None, key: str, place: Place) -> None:
    if then_s is not None and then_s <= first_s:
        raise place.at(key).error(f"is {then_s:g}; allowed: above at_s, which is {first_s:g}")


def _check_end(config: ExperimentConfig, place: Place) -> None:
    """What may keep a node from its last step for ever needs an end by time."""
    if config.stop.time_s is not None:
        return
    if config.faults.churn is not None:
        raise place.at("faults.churn").error(
            "never ends, and a life may be too short for stop.steps; give stop.time_s too"
        )
    for i, partition in enumerate(config.network.partitions):
        if partition.until_s is None:
            raise place.at(f"network.partitions[{i}].until_s").error(
                "is missing: it never heals, and who waits for the other side may never reach"
                " stop.steps; give until_s, or stop.time_s"
            )
