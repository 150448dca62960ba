"""One node's place in a run over a broker: what `MqttTransport` does, without its library."""

import asyncio
import logging
from typing import Final, Self

from p2pfl.codec.fields import NODE_ID, RUN_ID
from p2pfl.codec.limits import CHUNK_BYTES, INLINE_BYTES_MAX, PACKET_BYTES_MAX
from p2pfl.codec.tensors import Dtype
from p2pfl.errors import ConfigError, P2pflError, PlaceTakenError, TransportError
from p2pfl.messages import (
    Incarnation,
    ModelMessage,
    Presence,
    PresenceState,
    VersionRequest,
)
from p2pfl.transport import topics
from p2pfl.transport.base import LinkState, Membership, Row, Traffic, Transfer, TransportEvent
from p2pfl.transport.inbox import Inbox
from p2pfl.transport.link import Connection, Connector, Incoming, Link, Will
from p2pfl.transport.manifest import Manifest
from p2pfl.transport.outbox import Outbox
from p2pfl.transport.place import take_place
from p2pfl.transport.probe import Probe
from p2pfl.transport.sender import Sender
from p2pfl.transport.words import Claim
from p2pfl.types import NodeId

_TICK_S: Final = 0.5
_LEAVE_S: Final = 5.0
_CLEAR_S: Final = 12.0
"""Hundreds of topics, behind what is under way already."""

_GONE: Final = frozenset({PresenceState.LOST, PresenceState.LEFT})
_CHUNK_BYTES_MIN: Final = 1024
_MANIFEST_S: Final = 1.0
"""So long after connecting without a retained manifest, it is gone and is put back."""

_log: Final = logging.getLogger("p2pfl.transport")


class NodeTransport:
    """See `Transport` for the contract. Nothing here waits for a send but `flush` and `leave`."""

    def __init__(
        self,
        connector: Connector,
        *,
        run: str,
        node: str,
        dtype: Dtype = "float32",
        chunk_bytes: int = CHUNK_BYTES,
        inline_bytes_max: int = INLINE_BYTES_MAX,
        manifest: Manifest | None = None,
    ) -> None:
        if not NODE_ID.fullmatch(node):
            raise ConfigError(f"node id {node!r}: allowed are 1 to 64 of A-Z a-z 0-9 _ -")
        if not RUN_ID.fullmatch(run):
            raise ConfigError(f"run id {run!r}: allowed are 1 to 128 of A-Z a-z 0-9 _ -")
        if not _CHUNK_BYTES_MIN <= chunk_bytes <= PACKET_BYTES_MAX:
            raise ConfigError(
                f"chunk_bytes {chunk_bytes}: allowed are {_CHUNK_BYTES_MIN} to {PACKET_BYTES_MAX}"
            )
        self.node = NodeId(node)
        self._run = run
        self._connector = connector
        self._dtype: Dtype = dtype
        self._chunk_bytes = chunk_bytes
        self._inline_bytes_max = min(inline_bytes_max, chunk_bytes)
        self._manifest = manifest
        self._traffic = Traffic()
        self._outbox = Outbox()
        self._probe: Probe | None = None
        self._link: Link | None = None
        self._aborted: Link | None = None
        self._inbox: Inbox | None = None
        self._sender: Sender | None = None
        self._membership: Membership | None = None
        self._incarnation: Incarnation | None = None
        self._taken: PlaceTakenError | None = None

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}({self._run}/{self.node}, {self._incarnation}, {self._outbox})"
        )

    @property
    def run(self) -> str:
        """The run's id."""
        return self._run

    @property
    def traffic(self) -> Traffic:
        """What went through so far."""
        self._traffic.superseded = self._outbox.superseded
        return self._traffic

    @property
    def link_state(self) -> LinkState:
        """How the link is now."""
        link, inbox = self._link, self._inbox
        return LinkState(
            connected=link is not None and link.connected,
            reconnects=0 if link is None else link.reconnects,
            unsent=len(self._outbox),
            unread=0 if inbox is None else inbox.unread,
            transfers=self._transfers(),
        )

    def _transfers(self) -> tuple[Transfer, ...]:
        going = self._sender.going if self._sender is not None else None
        coming = () if self._inbox is None else self._inbox.coming
        return (*coming, *(() if going is None else (going,)))

    @property
    def manifest(self) -> Manifest | None:
        """The run's manifest, as given or as found at joining."""
        return self._manifest

    async def __aenter__(self) -> Self:
        """Connect. Raises TransportError, or RefusedError where trying again is useless."""
        self._probe = await Probe(self._connector, name=f"{self._run}-{self.node}").__aenter__()
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Leave, if that was not done yet, and disconnect."""
        if self._probe is not None:
            await self._probe.__aexit__(None, None, None)
            self._probe = None
        await self.leave(clear=False)
        if self._aborted is not None:
            await self._aborted.close()
            self._aborted = None

    async def join(self, membership: Membership) -> tuple[Incarnation, bool]:
        """Take this node's place. Raises RefusedError, TransportError."""
        probe = self._probe
        assert probe is not None, "enter the transport first, and join once"
        incarnation, rejoining, manifest = await take_place(
            probe, run=self._run, node=self.node, digest=membership.digest
        )
        self._probe = None
        await probe.__aexit__(None, None, None)
        self._manifest = manifest or self._manifest
        self._incarnation = incarnation
        self._membership = membership
        await self._open(membership, incarnation)
        self.publish(self._own_presence(PresenceState.JOINING))
        return incarnation, rejoining

    def publish(self, message: ModelMessage | Presence) -> None:
        """Hand over to every neighbour, at once: retained, newest wins, survives a reconnect."""
        if isinstance(message, ModelMessage):
            self._outbox.put_model(message)
        else:
            self._outbox.put_presence(message)
        self._wake()

    def send(self, peer: NodeId, message: ModelMessage | VersionRequest) -> None:
        """Hand over to one neighbour, at once."""
        self._outbox.put_letter(peer, message)
        self._wake()

    def report(self, row: Row) -> None:
        """Hand a line of metrics to whoever watches the run; may be lost."""
        self._outbox.put_row(row)
        self._wake()

    async def receive(self) -> TransportEvent:
        """The next thing that came in. Raises TransportError, RefusedError."""
        assert self._inbox is not None, "join first"
        return await self._inbox.receive()

    async def wait_for_go(self, timeout_s: float) -> bool:
        """Wait for the run's word `go` (or its end); False if time ran out first."""
        assert self._inbox is not None, "join first"
        try:
            async with asyncio.timeout(timeout_s):
                await self._inbox.go.wait()
        except TimeoutError:
            return False
        return True

    async def flush(self, timeout_s: float) -> bool:
        """Wait until all that was handed over is acknowledged; False if time ran out first."""
        if self._outbox.idle:
            return True
        if self._sender is None:
            return False
        try:
            async with asyncio.timeout(timeout_s):
                await self._sender.until_idle()
        except TimeoutError:
            return False
        return True

    async def leave(self, *, clear: bool) -> None:
        """Say `left`; `clear` removes this node's retained topics (at the run's normal end)."""
        link = self._link
        if link is None:
            return
        assert self._sender is not None
        assert self._inbox is not None
        self._inbox.pull_no_more()
        self._link = None
        if clear:
            self._sender.abandon()
        try:
            if link.connected:
                self.publish(self._own_presence(PresenceState.LEFT))
                await self.flush(_LEAVE_S)
                if clear:
                    async with asyncio.timeout(_CLEAR_S):
                        await self._sender.clear()
        except TimeoutError:
            _log.warning(
                "%s: could not remove its model from the broker in %g s; it stays there",
                self.node,
                _CLEAR_S,
            )
        except TransportError as problem:
            _log.warning("%s: could not take leave: %s", self.node, problem)
        finally:
            await link.close()

    async def _open(self, membership: Membership, incarnation: Incarnation) -> None:
        self._inbox = Inbox(
            run=self._run,
            node=self.node,
            incarnation=incarnation,
            membership=membership,
            traffic=self._traffic,
            on_subscriptions=self._subscriptions_changed,
            on_own_presence=self._on_own_presence,
            on_claim=self._on_claim,
        )
        self._sender = Sender(
            run=self._run,
            node=self.node,
            incarnation=incarnation,
            outbox=self._outbox,
            traffic=self._traffic,
            receivers=len(membership.neighbours),
            dtype=self._dtype,
            chunk_bytes=self._chunk_bytes,
            inline_bytes_max=self._inline_bytes_max,
        )
        self._link = Link(
            self._connector,
            client_id=f"p2pfl-{self._run}-{self.node}-{incarnation.counter}-{incarnation.nonce:x}",
            handler=self._on_message,
            will=Will(
                topics.presence(self._run, self.node),
                self._sender.presence_frame(self._own_presence(PresenceState.LOST)),
            ),
            subscriptions=self._inbox.wanted,
            unsure=self._inbox.unsure,
            on_connected=self._on_connected,
            jobs={
                "models": self._sender.send_models,
                "letters": self._sender.send_small,
                "ticks": self._tick,
                "manifest": self._restore_manifest,
            },
            name=f"{self._run}/{self.node}",
        )
        try:
            await self._link.open(self._on_fault)
        except TransportError:
            if self._taken is not None:
                raise self._taken from None
            raise

    def _on_message(self, incoming: Incoming) -> None:
        """Called from the library's reader: must not raise, and must not wait."""
        assert self._inbox is not None
        try:
            self._inbox.on_message(incoming)
        except Exception as fault:  # noqa: BLE001 - a fault here must stop the node loudly.
            _log.exception("%s: receiving %s", self.node, incoming.topic)
            self._on_fault(fault)

    def _on_fault(self, fault: BaseException) -> None:
        assert self._inbox is not None
        known = fault if isinstance(fault, P2pflError) else TransportError(f"stopped: {fault!r}")
        self._inbox.fail(known)

    def _on_connected(self) -> None:
        assert self._inbox is not None
        assert self._sender is not None
        self._outbox.restore()
        self._inbox.on_connected()
        self._wake()

    def _on_own_presence(self, presence: Presence) -> None:
        """What the broker has under our own name: another life of us, or our own last will."""
        assert self._incarnation is not None
        if presence.incarnation == self._incarnation:
            if presence.state is PresenceState.LOST and self._link is not None:
                self._outbox.restore_presence()
                self._wake()
        elif presence.incarnation > self._incarnation and presence.state not in _GONE:
            self._thrown_out()
        elif presence.incarnation < self._incarnation:
            # An earlier life of ours was slow to notice that it is over: say everything again.
            self._outbox.restore_retained()
            self._wake()

    def _thrown_out(self) -> None:
        """Another process has our name: say nothing more under it, not even goodbye."""
        self._taken = PlaceTakenError(
            f"node {self.node!r}: another process took its place in run {self._run}"
        )
        self._on_fault(self._taken)
        link, self._link = self._link, None
        if link is not None:
            link.abort()
            self._aborted = link

    def _on_claim(self, claim: Claim) -> None:
        """Somebody asks for our name: we live."""
        assert self._sender is not None
        assert self._incarnation is not None
        if claim.kind == "ask" and claim.incarnation.nonce != self._incarnation.nonce:
            self._sender.answer(Claim("alive", self._run, self.node, self._incarnation))

    def _subscriptions_changed(self) -> None:
        if self._link is not None:
            self._link.subscriptions_changed()

    def _wake(self) -> None:
        if self._sender is not None:
            self._sender.wake()

    async def _tick(self, connection: Connection) -> None:
        del connection
        assert self._inbox is not None
        while True:
            await asyncio.sleep(_TICK_S)
            self._inbox.on_tick()

    async def _restore_manifest(self, connection: Connection) -> None:
        """Put the manifest back where the broker has lost it."""
        assert self._inbox is not None
        await asyncio.sleep(_MANIFEST_S)
        if self._manifest is not None and not self._inbox.manifest_seen:
            _log.warning("%s: the broker has lost the run's manifest; put back", self._run)
            await connection.publish(
                topics.manifest(self._run), self._manifest.encode(), qos=1, retain=True
            )

    def _own_presence(self, state: PresenceState) -> Presence:
        assert self._incarnation is not None
        assert self._membership is not None
        digest = self._membership.digest
        return Presence(self._run, self.node, self._incarnation, state, digest=digest)
