"""Which messages a node takes at all: of its own run, of its own model's form."""

from p2pfl.algorithms.base import Beside
from p2pfl.messages import ModelMessage, Presence, VersionRequest
from p2pfl.protocol.settings import NodeSettings


class Admission:
    """Gives the reason to refuse a message, a short key to count under; empty: none."""

    __slots__ = ("_beside", "_dimension", "_settings")

    def __init__(self, settings: NodeSettings, dimension: int, beside: Beside | None) -> None:
        self._settings = settings
        self._dimension = dimension
        self._beside = None if beside is None else (beside.dtype, beside.size(dimension))

    def fault_of_model(self, message: ModelMessage) -> str:
        """Another run's, another schema's, or of other sizes than this algorithm's messages."""
        header, settings = message.header, self._settings
        if header.run != settings.run:
            return "run"
        if header.schema != settings.schema:
            return "schema"
        if message.vector.size != self._dimension:
            return "dimension"
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
