"""Which messages a node takes at all: of its own run, of its own model's form."""

from p2pfl.algorithms.base import Capabilities
from p2pfl.messages import ModelMessage, Presence, VersionRequest
from p2pfl.protocol.settings import NodeSettings


class Admission:
    """Gives the reason to refuse a message, a short key to count under; empty: none."""

    __slots__ = ("_beside", "_dimension", "_settings", "_words")

    def __init__(self, settings: NodeSettings, dimension: int, needs: Capabilities) -> None:
        self._settings = settings
        self._dimension = dimension
        beside = needs.beside
        self._beside = None if beside is None else (beside.dtype, beside.size(dimension))
        self._words = needs.words

    def fault_of_model(self, message: ModelMessage) -> str:
        """Another run's, another schema's, or of other sizes than this algorithm's messages."""
        header, settings = message.header, self._settings
        if header.run != settings.run:
            return "run"
        if header.schema != settings.schema:
            return "schema"
        if message.vector.size != self._dimension:
            return "dimension"
        if self._words is not None and len(header.words) != self._words:
            return "words"
        extra = message.extra
        beside = None if extra is None else (str(extra.dtype), extra.size)
        return "" if beside == self._beside else "beside"

    def fault_of_word(self, message: Presence | VersionRequest) -> str:
        """Another run's, or of a node that runs another experiment."""
        if message.run != self._settings.run:
            return "run"
        if isinstance(message, Presence) and message.digest != self._settings.digest:
            return "digest"
        return ""
