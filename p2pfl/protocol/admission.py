"""Which messages a node takes at all: of its own run, of its own model's form."""

from p2pfl.algorithms.base import Capabilities
from p2pfl.messages import ModelMessage, Presence, VersionRequest
from p2pfl.protocol.settings import NodeSettings


class Admission:
    """Gives the reason to refuse a message, a short key to count under; empty: none."""

    __slots__ = ("_beside", "_digest", "_dimension", "_run", "_schema", "_words")

    def __init__(self, settings: NodeSettings, dimension: int, needs: Capabilities) -> None:
        self._run, self._schema, self._digest = settings.run, settings.schema, settings.digest
        self._dimension = dimension
        beside = needs.beside
        self._beside = None if beside is None else (beside.dtype, beside.size(dimension))
        self._words = needs.words

    def fault_of_model(self, message: ModelMessage) -> str:
        """Another run's, another schema's, or of other sizes than this algorithm's messages."""
        header = message.header
        if header.run != self._run:
            return "run"
        if header.schema != self._schema:
            return "schema"
        if message.vector.size != self._dimension:
            return "dimension"
        if self._words is not None and len(header.words) != self._words:
            return "words"
        extra = message.extra
        if extra is None:
            return "" if self._beside is None else "beside"
        return "" if (str(extra.dtype), extra.size) == self._beside else "beside"

    def fault_of_word(self, message: Presence | VersionRequest) -> str:
        """Another run's, or of a node that runs another experiment."""
        if message.run != self._run:
            return "run"
        if isinstance(message, Presence) and message.digest != self._digest:
            return "digest"
        return ""
