"""Who may tell this node what: run, sender, experiment, life and order of everything that comes in.

Pure, and shared by all transports, so that they refuse the same things under the same reasons.
"""

from p2pfl.errors import ProtocolError
from p2pfl.messages import (
    Incarnation,
    Message,
    ModelMessage,
    PeerLost,
    Presence,
    PresenceState,
    Received,
)
from p2pfl.transport.base import Membership
from p2pfl.types import NodeId


def event_of(message: Message, *, retained: bool) -> Received | PeerLost:
    """The event that an admitted message is: a last will tells of a lost peer."""
    if isinstance(message, Presence) and message.state is PresenceState.LOST:
        return PeerLost(message.node, message.incarnation)
    return Received(message, retained=retained)


class Gate:
    """Admits a message, ignores a repetition, or refuses it with ProtocolError."""

    def __init__(self, *, run: str, membership: Membership) -> None:
        self._run = run
        self._digest = membership.digest
        self._neighbours = frozenset(membership.neighbours)
        self._lives: dict[NodeId, Incarnation] = {}
        self._models: dict[NodeId, tuple[Incarnation, int]] = {}
        self._strangers: set[NodeId] = set()

    def admit(self, message: Message, *, sender: NodeId, directed: bool = False) -> bool:
        """Whether this is news. `sender`: whose topic it came by.

        Raises:
            ProtocolError: `run`, `sender`, `stranger`, `digest`, `old_incarnation` or
                `old_sequence`.
        """
        node = message.header.node if isinstance(message, ModelMessage) else message.node
        run = message.header.run if isinstance(message, ModelMessage) else message.run
        if sender not in self._neighbours:
            raise ProtocolError("stranger", f"{sender} is no neighbour")
        if run != self._run:
            raise ProtocolError("run", f"{run}, not {self._run}")
        if node != sender:
            raise ProtocolError("sender", f"{node} wrote below {sender}")
        if isinstance(message, Presence):
            return self._presence(message)
        if sender in self._strangers:
            raise ProtocolError("digest", f"{sender} runs another experiment")
        if isinstance(message, ModelMessage):
            return self._model(message, directed=directed)
        return True

    def _presence(self, presence: Presence) -> bool:
        node = presence.node
        self._renew(node, presence.incarnation)
        if presence.digest != self._digest:
            self._strangers.add(node)
            raise ProtocolError("digest", f"{presence.digest}, not {self._digest}")
        self._strangers.discard(node)
        return True

    def _model(self, message: ModelMessage, *, directed: bool) -> bool:
        header = message.header
        self._renew(header.node, header.incarnation)
        if directed:
            return True
        place = (header.incarnation, header.sequence)
        newest = self._models.get(header.node)
        if newest is not None and place < newest:
            raise ProtocolError("old_sequence", f"{header.sequence} after {newest[1]}")
        self._models[header.node] = place
        return place != newest

    def _renew(self, node: NodeId, incarnation: Incarnation) -> None:
        known = self._lives.get(node)
        if known is not None and incarnation < known:
            raise ProtocolError("old_incarnation", f"{incarnation} after {known}")
        self._lives[node] = incarnation
