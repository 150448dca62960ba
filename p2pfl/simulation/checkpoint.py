"""What a node of the virtual world finds again when it comes back."""

from typing import NamedTuple

from p2pfl.messages import Saved
from p2pfl.types import Vector


class Checkpoint(NamedTuple):
    """A node's own memory of an earlier life, and its optimizer's."""

    saved: Saved
    momentum: Vector | None
