"""Every family of topologies by its name: what it needs to be told, and how it is made."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple, cast

from p2pfl.errors import ConfigError
from p2pfl.topology import base_graph, epidemic, equitopo, generators, random_graphs, schedules
from p2pfl.topology.cliques import Between, d_cliques
from p2pfl.topology.graph import Graph, numbered
from p2pfl.topology.matcha import matcha
from p2pfl.topology.schedules import Schedule
from p2pfl.topology.spatial_graphs import (
    MAX_MEASURED,
    Point,
    distances,
    geometric,
    latency_aware,
    random_points,
)
from p2pfl.topology.weights import WeightRow
from p2pfl.types import Array, Matrix, NodeId


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """What an experiment file says of its topology, as it is; see `TopologyConfig`."""

    kind: str
    nodes: int | None = None
    rows: int | None = None
    columns: int | None = None
    offsets: Sequence[int] = ()
    degree: int | None = None
    rewire: float = 0.1
    probability: float | None = None
    links_per_node: int | None = None
    radius: float | None = None
    near: int = 3
    far: int = 2
    clique_size: int = 10
    between_cliques: str = "ring"
    rounds: int = 100
    budget: float = 0.5
    edges: Sequence[tuple[str, str]] = ()
    directed: bool = False
    path: str = ""
    seed: int = 0
    weights: str = "metropolis"
    target: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What words alone do not say; asked for by the kinds that need it."""

    label_counts: Callable[[Sequence[NodeId]], Array] | None = None
    """How many samples of each label every node is dealt: `[n, classes]`."""
    latency_s: Callable[[Sequence[NodeId]], Matrix] | None = None
    """The latency of each link: `[n, n]`, symmetric."""
    read: Callable[[str], Graph] | None = None
    """The graph in another file; `build_topology` sees to it."""


class Made(NamedTuple):
    """A topology before its weights are chosen."""

    graph: Graph
    schedule: Schedule | None = None
    rows: Mapping[NodeId, WeightRow] | None = None
    """The weights, where the family brings its own."""
    points: Mapping[NodeId, Point] | None = None
    """Where the nodes are, where they are somewhere."""


class Family(NamedTuple):
    """One `kind`."""

    make: Callable[[Words, Known], Made]
    needs: tuple[str, ...] = ("nodes",)
    """The keys without which it is no graph."""
    reads: tuple[str, ...] = ()
    """Further keys that it reads; seed and weights are read by all."""
    scheduled: bool = False
    """Another graph in each round."""
    own_weights: bool = False


def _static(make: Callable[[Words], Graph]) -> Callable[[Words, Known], Made]:
    return lambda words, _: Made(make(words))


def _counted(make: Callable[[int], Graph]) -> Family:
    """A graph that the number of its nodes decides."""
    return Family(_static(lambda words: make(_told(words.nodes))))


def _scheduled(make: Callable[[Words], Schedule]) -> Callable[[Words, Known], Made]:
    def made(words: Words, known: Known) -> Made:
        del known
        schedule = make(words)
        return Made(schedule.union(), schedule=schedule)

    return made


def _told(number: int | None) -> int:
    assert number is not None, "what a family needs is checked before it is made"
    return number


def _torus(words: Words) -> Graph:
    rows = _told(words.rows)
    return generators.torus(rows, rows if words.columns is None else words.columns)


def _erdos_renyi(words: Words) -> Graph:
    assert words.probability is not None
    return random_graphs.erdos_renyi(
        _told(words.nodes), probability=words.probability, seed=words.seed
    )


def _geometric(words: Words, known: Known) -> Made:
    del known
    assert words.radius is not None
    graph, points = geometric(_told(words.nodes), radius=words.radius, seed=words.seed)
    return Made(graph, points=dict(zip(graph.nodes, points, strict=True)))


def _latency_aware(words: Words, known: Known) -> Made:
    """By the experiment's own links, if it tells their latencies; else by random places."""
    count = _told(words.nodes)
    generators.check_at_least("latency-aware graph", "nodes", count, least=2)
    if count > MAX_MEASURED:
        raise ConfigError(
            f"topology: nodes = {count:,}; a latency-aware graph needs 2 to {MAX_MEASURED:,} nodes"
        )
    names = numbered(count)
    if known.latency_s is not None:
        latency_s = known.latency_s(names)
        return Made(latency_aware(latency_s, near=words.near, far=words.far, seed=words.seed))
    points = random_points(count, seed=words.seed)
    graph = latency_aware(distances(points), near=words.near, far=words.far, seed=words.seed)
    return Made(graph, points=dict(zip(names, points, strict=True)))


def _d_cliques(words: Words, known: Known) -> Made:
    allowed = ("ring", "small_world", "complete")
    if words.between_cliques not in allowed:
        raise ConfigError(
            f"topology: between_cliques = {words.between_cliques!r}; allowed are "
            f"{', '.join(allowed)}"
        )
    if known.label_counts is None:
        raise ConfigError(
            'topology: kind = "d_cliques" follows the labels that each node is dealt; it stands in '
            "an experiment file, which says so, and not alone"
        )
    cliques = d_cliques(
        known.label_counts(numbered(_told(words.nodes))),
        clique_size=words.clique_size,
        between=cast("Between", words.between_cliques),
        seed=words.seed,
    )
    return Made(cliques.graph)


def _equi_static(words: Words, known: Known) -> Made:
    del known
    rows = equitopo.equi_static(
        _told(words.nodes), degree=_told(words.degree), seed=words.seed, directed=words.directed
    )
    edges = [(peer, node) for node, row in rows.items() for peer, _ in row]
    return Made(generators.from_edges(edges, nodes=rows, directed=words.directed), rows=rows)


def _equi_dyn(words: Words) -> Schedule:
    return equitopo.equi_dyn(
        _told(words.nodes), rounds=words.rounds, seed=words.seed, directed=words.directed
    )


def _epidemic(make: Callable[..., Schedule]) -> Callable[[Words, Known], Made]:
    return _scheduled(
        lambda words: make(
            _told(words.nodes), degree=_told(words.degree), rounds=words.rounds, seed=words.seed
        )
    )


def _matcha(words: Words, known: Known) -> Made:
    assert known.read is not None
    schedule = matcha(
        known.read(words.path), budget=words.budget, rounds=words.rounds, seed=words.seed
    )
    return Made(schedule.union(), schedule=schedule)


def _base(make: Callable[..., Schedule]) -> Family:
    return Family(
        _scheduled(lambda words: make(_told(words.nodes), degree=_told(words.degree))),
        ("nodes", "degree"),
        scheduled=True,
        own_weights=True,
    )


FAMILIES: Final[Mapping[str, Family]] = {
    "ring": _counted(generators.ring),
    "path": _counted(generators.path),
    "star": _counted(generators.star),
    "complete": _counted(generators.complete),
    "torus": Family(_static(_torus), ("rows",), ("columns",)),
    "hypercube": _counted(generators.hypercube),
    "circulant": Family(
        _static(lambda words: generators.circulant(_told(words.nodes), offsets=words.offsets)),
        ("nodes", "offsets"),
    ),
    "exponential": Family(
        _static(
            lambda words: generators.exponential(_told(words.nodes), directed=words.directed),
        ),
        reads=("directed",),
    ),
    "random_regular": Family(
        _static(
            lambda words: random_graphs.random_regular(
                _told(words.nodes), degree=_told(words.degree), seed=words.seed
            )
        ),
        ("nodes", "degree"),
    ),
    "small_world": Family(
        _static(
            lambda words: random_graphs.small_world(
                _told(words.nodes),
                degree=_told(words.degree),
                rewire=words.rewire,
                seed=words.seed,
            )
        ),
        ("nodes", "degree"),
        ("rewire",),
    ),
    "erdos_renyi": Family(_static(_erdos_renyi), ("nodes", "probability")),
    "barabasi_albert": Family(
        _static(
            lambda words: random_graphs.barabasi_albert(
                _told(words.nodes), links_per_node=_told(words.links_per_node), seed=words.seed
            )
        ),
        ("nodes", "links_per_node"),
    ),
    "geometric": Family(_geometric, ("nodes", "radius")),
    "latency_aware": Family(_latency_aware, reads=("near", "far")),
    "d_cliques": Family(_d_cliques, reads=("clique_size", "between_cliques")),
    "equi_static": Family(_equi_static, ("nodes", "degree"), ("directed",), own_weights=True),
    "one_peer_exponential": Family(
        _scheduled(lambda words: schedules.one_peer_exponential(_told(words.nodes))),
        scheduled=True,
        own_weights=True,
    ),
    "one_peer_hypercube": Family(
        _scheduled(lambda words: schedules.one_peer_hypercube(_told(words.nodes))),
        scheduled=True,
        own_weights=True,
    ),
    "hyper_hypercube": _base(base_graph.hyper_hypercube),
    "simple_base": _base(base_graph.simple_base),
    "base": _base(base_graph.base),
    "equi_dyn": Family(
        _scheduled(_equi_dyn), reads=("rounds", "directed"), scheduled=True, own_weights=True
    ),
    "el_oracle": Family(
        _epidemic(epidemic.el_oracle),
        ("nodes", "degree"),
        ("rounds",),
        scheduled=True,
        own_weights=True,
    ),
    "el_local": Family(
        _epidemic(epidemic.el_local),
        ("nodes", "degree"),
        ("rounds",),
        scheduled=True,
        own_weights=True,
    ),
    "matcha": Family(_matcha, ("path",), ("budget", "rounds"), scheduled=True, own_weights=True),
    "edges": Family(
        _static(
            lambda words: generators.from_edges(words.edges, directed=words.directed),
        ),
        ("edges",),
        ("directed",),
    ),
}
"""All kinds but "file", which stands for any of them."""

KINDS: Final = (*FAMILIES, "file")
