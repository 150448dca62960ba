"""The broker star: who gets what when, what the broker keeps, and every byte counted once."""

from typing import Any

import numpy as np
import pytest
from support.clock import VirtualClock

from p2pfl.config.schema import NetworkConfig, NetworkPartitionConfig
from p2pfl.messages import (
    Header,
    Incarnation,
    Message,
    ModelMessage,
    Presence,
    PresenceState,
    VersionRequest,
)
from p2pfl.simulation.network import Endpoint, Parcel, StarNetwork
from p2pfl.types import NodeId, Vector

A, B, C = (NodeId(name) for name in "abc")
LIFE = Incarnation(1, 7)


def model(node: NodeId, version: int, vector: Vector | None = None) -> ModelMessage:
    header = Header(
        run="run",
        schema="schema",
        node=node,
        incarnation=LIFE,
        sequence=version,
        version=version,
        oldest_version=version,
        sent_s=0.0,
    )
    return ModelMessage(header, np.zeros(100, np.float32) if vector is None else vector)


def presence(node: NodeId) -> Presence:
    return Presence("run", node, LIFE, PresenceState.TRAINING)


class Star:
    """Three nodes on a network that writes down what arrives where and when."""

    def __init__(self, **values: Any) -> None:  # noqa: ANN401 - keys of the section
        self.clock = VirtualClock()
        self.network = StarNetwork(NetworkConfig(**values), seed=1)
        for node in (A, B, C):
            self.network.endpoints[node] = Endpoint()
        self.arrived: list[tuple[float, NodeId, Message, bool]] = []
        self.network.connect(self.clock, self._deliver)
        self.size = self.network.size_bytes(model(A, 1))

    def _deliver(self, parcel: Parcel) -> None:
        for receiver in parcel.receivers:
            control = not isinstance(parcel.message, ModelMessage)
            self.network.endpoints[receiver].count_in(parcel.size_bytes, control=control)
            self.arrived.append((self.clock.now_s, receiver, parcel.message, parcel.retained))

    def publish(self, message: Message, *, at_s: float = 0.0) -> None:
        node = message.header.node if isinstance(message, ModelMessage) else message.node
        others = tuple(n for n in (A, B, C) if n != node)
        self.clock.at(at_s, lambda: self.network.carry(node, message, others, retain=True))

    def told(self) -> list[tuple[float, NodeId, int]]:
        """Time, receiver and version of what has arrived."""
        return [
            (round(at_s, 6), receiver, message.header.version)
            for at_s, receiver, message, _ in self.arrived
            if isinstance(message, ModelMessage)
        ]


def test_an_unlimited_network_delivers_after_the_latency() -> None:
    star = Star(latency_s=0.5)
    star.publish(model(A, 1))
    star.clock.run()
    assert star.told() == [(0.5, B, 1), (0.5, C, 1)]
    sent, got = star.network.endpoints[A], star.network.endpoints[B]
    assert (sent.out_bytes, sent.fan_out_bytes, got.in_bytes) == (
        star.size,
        2 * star.size,
        star.size,
    )


def test_a_message_goes_up_once_and_down_once_per_receiver() -> None:
    size = Star().size
    star = Star(latency_s=0.5, uplink_bytes_per_s=size, downlink_bytes_per_s=size / 2)
    star.publish(model(A, 1))
    star.clock.run()
    assert star.told() == [(3.5, B, 1), (3.5, C, 1)]


def test_one_node_may_have_links_of_its_own() -> None:
    size = Star().size
    star = Star(
        latency_s=0.5,
        node_uplink_bytes_per_s={"b": size / 4},
        node_downlink_bytes_per_s={"c": size},
    )
    star.publish(model(A, 1))
    star.publish(model(B, 2))
    star.clock.run()
    assert star.told() == [(0.5, B, 1), (1.5, C, 1), (4.5, A, 2), (5.5, C, 2)]


def test_a_downlink_is_shared_by_all_who_send_there() -> None:
    size = Star().size
    star = Star(latency_s=0.0, node_downlink_bytes_per_s={"c": size})
    star.publish(model(A, 1))
    star.publish(model(B, 2))
    star.clock.run()
    assert [(at_s, v) for at_s, n, v in star.told() if n == C] == [(1.0, 1), (2.0, 2)]


def test_a_model_that_waits_unsent_gives_way_to_a_newer_one_and_never_counts() -> None:
    star = Star(latency_s=0.0, uplink_bytes_per_s=Star().size)
    for version in (1, 2, 3, 4):
        star.publish(model(A, version), at_s=version / 10)
    star.clock.run()
    assert [v for _, n, v in star.told() if n == B] == [1, 4]
    endpoint = star.network.endpoints[A]
    assert (endpoint.superseded, endpoint.out_messages) == (2, 2)
    assert endpoint.out_bytes == 2 * star.size


def test_letters_to_different_peers_do_not_replace_each_other() -> None:
    star = Star(latency_s=0.0, uplink_bytes_per_s=Star().size)
    star.network.carry(A, model(A, 1), (B, C), retain=True)
    for version, peer in ((2, B), (3, C), (4, B)):
        star.network.carry(A, model(A, version), (peer,), retain=False)
    star.clock.run()
    assert [(n, v) for _, n, v in star.told()] == [(B, 1), (C, 1), (B, 4), (C, 3)]
    assert star.network.endpoints[A].superseded == 1


def test_a_receiver_that_falls_behind_skips_to_the_newest() -> None:
    star = Star(latency_s=0.0, node_downlink_bytes_per_s={"b": Star().size / 10})
    for version in range(1, 8):
        star.publish(model(A, version), at_s=float(version))
    star.clock.run()
    assert [v for _, n, v in star.told() if n == B] == [1, 7]
    assert [v for _, n, v in star.told() if n == C] == list(range(1, 8))
    endpoint = star.network.endpoints[B]
    assert (endpoint.skipped, endpoint.in_bytes) == (5, 2 * star.size)


def test_a_duplicate_counts_in_again() -> None:
    star = Star(duplication=0.5, latency_s=0.1)
    for version in range(1, 101):
        star.publish(model(A, version), at_s=float(version))
    star.clock.run()
    got = [star.network.endpoints[n] for n in (B, C)]
    assert sum(e.in_messages for e in got) == len(star.arrived) > 250
    assert sum(e.in_bytes for e in got) == len(star.arrived) * star.size
    assert star.network.endpoints[A].out_bytes == 100 * star.size


def test_a_message_that_is_held_back_is_overtaken() -> None:
    star = Star(reorder=0.3, reorder_s=5.0, latency_s=0.1)
    for version in range(1, 101):
        star.publish(model(A, version), at_s=float(version))
    star.clock.run()
    versions = [v for _, n, v in star.told() if n == B]
    assert sorted(versions) == list(range(1, 101)) != versions


def test_what_is_retained_comes_presences_first_and_says_so() -> None:
    star = Star(latency_s=0.5)
    for node in (A, B):
        star.publish(model(node, 1))
        star.publish(presence(node))
    star.clock.run()
    star.arrived.clear()
    star.network.fetch(C, [A, B])
    star.clock.run()
    assert [(at_s, type(m).__name__, kept) for at_s, _, m, kept in star.arrived] == [
        (1.0, "Presence", True),
        (1.0, "Presence", True),
        (1.0, "ModelMessage", True),
        (1.0, "ModelMessage", True),
    ]


def test_a_partition_loses_messages_but_not_what_the_broker_keeps() -> None:
    star = Star(latency_s=0.5)
    star.network.partitions.begin(0, NetworkPartitionConfig(from_s=0.0, groups=(("a", "b"),)))
    star.publish(model(A, 1))
    star.clock.run()
    assert star.told() == [(0.5, B, 1)]
    star.network.fetch(C, [A])
    star.network.partitions.heal(0)
    star.network.fetch(C, [A])
    star.clock.run()
    assert star.told() == [(0.5, B, 1), (1.0, C, 1)]


def test_a_model_counts_and_is_kept_only_when_the_broker_has_it_whole() -> None:
    star = Star(uplink_bytes_per_s=Star().size)
    star.publish(model(A, 1))
    star.clock.at(0.5, lambda: star.network.hang_up(A))
    star.clock.run()
    assert not star.arrived
    assert star.network.endpoints[A].out_bytes == 0
    assert A not in star.network.retained


def test_who_sleeps_sends_the_rest_when_it_wakes() -> None:
    star = Star(latency_s=0.0, uplink_bytes_per_s=Star().size)
    star.publish(model(A, 1))
    star.clock.at(0.5, lambda: star.network.pause(A))
    star.clock.at(8.0, lambda: star.network.resume(A))
    star.clock.run()
    assert star.told() == [(9.0, B, 1), (9.0, C, 1)]


def test_numbers_arrive_rounded_as_the_wire_rounds_them() -> None:
    star = Star(codec="float16")
    star.publish(model(A, 1, np.full(100, 0.1, np.float32)))
    star.clock.run()
    (_, _, message, _), _ = star.arrived
    assert isinstance(message, ModelMessage)
    assert message.vector[0] == np.float32(np.float16(0.1)) != np.float32(0.1)
    assert star.size < Star().size


@pytest.mark.parametrize("message", [presence(A), VersionRequest("run", A, 3)])
def test_what_is_no_model_counts_as_control_at_both_ends(message: Message) -> None:
    star = Star()
    star.publish(message)
    star.clock.run()
    size = star.network.size_bytes(message)
    assert [star.network.endpoints[n].control_bytes for n in (A, B, C)] == [size] * 3
