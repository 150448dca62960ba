import pytest

from p2pfl.transport import topics
from p2pfl.transport.topics import Address, parse
from p2pfl.types import NodeId

A, B = NodeId("a"), NodeId("b")


@pytest.mark.parametrize(
    ("topic", "address"),
    [
        (topics.manifest("r-1"), Address("manifest", "r-1")),
        (topics.control("r-1"), Address("control", "r-1")),
        (topics.head("r-1", "a"), Address("head", "r-1", A)),
        (topics.presence("r-1", "a"), Address("presence", "r-1", A)),
        (topics.metrics("r-1", "a"), Address("metrics", "r-1", A)),
        (topics.part("r-1", "a", 1, 77), Address("part", "r-1", A, slot=1, index=77)),
        (topics.letter("r-1", "a", "b"), Address("letter", "r-1", A, receiver=B)),
    ],
)
def test_every_topic_says_what_it_was_made_of(topic: str, address: Address) -> None:
    assert topic.startswith("p2pfl/1/r-1/")
    assert parse(topic) == address


@pytest.mark.parametrize(
    "topic",
    [
        "",
        "p2pfl",
        "p2pfl/1",
        "p2pfl/2/r/manifest",
        "p2pfl/1//manifest",
        "p2pfl/1/r/+/head",
        "p2pfl/1/r/a/tail",
        "p2pfl/1/r/a/part/0",
        "p2pfl/1/r/a/part/x/1",
        "p2pfl/1/r/a/part/0/-1",
        "p2pfl/1/r/a/part/0/123456",
        "p2pfl/1/r/a/part/0/٣",
        "p2pfl/1/r/a/to/#",
        "p2pfl/1/r/a/to/b/c",
        f"p2pfl/1/{'r' * 129}/manifest",
        "other/1/r/manifest",
    ],
)
def test_a_foreign_topic_says_nothing(topic: str) -> None:
    assert parse(topic) is None
