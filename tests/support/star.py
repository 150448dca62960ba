"""A star in the hand: what clients say, and how their server sees them."""

from collections.abc import Collection, Mapping

import numpy as np

from p2pfl.algorithms.base import Local, Outgoing, no_steps
from p2pfl.messages import Header, Incarnation, ModelMessage, Neighbour
from p2pfl.types import Extra, NodeId, Vector

SERVER = NodeId("server")
CLIENTS = tuple(NodeId(f"n{i}") for i in range(4))
FIRST = Incarnation(1, 1)


def vector(*values: float) -> Vector:
    return np.array(values, dtype=np.float32)


def message(
    node: NodeId,
    version: int,
    model: Vector,
    *,
    kind: str = "update",
    samples: int = 1,
    local_steps: int = 1,
    words: tuple[int, ...] = (),
    extra: Extra | None = None,
    life: Incarnation = FIRST,
) -> ModelMessage:
    header = Header(
        run="r",
        schema="s",
        node=node,
        incarnation=life,
        sequence=version,
        version=version,
        oldest_version=version,
        sent_s=0.0,
        kind=kind,
        samples=samples,
        local_steps=local_steps,
        words=words,
    )
    return ModelMessage(header, model, extra)


def seen(
    node: NodeId,
    held: ModelMessage | None = None,
    *,
    version: int | None = None,
    live: bool = True,
    finished: bool = False,
) -> Neighbour:
    told = version if version is not None else (0 if held is None else held.header.version)
    header, model, extra = None, None, None
    if held is not None:
        header, model, extra = held.header, held.vector, held.extra
    return Neighbour(node, 0.2, 1.0, live, finished, told, header, model, extra)


def at_server(
    version: int, *, dead: Collection[str] = (), told: Mapping[NodeId, int] | None = None
) -> Local:
    """What the server knows of itself; clients live, and have told of version 0 or of `told`."""

    def look(node: NodeId) -> Neighbour:
        return seen(node, version=(told or {}).get(node, 0), live=node not in dead)

    return Local(SERVER, version=version, samples=0, steps=0, look=look)


def at_client(version: int, *, loss: float = 1.0, rate: float = 0.0, local_steps: int = 1) -> Local:
    """What a client knows of itself; `rate` is its learning rate."""
    sizes = (lambda _, count: rate * count) if rate else no_steps
    return Local(
        CLIENTS[0],
        version=version,
        samples=1,
        steps=0,
        loss=loss,
        local_steps=local_steps,
        step_sizes=sizes,
    )


def only(outgoing: Collection[Outgoing]) -> Outgoing:
    (one,) = outgoing
    return one
