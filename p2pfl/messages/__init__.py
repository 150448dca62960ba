"""The words between node and driver: events in, effects out, and the messages that travel."""

from p2pfl.messages.effects import Effect, Publish, Reading, Record, Send, Stop, Train, Wake
from p2pfl.messages.events import (
    AnyEvent,
    Ended,
    Event,
    PeerLost,
    Received,
    Rewired,
    Saved,
    Started,
    Trained,
    Woken,
)
from p2pfl.messages.header import Header, Incarnation
from p2pfl.messages.model import Message, ModelMessage, Presence, PresenceState, VersionRequest
from p2pfl.messages.views import Neighbour

__all__ = [
    "AnyEvent",
    "Effect",
    "Ended",
    "Event",
    "Header",
    "Incarnation",
    "Message",
    "ModelMessage",
    "Neighbour",
    "PeerLost",
    "Presence",
    "PresenceState",
    "Publish",
    "Reading",
    "Received",
    "Record",
    "Rewired",
    "Saved",
    "Send",
    "Started",
    "Stop",
    "Train",
    "Trained",
    "VersionRequest",
    "Wake",
    "Woken",
]
