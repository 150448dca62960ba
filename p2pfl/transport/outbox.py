"""What waits to be sent: pure, bounded, and the newest model wins over unsent older ones."""

from collections import deque
from dataclasses import dataclass
from typing import Final

from p2pfl.messages import ModelMessage, Presence, VersionRequest
from p2pfl.transport.base import Row
from p2pfl.types import NodeId

LETTERS_MAX: Final = 64
"""Unsent letters over all peers; the oldest goes first when the network stands still."""

ROWS_MAX: Final = 256
"""Unsent lines of metrics; they may be lost."""


@dataclass(frozen=True, slots=True, eq=False)
class Outgoing:
    """A model on its way; `number` grows with every model sent and picks the slot."""

    message: ModelMessage
    number: int


@dataclass(frozen=True, slots=True, eq=False)
class Letter:
    """A message for one peer."""

    peer: NodeId
    message: ModelMessage | VersionRequest
    number: int


class Outbox:
    """Takes at any time, gives when the network is ready, forgets on acknowledgement."""

    def __init__(self) -> None:
        self._model: ModelMessage | None = None
        self._sending: Outgoing | None = None
        self._sent: Outgoing | None = None
        self._again = False
        self._presence: Presence | None = None
        self._presence_unsent = False
        self._letters: deque[Letter] = deque()
        self._rows: deque[Row] = deque(maxlen=ROWS_MAX)
        self._numbers = 0
        self._letter_numbers = 0
        self._open_letter: Letter | None = None
        self.superseded = 0
        """Models and letters that were never sent because newer ones were ready."""

    def __repr__(self) -> str:
        model = "a model" if self._model is not None or self._again else "no model"
        return f"Outbox({model} and {len(self._letters)} letters waiting, {self._numbers} sent)"

    def __len__(self) -> int:
        """Messages that are not acknowledged yet; metrics do not count."""
        model = self._model is not None or self._again
        flags = (model, self._sending is not None, self._presence_unsent)
        return sum(flags) + len(self._letters) + (self._open_letter is not None)

    @property
    def idle(self) -> bool:
        """Whether everything but metrics is acknowledged."""
        return not len(self)

    def put_model(self, message: ModelMessage) -> None:
        """Leave a model; an unsent older one is dropped."""
        if self._model is not None:
            self.superseded += 1
        self._model = message

    def drop_model(self) -> None:
        """Send no model that is not under way."""
        self._model, self._again = None, False

    def put_presence(self, presence: Presence) -> None:
        """Leave a presence; an unsent older one is dropped."""
        self._presence = presence
        self._presence_unsent = True

    def put_letter(self, peer: NodeId, message: ModelMessage | VersionRequest) -> None:
        """Leave a message for one peer; where too many wait, the oldest is dropped."""
        if len(self._letters) >= LETTERS_MAX:
            self._letters.popleft()
            self.superseded += 1
        self._letter_numbers += 1
        self._letters.append(Letter(peer, message, self._letter_numbers))

    def put_row(self, row: Row) -> None:
        """Leave a line of metrics; where too many wait, the oldest is dropped."""
        self._rows.append(row)

    def take_model(self) -> Outgoing | None:
        """The model to send now; None while one is under way, or if there is nothing to send."""
        if self._sending is not None:
            return None
        if self._model is not None:
            self._numbers += 1
            self._sending = Outgoing(self._model, self._numbers)
            self._model = None
        elif self._again:
            self._sending = self._sent
        self._again = False
        return self._sending

    def model_acknowledged(self) -> None:
        """The model under way has arrived at the broker; the next may go."""
        self._sent, self._sending = self._sending, None

    def take_presence(self) -> Presence | None:
        """The presence to send now."""
        return self._presence if self._presence_unsent else None

    def presence_acknowledged(self, presence: Presence) -> None:
        """This presence has arrived; a newer one left meanwhile is still to be sent."""
        if presence is self._presence:
            self._presence_unsent = False

    def take_letter(self) -> Letter | None:
        """The letter to send now."""
        if not self._letters:
            return None
        self._open_letter = self._letters.popleft()
        return self._open_letter

    def letter_acknowledged(self) -> None:
        """The letter has arrived."""
        self._open_letter = None

    def take_row(self) -> Row | None:
        """The line of metrics to send now."""
        return self._rows.popleft() if self._rows else None

    def restore_presence(self) -> None:
        """The broker said something else for us: say the last presence again."""
        self._presence_unsent = self._presence is not None

    def restore_retained(self) -> None:
        """The broker no longer has what we last said: say presence and model again."""
        self._again = self._sent is not None
        self.restore_presence()

    def restore(self) -> None:
        """The connection is new: the broker may have lost all, so send model and presence again."""
        if self._sending is not None:
            self._sent, self._sending = self._sending, None
        self.restore_retained()
        if self._open_letter is not None:
            self._letters.appendleft(self._open_letter)
            self._open_letter = None
