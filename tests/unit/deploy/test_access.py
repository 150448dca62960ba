"""Who may say what to whom, against what nodes really publish and subscribe to."""

from typing import Any

import pytest

from p2pfl.config.load import config_from_mapping
from p2pfl.deploy.access import access_rules
from p2pfl.experiment import Experiment
from p2pfl.messages import Incarnation
from p2pfl.transport import topics
from p2pfl.transport.base import Membership, Traffic
from p2pfl.transport.inbox import Inbox
from p2pfl.types import NodeId

RUN = "small-1a2b3c4d"


def experiment(**tables: Any) -> Experiment:  # noqa: ANN401 - as a file has them
    base: dict[str, Any] = {
        "name": "small",
        "topology": {"kind": "path", "nodes": 4},
        "data": {"kind": "quadratic", "dimension": 10},
        "model": "quadratic",
        "training": {"learning_rate": 0.02, "local_steps": 2},
        "stop": {"steps": 10},
    }
    return Experiment(config_from_mapping(base | tables, source="test"))


def rules(what: Experiment) -> dict[str, dict[str, set[str]]]:
    """User -> word -> topics."""
    found: dict[str, dict[str, set[str]]] = {}
    for block in access_rules(what, RUN).strip().split("\n\n"):
        head, *lines = block.splitlines()
        user = found[head.removeprefix("user ")] = {"read": set(), "write": set()}
        for line in lines:
            word, how, topic = line.split()
            assert word == "topic"
            user[how].add(topic)
    return found


def allows(patterns: set[str], topic: str) -> bool:
    return any(
        topic == pattern or (pattern.endswith("/#") and topic.startswith(pattern[:-1]))
        for pattern in patterns
    )


def ignore(*_: object) -> None:
    """Nothing is told."""


@pytest.mark.parametrize(
    "tables",
    [
        {},
        {"algorithm": {"kind": "fedavg"}},
        {
            "algorithm": {"kind": "sgp"},
            "topology": {"kind": "exponential", "nodes": 5, "directed": True, "weights": "uniform"},
        },
    ],
    ids=["path", "star", "one-way"],
)
def test_every_node_may_subscribe_to_all_that_it_does_and_to_nothing_else(
    tables: dict[str, Any],
) -> None:
    what = experiment(**tables)
    found = rules(what)
    assert list(found) == list(what.places)
    for name, place in what.places.items():
        inbox = Inbox(
            run=RUN,
            node=name,
            incarnation=Incarnation(1, 1),
            membership=Membership(
                neighbours=[peer for peer, _ in place.neighbours],
                schema="s",
                dimension=10,
                digest="d",
            ),
            traffic=Traffic(),
            on_subscriptions=ignore,
            on_own_presence=ignore,
            on_claim=ignore,
        )
        wanted = set(inbox.wanted())
        peers = [peer for peer, _ in place.neighbours]
        assert all(allows(found[name]["read"], topic) for topic in wanted)
        assert found[name]["read"] - {topics.parts(RUN, peer) for peer in peers} == wanted


def test_a_node_may_write_its_own_topics_alone() -> None:
    found = rules(experiment())
    for name, user in found.items():
        own = f"{topics.ROOT}/{RUN}/{name}/"
        others = {topic for topic in user["write"] if not topic.startswith(own)}
        assert others == ({topics.manifest(RUN)} if name == "n0" else set())
        for topic in (
            topics.head(RUN, name),
            topics.part(RUN, name, 1, 17),
            topics.presence(RUN, name),
            topics.metrics(RUN, name),
            topics.letter(RUN, name, name),
        ):
            assert allows(user["write"], topic)
        assert not allows(user["write"], topics.control(RUN))


def test_letters_go_along_links_alone() -> None:
    found = rules(experiment())
    letters = {
        (sender, receiver)
        for sender in found
        for receiver in found
        if allows(found[sender]["write"], topics.letter(RUN, sender, receiver))
    }
    assert letters == {(a, b) for a in found for b in found if abs(int(a[1]) - int(b[1])) <= 1}
    for sender, receiver in letters:
        assert allows(found[receiver]["read"], topics.letter(RUN, sender, receiver))


def test_nobody_hears_those_who_are_no_neighbours() -> None:
    read = rules(experiment())["n0"]["read"]
    for kind in (topics.head, topics.presence):
        assert allows(read, kind(RUN, NodeId("n1")))
        assert not allows(read, kind(RUN, NodeId("n2")))
    assert not allows(read, topics.part(RUN, "n2", 0, 0))
