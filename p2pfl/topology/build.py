"""One entrance: a graph with its weights from the plain words of an experiment file."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from p2pfl.errors import ConfigError
from p2pfl.topology import generators, random_graphs
from p2pfl.topology.files import KINDS, check_table, read_graph, read_toml
from p2pfl.topology.graph import Graph
from p2pfl.topology.weights import (
    WeightRow,
    WeightsName,
    check_weights,
    mixing_matrix,
    weight_rows,
)
from p2pfl.types import Matrix, NodeId

_READS: Final[Mapping[str, frozenset[str]]] = {
    "ring": frozenset({"nodes"}),
    "path": frozenset({"nodes"}),
    "star": frozenset({"nodes"}),
    "complete": frozenset({"nodes"}),
    "torus": frozenset({"rows", "columns"}),
    "hypercube": frozenset({"nodes"}),
    "circulant": frozenset({"nodes", "offsets"}),
    "exponential": frozenset({"nodes", "directed"}),
    "random_regular": frozenset({"nodes", "degree"}),
    "small_world": frozenset({"nodes", "degree", "rewire"}),
    "edges": frozenset({"edges", "directed"}),
    "file": frozenset({"path"}),
}
"""What each kind reads besides seed and weights."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Topology:
    """A connected graph, and the weights with which neighbours are mixed."""

    graph: Graph
    weights: WeightsName
    kind: str
    """The family, which also decides how the graph is drawn."""

    def rows(self) -> Mapping[NodeId, WeightRow]:
        """Every node's weights on those it hears: what the core is given."""
        return weight_rows(self.graph, weights=self.weights)

    def matrix(self) -> Matrix:
        """The dense mixing matrix `[n, n]`, for small graphs."""
        return mixing_matrix(self.graph, weights=self.weights)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Words:
    """The caller's words, as they are."""

    kind: str
    nodes: int | None
    rows: int | None
    columns: int | None
    offsets: Sequence[int]
    degree: int | None
    rewire: float
    edges: Sequence[tuple[str, str]]
    directed: bool
    path: str
    seed: int
    weights: str


def build_topology(
    *,
    kind: str,
    nodes: int | None = None,
    rows: int | None = None,
    columns: int | None = None,
    offsets: Sequence[int] = (),
    degree: int | None = None,
    rewire: float = 0.1,
    edges: Sequence[tuple[str, str]] = (),
    directed: bool = False,
    path: str = "",
    seed: int = 0,
    weights: str = "metropolis",
    base: Path | None = None,
) -> Topology:
    """The connected graph that these words (the fields of `TopologyConfig`) describe.

    Relative paths are looked up in `base`, or else in the current folder. A .toml named by `path`
    speaks for itself: its weights and seed hold unless it leaves them out.

    Raises:
        ConfigError: a word is unknown, missing, out of range, or means nothing for this kind.
    """
    words = _Words(
        kind=kind,
        nodes=nodes,
        rows=rows,
        columns=columns,
        offsets=offsets,
        degree=degree,
        rewire=rewire,
        edges=edges,
        directed=directed,
        path=path,
        seed=seed,
        weights=weights,
    )
    _check_words(words)
    if kind == "file":
        return _from_file(words, base or Path())
    return _weighted(_GENERATE[kind](words), words)


def load_topology(file: Path) -> Topology:
    """The topology in a file: .toml (of its own, or an experiment's), or any file of a graph.

    Raises:
        ConfigError: the file cannot be read, or says something that is not allowed.
    """
    table = read_toml(file).get("topology") if file.suffix == ".toml" else None
    if table is None:
        return build_topology(kind="file", path=file.name, base=file.parent)
    try:
        if not isinstance(table, str):
            return build_topology(**check_table(table), base=file.parent)
        if table in KINDS:
            return build_topology(kind=table)
        return build_topology(kind="file", path=table, base=file.parent)
    except ConfigError as error:
        raise ConfigError(f"{file}: {error}") from None


def _check_words(words: _Words) -> None:
    if words.kind not in _READS:
        raise ConfigError(f"topology: kind = {words.kind!r}; allowed are {', '.join(KINDS)}")
    said = {
        "nodes": words.nodes is not None,
        "rows": words.rows is not None,
        "columns": words.columns is not None,
        "offsets": bool(words.offsets),
        "degree": words.degree is not None,
        "edges": bool(words.edges),
        "directed": words.directed,
        "path": bool(words.path),
    }
    reads = _READS[words.kind]
    for key, is_said in said.items():
        if is_said and key not in reads:
            raise ConfigError(
                f'topology: {key} means nothing for kind = "{words.kind}", which reads '
                f"{', '.join(sorted(reads))}; remove it"
            )


def _weighted(graph: Graph, words: _Words) -> Topology:
    check_weights(graph, words.weights)
    weights: WeightsName = "uniform" if words.weights == "uniform" else "metropolis"
    return Topology(graph=graph, weights=weights, kind=words.kind)


def _needed(words: _Words, key: str, value: int | None, *, example: int) -> int:
    if value is None:
        raise ConfigError(f'topology: kind = "{words.kind}" needs {key}, e.g. {key} = {example}')
    return value


def _nodes(words: _Words) -> int:
    return _needed(words, "nodes", words.nodes, example=8)


def _degree(words: _Words) -> int:
    return _needed(words, "degree", words.degree, example=4)


def _torus(words: _Words) -> Graph:
    rows = _needed(words, "rows", words.rows, example=4)
    return generators.torus(rows, rows if words.columns is None else words.columns)


def _random_regular(words: _Words) -> Graph:
    return random_graphs.random_regular(_nodes(words), degree=_degree(words), seed=words.seed)


def _small_world(words: _Words) -> Graph:
    return random_graphs.small_world(
        _nodes(words), degree=_degree(words), rewire=words.rewire, seed=words.seed
    )


_GENERATE: Final[Mapping[str, Callable[[_Words], Graph]]] = {
    "ring": lambda words: generators.ring(_nodes(words)),
    "path": lambda words: generators.path(_nodes(words)),
    "star": lambda words: generators.star(_nodes(words)),
    "complete": lambda words: generators.complete(_nodes(words)),
    "torus": _torus,
    "hypercube": lambda words: generators.hypercube(_nodes(words)),
    "circulant": lambda words: generators.circulant(_nodes(words), offsets=words.offsets),
    "exponential": lambda words: generators.exponential(_nodes(words), directed=words.directed),
    "random_regular": _random_regular,
    "small_world": _small_world,
    "edges": lambda words: generators.from_edges(words.edges, directed=words.directed),
}


def _from_file(words: _Words, base: Path) -> Topology:
    if not words.path:
        raise ConfigError(
            'topology: kind = "file" needs path, e.g. path = "topologies/ring-8.toml"'
        )
    file = base / words.path
    try:
        if file.suffix != ".toml":
            return _weighted(read_graph(file).validate(), words)
        return _from_table(check_table(read_toml(file)), words, file.parent)
    except ConfigError as error:
        raise ConfigError(f"{file}: {error}") from None


def _from_table(table: Mapping[str, Any], words: _Words, base: Path) -> Topology:
    if table["kind"] == "file" and str(table.get("path", "")).endswith(".toml"):
        raise ConfigError(f"topology: path = {table['path']!r} is one more .toml; name that one")
    told: dict[str, Any] = {"seed": words.seed, "weights": words.weights, **table}
    return build_topology(**told, base=base)
