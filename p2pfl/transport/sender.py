"""The sending tasks of a node: one for models, one for all that is small."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Iterable
from itertools import takewhile
from typing import Final

from p2pfl.codec.frame import PART_HEADER_BYTES, Frame, encode, frame_digest
from p2pfl.codec.parts import Stamp, part_count, split
from p2pfl.codec.tensors import Dtype
from p2pfl.errors import TransportError
from p2pfl.messages import Incarnation, Message, ModelMessage, Presence
from p2pfl.transport import topics
from p2pfl.transport.base import Traffic, Transfer
from p2pfl.transport.link import Connection, Disconnected
from p2pfl.transport.outbox import Letter, Outbox, Outgoing
from p2pfl.transport.words import Claim, Head, encode_row
from p2pfl.types import NodeId

IN_FLIGHT_MAX: Final = 8
"""Unacknowledged parts: below every broker's Receive Maximum (HiveMQ 10, mosquitto 20)."""

THREAD_BYTES: Final = 4 * 1024 * 1024
"""Models above this are encoded and decoded in a thread: their checksum would stop the loop."""

_ANSWERS_MAX: Final = 16

_TELL_BROKEN: Final = 3

_log: Final = logging.getLogger("p2pfl.transport")


class Sender:
    """Sends what the outbox holds, over whichever connection there is."""

    def __init__(
        self,
        *,
        run: str,
        node: NodeId,
        incarnation: Incarnation,
        outbox: Outbox,
        traffic: Traffic,
        receivers: int,
        dtype: Dtype,
        chunk_bytes: int,
        inline_bytes_max: int,
    ) -> None:
        self._run = run
        self._node = node
        self._incarnation = incarnation
        self._outbox = outbox
        self._traffic = traffic
        self._receivers = receivers
        self._dtype: Dtype = dtype
        self._chunk_bytes = chunk_bytes
        self._inline_bytes_max = inline_bytes_max
        self._answers: deque[Claim] = deque(maxlen=_ANSWERS_MAX)
        self._slot_counts = [0] * topics.SLOTS
        self._models_wake = asyncio.Event()
        self._small_wake = asyncio.Event()
        self._acknowledged = asyncio.Event()
        self._connection: Connection | None = None
        self._abandoned = False
        self._broken_in_a_row = 0
        """Sendings of a model, begun and not finished, of which no part was acknowledged."""
        self.going: Transfer | None = None
        """The large model that is being sent, and how much of it the broker has acknowledged."""

    def wake(self) -> None:
        """Look into the outbox, soon."""
        self._models_wake.set()
        self._small_wake.set()

    def answer(self, claim: Claim) -> None:
        """Answer a claim to our name."""
        self._answers.append(claim)
        self._small_wake.set()

    async def until_idle(self) -> None:
        """Wait until the outbox holds nothing unacknowledged."""
        while not self._outbox.idle:
            self._acknowledged.clear()
            await self._acknowledged.wait()

    def presence_frame(self, presence: Presence) -> bytes:
        """The bytes of a presence."""
        return encode(presence).join()

    async def send_models(self, connection: Connection) -> None:
        """Send each model when the one before is acknowledged; forever."""
        self._connection = connection
        if self._broken_in_a_row == _TELL_BROKEN:
            _log.warning(
                "%s/%s: the connection broke %d times in a row while a model was on its way: if "
                "the broker takes no messages of %d bytes, raise its limit or lower [broker] "
                "chunk_bytes",
                self._run,
                self._node,
                _TELL_BROKEN,
                self._chunk_bytes,
            )
        while True:
            self._models_wake.clear()
            outgoing = self._outbox.take_model()
            if outgoing is None:
                await self._models_wake.wait()
                continue
            self._broken_in_a_row += 1
            await self._send_model(connection, outgoing)
            self._broken_in_a_row = 0
            self._outbox.model_acknowledged()
            self._models_wake.set()
            self._acknowledged.set()

    async def send_small(self, connection: Connection) -> None:
        """Send answers, presence, letters and metrics, in this order; forever."""
        while True:
            self._small_wake.clear()
            if not await self._send_one(connection):
                await self._small_wake.wait()
            self._acknowledged.set()

    def abandon(self) -> None:
        """Send no model any more, and of the one under way no further part: `clear` comes next."""
        self._abandoned = True
        self._outbox.drop_model()

    async def clear(self) -> None:
        """Remove this node's retained topics."""
        connection = self._connection
        assert connection is not None
        names = [topics.head(self._run, self._node)]
        for slot, count in enumerate(self._slot_counts):
            names += [topics.part(self._run, self._node, slot, i) for i in range(count)]
        names.append(topics.presence(self._run, self._node))
        try:
            await _publish_all(connection, ((name, b"") for name in names), retain=True)
        except* Disconnected:
            raise TransportError("the broker was gone before the run could be tidied up") from None

    async def _send_one(self, connection: Connection) -> bool:
        if self._answers:
            topic = topics.letter(self._run, self._node, self._node)
            await connection.publish(topic, self._answers.popleft().encode(), qos=1, retain=False)
            return True
        presence = self._outbox.take_presence()
        if presence is not None:
            data = self.presence_frame(presence)
            topic = topics.presence(self._run, self._node)
            await connection.publish(topic, data, qos=1, retain=True)
            self._count(len(data), receivers=self._receivers, control=True)
            self._outbox.presence_acknowledged(presence)
            return True
        letter = self._outbox.take_letter()
        if letter is not None:
            await self._send_letter(connection, letter)
            self._outbox.letter_acknowledged()
            return True
        row = self._outbox.take_row()
        if row is not None:
            topic = topics.metrics(self._run, self._node)
            await connection.publish(topic, encode_row(row), qos=0, retain=False)
            return True
        return False

    async def _send_model(self, connection: Connection, outgoing: Outgoing) -> None:
        frame = await self._encoded(outgoing.message)
        topic = topics.head(self._run, self._node)
        inline_bytes_max, chunk_bytes = self._fitting(connection)
        if frame.nbytes <= inline_bytes_max:
            await connection.publish(topic, frame.join(), qos=1, retain=True)
            self._count(frame.nbytes, receivers=self._receivers)
            return
        slot = outgoing.number % topics.SLOTS
        stamp = Stamp(self._incarnation.counter, self._incarnation.nonce, outgoing.number)
        parts = split(frame, stamp=stamp, slot=slot, chunk_bytes=chunk_bytes)
        names = (
            (topics.part(self._run, self._node, slot, index), part)
            for index, part in enumerate(parts)
        )
        count = part_count(frame.nbytes, chunk_bytes)
        self._slot_counts[slot] = max(self._slot_counts[slot], count)
        begun_s = time.monotonic()
        sent = await self._send_parts(connection, names, outgoing.number, frame.nbytes)
        self._count(sent, receivers=self._receivers)
        if self._abandoned:
            return
        head = Head(
            run=self._run,
            node=self._node,
            stamp=stamp,
            version=outgoing.message.header.version,
            slot=slot,
            count=count,
            frame_bytes=frame.nbytes,
            digest=frame_digest(frame),
            sent_s=time.monotonic(),
        ).encode()
        await connection.publish(topic, head, qos=1, retain=True)
        self._traffic.large_out += 1
        self._traffic.large_out_s += time.monotonic() - begun_s
        self._count(len(head), receivers=self._receivers, control=True)

    async def _send_parts(
        self, connection: Connection, parts: Iterable[tuple[str, bytes]], number: int, total: int
    ) -> int:
        done = 0

        def acknowledged(size: int) -> None:
            nonlocal done
            done += size
            if done:
                self._broken_in_a_row = 0
            self.going = Transfer(peer=None, number=number, done_bytes=done, total_bytes=total)

        acknowledged(0)
        wanted = takewhile(lambda _: not self._abandoned, parts)
        try:
            return await _publish_all(connection, wanted, retain=True, acknowledged=acknowledged)
        finally:
            self.going = None

    async def _send_letter(self, connection: Connection, letter: Letter) -> None:
        frame = await self._encoded(letter.message)
        topic = topics.letter(self._run, self._node, letter.peer)
        control = not isinstance(letter.message, ModelMessage)
        inline_bytes_max, chunk_bytes = self._fitting(connection)
        if frame.nbytes <= inline_bytes_max:
            await connection.publish(topic, frame.join(), qos=1, retain=False)
            self._count(frame.nbytes, receivers=1, control=control)
            return
        stamp = Stamp(self._incarnation.counter, self._incarnation.nonce, letter.number)
        parts = split(frame, stamp=stamp, slot=0, chunk_bytes=chunk_bytes)
        sent = await _publish_all(connection, ((topic, part) for part in parts), retain=False)
        self._count(sent, receivers=1)

    def _fitting(self, connection: Connection) -> tuple[int, int]:
        """How long a whole frame, and a piece of one, may be for this broker."""
        room = connection.room_bytes
        if room is None:
            return self._inline_bytes_max, self._chunk_bytes
        piece = min(self._chunk_bytes, room - PART_HEADER_BYTES)
        return min(self._inline_bytes_max, room), piece

    async def _encoded(self, message: Message) -> Frame:
        if isinstance(message, ModelMessage) and message.vector.nbytes > THREAD_BYTES:
            return await asyncio.to_thread(encode, message, dtype=self._dtype)
        return encode(message, dtype=self._dtype)

    def _count(self, size: int, *, receivers: int, control: bool = False) -> None:
        traffic = self._traffic
        traffic.out_bytes += size
        traffic.out_messages += 1
        traffic.fan_out_bytes += size * receivers
        if control:
            traffic.control_out_bytes += size


async def _publish_all(
    connection: Connection,
    messages: Iterable[tuple[str, bytes]],
    *,
    retain: bool,
    acknowledged: Callable[[int], None] | None = None,
) -> int:
    """Publish in order with a few unacknowledged at a time; the bytes sent."""
    sent = 0
    room = asyncio.Semaphore(IN_FLIGHT_MAX)

    async def one(topic: str, payload: bytes) -> None:
        try:
            await connection.publish(topic, payload, qos=1, retain=retain)
            if acknowledged is not None:
                acknowledged(len(payload))
        finally:
            room.release()

    async with asyncio.TaskGroup() as group:
        await room.acquire()
        for topic, payload in messages:
            group.create_task(one(topic, payload), name=f"p2pfl publish {topic}")
            sent += len(payload)
            await room.acquire()
    return sent
