"""How a node takes its place in a run, and a name finds its run."""

import asyncio
import contextlib
import logging
import secrets
from typing import Final

from p2pfl.codec.frame import decode
from p2pfl.errors import PlaceTakenError, ProtocolError, RefusedError, TransportError
from p2pfl.messages import Incarnation, Presence, PresenceState
from p2pfl.transport import topics
from p2pfl.transport.manifest import (
    Manifest,
    encode_pointer,
    read_manifest,
    read_pointer,
)
from p2pfl.transport.probe import Probe
from p2pfl.transport.words import Claim, read_claim
from p2pfl.types import NodeId

ANSWER_S: Final = 2.0
"""A living holder of a name answers at once; this is for slow networks and busy event loops."""

PATIENCE_S: Final = 2.0
"""So long a pointer's manifest may be missing: its writer is about to write it, or has died."""

CREATE_S: Final = 10.0
"""So long we wait for the one who was first to create the run."""

_ALIVE: Final = frozenset({PresenceState.JOINING, PresenceState.TRAINING, PresenceState.FINISHED})

_log: Final = logging.getLogger("p2pfl.transport")


async def take_place(
    probe: Probe, *, run: str, node: NodeId, digest: str
) -> tuple[Incarnation, bool, Manifest | None]:
    """The node's new incarnation, whether it was here before, and the run's manifest.

    Raises:
        RefusedError: the run has another experiment, or a living node has this id.
    """
    manifest_topic, presence_topic = topics.manifest(run), topics.presence(run, node)
    found = await probe.read([manifest_topic, presence_topic])
    manifest = _manifest_of(found.get(manifest_topic))
    if manifest is not None and manifest.digest != digest:
        raise RefusedError(
            f"run {run} has experiment {manifest.digest}, this node has {digest}: start the node "
            "with the run's own experiment file, or start a new run"
        )
    if manifest is not None and manifest.state == "ended":
        raise RefusedError(f"run {run} has ended: start a new one")
    last = _presence_of(found.get(presence_topic))
    nonce = secrets.randbits(64)
    if last is None:
        return Incarnation(1, nonce), False, manifest
    if last.state in _ALIVE and await _is_answered(probe, run=run, node=node, nonce=nonce):
        raise PlaceTakenError(
            f"node {node!r} is already alive in run {run}: stop it first, or choose another id"
        )
    return Incarnation(last.incarnation.counter + 1, nonce), True, manifest


async def find_run(probe: Probe, name: str) -> Manifest | None:
    """The newest run of an experiment's name, if it has not ended."""
    pointer_topic = topics.manifest(name)
    found = await probe.read([pointer_topic])
    try:
        run = read_pointer(found.get(pointer_topic, b""))
    except ProtocolError:
        return None
    found = await probe.read([topics.manifest(run)])
    manifest = _manifest_of(found.get(topics.manifest(run)))
    return manifest if manifest is not None and manifest.state != "ended" else None


async def find_or_create_run(probe: Probe, draft: Manifest) -> Manifest:
    """The living run of `draft.name`, or a new one made of the draft.

    Several that come at once end in one run; see `_contest`.

    Raises:
        RefusedError: the run that was found has another experiment.
        TransportError: who should create the run did not.
    """
    topic = topics.manifest(draft.name)
    async with probe.following(topic) as pointers:
        found = await _living(probe, pointers, PATIENCE_S) if pointers else None
        if found is None:
            found = await _contest(probe, topic, pointers, draft)
    if found.digest != draft.digest:
        raise RefusedError(
            f"run {found.run} on this broker has experiment {found.digest}, this file gives "
            f"{draft.digest}: use the same file, or end that run, or give this one another name"
        )
    return found


async def _contest(probe: Probe, topic: str, pointers: list[bytes], draft: Manifest) -> Manifest:
    """The one run that several who come at once agree on.

    Each writes a pointer to its own, and the first that one sees counts: its writer describes the
    run, the others wait for that. A broker with one order for all has one first. In a cluster, and
    in a broker of many threads (ejabberd), each may see its own first, and describe its own run:
    so all look again a moment later, and of what was described the smallest name counts.
    """
    before, own = len(pointers), encode_pointer(draft.run)
    await probe.publish(topic, own, retain=True)
    if not await probe.wait_for(lambda: own in pointers[before:], timeout_s=CREATE_S):
        raise TransportError(f"the broker does not deliver {topic}")
    first = pointers[before]
    if first == own:
        await probe.publish(topics.manifest(draft.run), draft.encode(), retain=True)
        described = [draft]
    else:
        seen = await _living(probe, [first], CREATE_S)
        described = [] if seen is None else [seen]
    await probe.settle()
    described += await _others(probe, set(pointers[before:]) - {own, first})
    if not described:
        raise TransportError(f"run {first.decode()} of {draft.name} was never created: retry")
    found = min(described, key=lambda manifest: manifest.run)
    if first == own and found is not draft:
        await probe.publish(topics.manifest(draft.run), b"", retain=True)
    await probe.publish(topic, encode_pointer(found.run), retain=True)
    return found


async def _others(probe: Probe, pointers: set[bytes]) -> list[Manifest]:
    """Of these runs those that were described, and have not ended."""
    names = []
    for pointer in pointers:
        with contextlib.suppress(ProtocolError):
            names.append(topics.manifest(read_pointer(pointer)))
    found = await probe.read(names) if names else {}
    manifests = [_manifest_of(data) for data in found.values()]
    return [each for each in manifests if each is not None and each.state != "ended"]


async def _living(probe: Probe, pointers: list[bytes], patience_s: float) -> Manifest | None:
    """The run that the newest pointer names, once its manifest is there; None if it has ended."""
    loop = asyncio.get_running_loop()
    end_s = loop.time() + patience_s
    while True:
        try:
            topic = topics.manifest(read_pointer(pointers[-1]))
        except ProtocolError:
            return None
        manifest = _manifest_of((await probe.read([topic])).get(topic))
        if manifest is not None:
            return manifest if manifest.state != "ended" else None
        if loop.time() > end_s:
            return None


def new_run_id(name: str) -> str:
    """A run's id: the experiment's name and 8 random hexadecimal digits."""
    return f"{name}-{secrets.token_hex(4)}"


async def _is_answered(probe: Probe, *, run: str, node: NodeId, nonce: int) -> bool:
    topic = topics.letter(run, node, node)
    await probe.listen(topic)
    ask = Claim("ask", run, node, Incarnation(0, nonce))

    def answered() -> bool:
        try:
            return read_claim(probe.payload(topic)).kind == "alive"
        except ProtocolError:
            return False

    await probe.publish(topic, ask.encode(), retain=False)
    return await probe.wait_for(answered, timeout_s=ANSWER_S)


def _manifest_of(data: bytes | None) -> Manifest | None:
    if data is None:
        return None
    try:
        return read_manifest(data)
    except ProtocolError as problem:
        _log.warning("the run's manifest is unreadable and ignored: %s", problem)
        return None


def _presence_of(data: bytes | None) -> Presence | None:
    if data is None:
        return None
    try:
        message = decode(data)
    except ProtocolError as problem:
        _log.warning("this node's retained presence is unreadable and ignored: %s", problem)
        return None
    return message if isinstance(message, Presence) else None
