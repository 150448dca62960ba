"""Where a node is in its life."""

from enum import StrEnum


class Phase(StrEnum):
    """new --Started--> waiting <--> training --(steps reached)--> finished --Ended--> ended."""

    NEW = "new"
    REJOINING = "rejoining"
    WAITING = "waiting"
    TRAINING = "training"
    FINISHED = "finished"
    ENDED = "ended"
