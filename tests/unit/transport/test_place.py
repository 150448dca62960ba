"""Which run several end in who come at once, where the broker has no one order for all."""

import asyncio
from collections.abc import Iterable, Mapping

import pytest

from p2pfl.transport.link import Connection, Handler, Incoming, Will
from p2pfl.transport.manifest import Manifest
from p2pfl.transport.observer import RunObserver
from p2pfl.transport.place import new_run_id
from p2pfl.transport.topics import manifest as manifest_topic

ACROSS_S = 0.02


class Cluster:
    """Servers that tell their own clients first, and each other a moment later."""

    def __init__(self) -> None:
        self.connections: list[tuple[int, AtServer]] = []
        self.retained: dict[str, bytes] = {}

    def publish(self, server: int, topic: str, payload: bytes) -> None:
        self.retained[topic] = payload
        loop = asyncio.get_running_loop()
        for at, connection in self.connections:
            delay_s = 0.0 if at == server else ACROSS_S
            loop.call_later(delay_s, connection.hear, topic, payload, False)


class AtServer(Connection):
    def __init__(self, cluster: Cluster, server: int, handler: Handler) -> None:
        self.cluster, self.server, self.handler = cluster, server, handler
        self.subscribed: set[str] = set()
        cluster.connections.append((server, self))

    def hear(self, topic: str, payload: bytes, retained: bool) -> None:  # noqa: FBT001 - a flag of MQTT.
        if topic in self.subscribed:
            self.handler(Incoming(topic, payload, retained))

    async def publish(self, topic: str, payload: bytes, *, qos: int, retain: bool) -> None:
        del qos, retain
        self.cluster.publish(self.server, topic, payload)
        await asyncio.sleep(0)

    async def subscribe(self, topics: Mapping[str, int]) -> None:
        for topic in topics:
            self.subscribed.add(topic)
            if self.cluster.retained.get(topic):
                self.hear(topic, self.cluster.retained[topic], True)

    async def unsubscribe(self, topics: Iterable[str]) -> None:
        self.subscribed -= set(topics)

    async def ended(self) -> None:
        await asyncio.Event().wait()

    async def close(self) -> None:
        pass


class ConnectorAt:
    def __init__(self, cluster: Cluster, server: int) -> None:
        self.cluster, self.server = cluster, server

    @property
    def place(self) -> str:
        return f"server-{self.server}:1"

    async def connect(self, *, client_id: str, handler: Handler, will: Will | None) -> Connection:
        del client_id, will
        return AtServer(self.cluster, self.server, handler)


def draft() -> Manifest:
    return Manifest(run=new_run_id("demo"), name="demo", digest="beef", nodes=("a", "b"))


@pytest.mark.parametrize("servers", [1, 3])
async def test_several_that_start_at_once_at_servers_of_a_cluster_end_in_one_run(
    servers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("p2pfl.transport.probe._SETTLE_S", 0.1)
    cluster, drafts = Cluster(), [draft() for _ in range(6)]

    async def find(number: int) -> str:
        async with RunObserver(ConnectorAt(cluster, number % servers)) as observer:
            return (await observer.find_or_create_run(drafts[number])).run

    runs = await asyncio.gather(*(find(number) for number in range(6)))
    assert len(set(runs)) == 1
    # The others' runs are gone, and whoever comes later finds this one.
    described = {each.run for each in drafts if cluster.retained.get(manifest_topic(each.run))}
    assert described == set(runs)
    async with RunObserver(ConnectorAt(cluster, 0)) as observer:
        found = await observer.find_run("demo")
    assert found is not None
    assert found.run == runs[0]
