"""What a link keeps subscribed, over a connection whose answers are slow."""

import asyncio
from collections.abc import AsyncIterator, Collection, Iterable, Mapping
from contextlib import asynccontextmanager

import pytest

from p2pfl.transport import link as module
from p2pfl.transport.link import Connection, Disconnected, Handler, Link, Will


class SlowAnswers(Connection):
    """Writes down what is sent, and answers when it is told to."""

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.answering = asyncio.Event()

    async def publish(self, topic: str, payload: bytes, *, qos: int, retain: bool) -> None:
        raise NotImplementedError

    async def subscribe(self, topics: Mapping[str, int]) -> None:
        self.sent += [f"+{topic}" for topic in topics]
        await self.answering.wait()

    async def unsubscribe(self, topics: Iterable[str]) -> None:
        self.sent += [f"-{topic}" for topic in topics]
        await self.answering.wait()

    async def ended(self) -> None:
        await asyncio.Event().wait()

    async def close(self) -> None:
        pass


class Connector:
    place = "nowhere:1"

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def connect(self, *, client_id: str, handler: Handler, will: Will | None) -> Connection:
        del client_id, handler, will
        return self._connection


@asynccontextmanager
async def opened(
    wanted: dict[str, tuple[int, int]], unsure: Collection[str] = ()
) -> AsyncIterator[tuple[Link, SlowAnswers, asyncio.Task[None]]]:
    connection = SlowAnswers()
    link = Link(
        Connector(connection),
        client_id="me",
        handler=print,
        will=None,
        subscriptions=lambda: wanted,
        unsure=lambda: unsure,
        on_connected=lambda: None,
        jobs={},
        name="run/me",
    )
    opening = asyncio.create_task(link.open(print))
    await settle()
    try:
        yield link, connection, opening
    finally:
        await link.close()
        await opening


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_a_link_is_open_only_when_the_first_subscription_is_answered() -> None:
    async with opened({"a": (1, 0)}) as (link, connection, opening):
        assert connection.sent == ["+a"]
        assert not opening.done()
        assert not link.connected
        connection.answering.set()
        await settle()
        assert opening.done()
        assert link.connected


async def test_a_change_of_what_is_wanted_does_not_wait_for_the_answer_to_the_one_before() -> None:
    wanted = {"a": (1, 0)}
    async with opened(wanted) as (link, connection, _):
        connection.answering.set()
        await settle()
        connection.answering.clear()
        for number in range(5):
            wanted[f"part/{number}"] = (0, 0)
            wanted.pop(f"part/{number - 1}", None)
            link.subscriptions_changed()
            await settle()
        moves = [word for word in connection.sent if "part" in word]
        assert moves[0] == "+part/0"
        assert moves[1:] == [
            word for number in range(1, 5) for word in (f"-part/{number - 1}", f"+part/{number}")
        ]
        connection.answering.set()


async def test_a_topic_of_a_new_generation_is_unsubscribed_before_it_is_subscribed_again() -> None:
    wanted = {"part/0": (0, 0)}
    async with opened(wanted) as (link, connection, _):
        connection.answering.set()
        await settle()
        connection.answering.clear()
        wanted["part/0"] = (0, 1)
        link.subscriptions_changed()
        await settle()
        assert connection.sent == ["+part/0", "-part/0", "+part/0"]
        connection.answering.set()


async def test_what_may_have_been_missed_is_subscribed_again_on_top_of_what_is_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A subscription that NATS makes while a message is stored gets the one before it, or none."""
    monkeypatch.setattr(module, "ASK_AGAIN_S", (0.01, 0.01))
    unsure = ["a"]
    async with opened({"a": (1, 0), "b": (1, 0)}, unsure) as (_, connection, _):
        await asyncio.sleep(0.05)
        assert connection.sent == ["+a", "+b"]  # Pauses begin when these are answered.
        connection.answering.set()
        await asyncio.sleep(0.2)
        assert connection.sent == ["+a", "+b", "+a", "+a"]


async def test_a_link_that_is_given_up_before_it_is_open_says_so() -> None:
    connection = SlowAnswers()
    link = Link(
        Connector(connection),
        client_id="me",
        handler=print,
        will=None,
        subscriptions=lambda: {"a": (1, 0)},
        unsure=tuple,
        on_connected=lambda: None,
        jobs={},
        name="run/me",
    )
    opening = asyncio.create_task(link.open(print))
    await settle()
    link.abort()
    with pytest.raises(Disconnected, match="closed before it was open"):
        await opening
