"""Who stands where in a run: every endpoint, whom it hears, and the rule that it follows."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from p2pfl.algorithms.base import Algorithm, Surroundings
from p2pfl.algorithms.suite import make_client, make_server
from p2pfl.protocol.settings import Round
from p2pfl.topology.build import Topology
from p2pfl.topology.schedules import Schedule
from p2pfl.types import NodeId


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One endpoint of the run: whom it hears with which weight, and the rule that it follows."""

    node: NodeId
    neighbours: tuple[tuple[NodeId, float], ...]
    algorithm: Algorithm[Any]
    learns: bool = True
    """False for a server: it holds no data."""
    surroundings: Surroundings | None = None
    """What its rule was told; None where it asks for nothing."""
    rounds: tuple[Round, ...] = ()
    """Whom it hears and who hears it in each round of a schedule; empty: always the same."""
    versions_kept: int = 2
    """How many of its last versions it must be able to hand out again."""


def graph_places(topology: Topology, rule: Algorithm[Any], *, seed: int) -> Mapping[NodeId, Place]:
    """Every node of a graph, in order, with the same rule at its own place.

    A rule that needs acknowledgements hears its hearers too, on one-way links with weight 0; on a
    schedule all do, so that a hearer may ask for a model that was lost.
    """
    graph, needs, rows = topology.graph, rule.capabilities, topology.rows()
    hearers: dict[NodeId, list[NodeId]] = {node: [] for node in graph.nodes}
    for node, row in rows.items():
        for peer, _ in row:
            hearers[peer].append(node)
    if needs.column_stochastic:
        rows = {
            node: tuple((peer, 1.0 / (1 + len(hearers[peer]))) for peer, _ in row)
            for node, row in rows.items()
        }
    schedule, places = topology.schedule, {}
    kept = 2 if schedule is None else 1 + schedule.lead_max()
    for node in graph.nodes:
        row = rows[node]
        heard = {peer for peer, _ in row}
        back = tuple((peer, 0.0) for peer in hearers[node] if peer not in heard)
        place = Surroundings(node=node, neighbours=row, hearers=tuple(hearers[node]), seed=seed)
        places[node] = Place(
            node=node,
            neighbours=row + back if needs.acknowledged or schedule is not None else row,
            algorithm=rule.at(place),
            surroundings=place,
            rounds=_rounds(schedule, node),
            versions_kept=kept,
        )
    return places


def _rounds(schedule: Schedule | None, node: NodeId) -> tuple[Round, ...]:
    if schedule is None:
        return ()
    return tuple(
        Round(neighbours=row, hearers=schedule.heard_by(number, node))
        for number, row in enumerate(schedule.rows(node))
    )


def star_places(
    kind: str,
    clients: Collection[NodeId],
    given: Mapping[str, object],
    *,
    server: NodeId,
    seed: int,
) -> Mapping[NodeId, Place]:
    """The clients in order, then their server; `given` sets the algorithm's parameters."""
    weight = 1.0 / (1 + len(clients))
    client = make_client(kind, given, server=server)
    places = {
        node: Place(node=node, neighbours=((server, weight),), algorithm=client) for node in clients
    }
    places[server] = Place(
        node=server,
        neighbours=tuple((node, weight) for node in clients),
        algorithm=make_server(kind, given, clients=tuple(clients), seed=seed),
        learns=False,
    )
    return places
