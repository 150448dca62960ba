"""Watching and steering runs without being a node: manifests, words of control, what nodes say."""

import logging
import secrets
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Self

from p2pfl.codec.frame import decode
from p2pfl.codec.limits import INLINE_BYTES_MAX
from p2pfl.errors import P2pflError, ProtocolError, TransportError
from p2pfl.messages import ModelMessage, Presence
from p2pfl.transport import topics
from p2pfl.transport.base import Row
from p2pfl.transport.inbox import HEAD_BYTES_MAX
from p2pfl.transport.link import Connector, Incoming, Link
from p2pfl.transport.mailbox import Mailbox
from p2pfl.transport.manifest import Manifest, encode_pointer, read_manifest
from p2pfl.transport.place import find_or_create_run, find_run
from p2pfl.transport.probe import Probe
from p2pfl.transport.words import Control, Head, Word, kind_of, read_head, read_row
from p2pfl.types import NodeId

_CLEAR_PARTS_MAX: Final = 65536

_log: Final = logging.getLogger("p2pfl.transport")


@dataclass(frozen=True, slots=True)
class Heard:
    """One thing that a node has said.

    `what`: a presence, a line of metrics, a small model (inlined in its head), or the head of a
    large one.
    """

    node: NodeId
    what: Presence | Row | ModelMessage | Head
    retained: bool
    payload_bytes: int


class RunObserver:
    """Entering connects once; `watch` follows a run and reconnects."""

    def __init__(self, connector: Connector) -> None:
        self._connector = connector
        self._probe: Probe | None = None
        self._links: list[Link] = []

    async def __aenter__(self) -> Self:
        """Connect. Raises TransportError, RefusedError."""
        self._probe = await Probe(self._connector, name="observer").__aenter__()
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Disconnect."""
        for link in self._links:
            await link.close()
        self._links.clear()
        if self._probe is not None:
            await self._probe.__aexit__(None, None, None)
            self._probe = None

    async def find_run(self, name: str) -> Manifest | None:
        """The newest run of an experiment's name, if it has not ended."""
        return await find_run(self._open, name)

    async def find_or_create_run(self, draft: Manifest) -> Manifest:
        """The living run of `draft.name`, or a new one; see `place`. Raises RefusedError."""
        return await find_or_create_run(self._open, draft)

    async def read_manifest(self, run: str) -> Manifest | None:
        """A run's manifest. Raises ProtocolError where it is unreadable."""
        topic = topics.manifest(run)
        found = await self._open.read([topic])
        return read_manifest(found[topic]) if topic in found else None

    async def describe_run(self, manifest: Manifest) -> None:
        """Create or replace a run's manifest; the experiment's name stays what it was."""
        await self._open.publish(topics.manifest(manifest.run), manifest.encode(), retain=True)

    async def publish_manifest(self, manifest: Manifest) -> None:
        """Create or replace a run's manifest, and point the experiment's name at it."""
        await self._open.publish(topics.manifest(manifest.run), manifest.encode(), retain=True)
        pointer = encode_pointer(manifest.run)
        await self._open.publish(topics.manifest(manifest.name), pointer, retain=True)

    async def control(self, run: str, word: Word, reason: str = "") -> None:
        """Say `go` or `end` to all nodes of a run, now and to those that come later."""
        await self._open.publish(topics.control(run), Control(word, reason).encode(), retain=True)

    async def watch(self, run: str, nodes: Iterable[str]) -> AsyncIterator[Heard]:
        """What these nodes say, from now on and retained; forever, over reconnects.

        What waits unread is bounded: per node one presence and one head, and 64 lines of metrics.

        Raises:
            TransportError, RefusedError: the connection is beyond repair.
        """
        mailbox: Mailbox[Heard] = Mailbox()
        link = self._link(run, tuple(nodes), mailbox)
        self._links.append(link)

        def on_fault(fault: BaseException) -> None:
            known = isinstance(fault, P2pflError)
            mailbox.fail(fault if known else TransportError(f"stopped: {fault!r}"))

        await link.open(on_fault)
        try:
            while True:
                _, heard = await mailbox.get()
                yield heard
        finally:
            self._links.remove(link)
            await link.close()

    async def clear_run(self, manifest: Manifest, *, keep_manifest: bool = False) -> None:
        """Remove every retained topic of a run, parts too, at its normal end."""
        probe, run = self._open, manifest.run
        heads = await probe.read([topics.head(run, node) for node in manifest.nodes])
        gone = [topics.control(run)]
        for node in manifest.nodes:
            gone += [topics.head(run, node), topics.presence(run, node)]
            gone += _part_topics(run, node, heads.get(topics.head(run, node), b""))
        if not keep_manifest:
            gone.append(topics.manifest(run))
            found = await find_run(probe, manifest.name)
            if found is None or found.run == run:
                gone.append(topics.manifest(manifest.name))
        for topic in gone:
            await probe.publish(topic, b"", retain=True)

    @property
    def _open(self) -> Probe:
        assert self._probe is not None, "enter the observer first"
        return self._probe

    def _link(self, run: str, nodes: tuple[str, ...], mailbox: Mailbox[Heard]) -> Link:
        wanted: dict[str, tuple[int, int]] = {}
        for node in nodes:
            wanted[topics.presence(run, node)] = (1, 0)
            wanted[topics.head(run, node)] = (1, 0)
            wanted[topics.metrics(run, node)] = (0, 0)

        def subscriptions() -> Mapping[str, tuple[int, int]]:
            return wanted

        def unsure() -> list[str]:
            return [topics.presence(run, node) for node in nodes]

        def handler(incoming: Incoming) -> None:
            _hear(incoming, mailbox)

        return Link(
            self._connector,
            client_id=f"p2pfl-{run}-observer-{secrets.token_hex(8)}",
            handler=handler,
            will=None,
            subscriptions=subscriptions,
            unsure=unsure,
            on_connected=_nothing,
            jobs={},
            name=f"{run}/observer",
        )


def _hear(incoming: Incoming, mailbox: Mailbox[Heard]) -> None:
    address = topics.parse(incoming.topic)
    data = incoming.payload
    if address is None or not data:
        return
    try:
        what: Presence | Row | ModelMessage | Head
        if address.kind == "metrics":
            what = read_row(data)
        elif address.kind == "head" and len(data) <= HEAD_BYTES_MAX and kind_of(data) == "h":
            what = read_head(data)
        elif address.kind in {"head", "presence"} and len(data) <= INLINE_BYTES_MAX:
            message = decode(data)
            if not isinstance(message, ModelMessage | Presence):
                return
            what = message
        else:
            return
    except ProtocolError as problem:
        _log.debug("%s: %s", incoming.topic, problem)
        return
    heard = Heard(address.node, what, incoming.retained, len(data))
    if address.kind == "metrics":
        mailbox.put_letter(address.node, heard)
    else:
        mailbox.put((address.kind, address.node), heard)


def _part_topics(run: str, node: str, data: bytes) -> list[str]:
    """The retained parts of a node's newest large model, in both slots."""
    try:
        head = read_head(data)
    except ProtocolError:
        return []  # A small model, or none: there are no parts.
    count = min(head.count, _CLEAR_PARTS_MAX)
    return [
        topics.part(run, node, slot, index)
        for slot in range(topics.SLOTS)
        for index in range(count)
    ]


def _nothing() -> None:
    """The observer sends nothing when a connection is new."""
