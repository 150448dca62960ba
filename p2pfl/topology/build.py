"""One entrance: a graph with its weights from the plain words of an experiment file."""

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields, replace
from math import isclose
from pathlib import Path
from typing import Any, Final, cast

from p2pfl.errors import ConfigError
from p2pfl.topology.families import FAMILIES, KINDS, Family, Known, Made, Words
from p2pfl.topology.files import check_table, read_graph, read_toml
from p2pfl.topology.graph import Graph
from p2pfl.topology.optimal_weights import best_constant_rows, fdla_rows, fmmc_rows
from p2pfl.topology.schedules import Schedule
from p2pfl.topology.spatial_graphs import Point
from p2pfl.topology.weights import (
    WeightRow,
    WeightsName,
    check_weights,
    matrix_of_rows,
    target_rows,
    weight_rows,
)
from p2pfl.types import Matrix, NodeId

BY_DEGREE: Final = ("metropolis", "lazy", "max_degree", "uniform")
OPTIMAL: Final = {"best_constant": best_constant_rows, "fdla": fdla_rows, "fmmc": fmmc_rows}
WEIGHTS: Final = (*BY_DEGREE, *OPTIMAL, "target")
"""What a file may say; a family with weights of its own reads none of them."""

_ALWAYS_READ: Final = frozenset({"kind", "seed", "weights", "target"})

_EXAMPLES: Final[Mapping[str, object]] = {
    "nodes": 8,
    "rows": 4,
    "degree": 4,
    "offsets": [1, 2, 4],
    "probability": 0.3,
    "links_per_node": 2,
    "radius": 0.4,
    "edges": '[["a", "b"]]',
    "path": '"topologies/torus-4x4.toml"',
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Topology:
    """A connected graph, and the weights with which neighbours are mixed."""

    graph: Graph
    """Of a schedule: all links that some round uses."""
    weights: str
    """Their name in the file; own: the family brings them with it."""
    kind: str
    """The family, which also decides how the graph is drawn."""
    schedule: Schedule | None = None
    """Who hears whom in which round; None: always the same."""
    given: Mapping[NodeId, WeightRow] | None = None
    """The weights, where the degrees do not tell them."""
    points: Mapping[NodeId, Point] | None = None
    """Where the nodes are, where they are somewhere."""

    def rows(self) -> Mapping[NodeId, WeightRow]:
        """Every node's weights on those it hears: what the core is given.

        Of a schedule: their mean over a period, the expected mixing matrix.
        """
        if self.schedule is not None:
            return self.schedule.mean_rows()
        if self.given is not None:
            return self.given
        return weight_rows(self.graph, weights=cast("WeightsName", self.weights))

    @property
    def symmetric(self) -> bool:
        """Whether w_ij = w_ji on every link, in every round, up to rounding."""
        if self.schedule is None:
            return _symmetric(self.rows())
        return all(
            _symmetric(dict(zip(self.graph.nodes, rows, strict=True)))
            for rows in self.schedule.rounds
        )

    def matrix(self) -> Matrix:
        """The dense mixing matrix `[n, n]`, for small graphs; of a schedule: the expected one."""
        return matrix_of_rows(self.rows())


def _symmetric(rows: Mapping[NodeId, WeightRow]) -> bool:
    weights = {(node, peer): weight for node, row in rows.items() for peer, weight in row}
    return all(
        isclose(weight, weights.get((peer, node), 0.0), rel_tol=1e-9)
        for (node, peer), weight in weights.items()
    )


def build_topology(
    *,
    base: Path | None = None,
    known: Known | None = None,
    **words: Any,  # noqa: ANN401 - the fields of `Words`, which checks their names
) -> Topology:
    """The connected graph that these words (the fields of `TopologyConfig`) describe.

    Relative paths are looked up in `base`, or else in the current folder. A .toml named by `path`
    speaks for itself: its weights and seed hold unless it leaves them out. `known` is what a whole
    experiment knows, for those families and weights that ask.

    Raises:
        ConfigError: a word is unknown, missing, out of range, or means nothing for this kind.
    """
    told = Words(**words)
    where = base or Path()
    known = replace(
        known or Known(),
        read=lambda path: _from_file(Words(kind="file", path=path), where, Known()).graph,
    )
    if told.kind == "file":
        _check_file_words(told)
        return _from_file(told, where, known)
    if told.kind not in FAMILIES:
        raise ConfigError(f"topology: kind = {told.kind!r}; allowed are {', '.join(KINDS)}")
    family = FAMILIES[told.kind]
    _check_words(told, family)
    return _weighted(family.make(told, known), told)


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


def _check_words(words: Words, family: Family) -> None:
    reads = {*family.needs, *family.reads}
    _refuse_unread(words, reads)
    for key in family.needs:
        if getattr(words, key) in (None, (), ""):
            example = _EXAMPLES[key]
            raise ConfigError(
                f'topology: kind = "{words.kind}" needs {key}, e.g. {key} = {example}'
            )
    if family.own_weights and words.weights != Words(kind=words.kind).weights:
        raise ConfigError(
            f'topology: weights = "{words.weights}" means nothing for kind = "{words.kind}", '
            "which brings its own; remove it"
        )


def _check_file_words(words: Words) -> None:
    _refuse_unread(words, {"path"})
    if not words.path:
        raise ConfigError(
            'topology: kind = "file" needs path, e.g. path = "topologies/ring-8.toml"'
        )


def _refuse_unread(words: Words, reads: set[str]) -> None:
    for key in fields(words):
        if key.name in reads or key.name in _ALWAYS_READ or key.default is MISSING:
            continue
        value = getattr(words, key.name)
        unsaid = value == key.default or (isinstance(value, (list, tuple)) and not value)
        if not unsaid:
            raise ConfigError(
                f'topology: {key.name} means nothing for kind = "{words.kind}", which reads '
                f"{', '.join(sorted(reads))}; remove it"
            )


def _weighted(made: Made, words: Words) -> Topology:
    graph, weights, given = made.graph, words.weights, made.rows
    if weights not in WEIGHTS:
        raise ConfigError(f"topology: weights = {weights!r}; allowed are {', '.join(WEIGHTS)}")
    if words.target and weights != "target":
        raise ConfigError(f'topology: target is read by weights = "target", not by "{weights}"')
    if made.schedule is not None or given is not None:
        weights = "own"
    elif weights in BY_DEGREE:
        check_weights(graph, weights)
    elif weights in OPTIMAL:
        given = OPTIMAL[weights](graph)
    else:
        given = target_rows(graph, _target(graph, words.target))
    return Topology(
        graph=graph,
        weights=weights,
        kind=words.kind,
        schedule=made.schedule,
        given=given,
        points=made.points,
    )


def _target(graph: Graph, told: Mapping[str, float]) -> list[float]:
    """Each node's share of the objective, 1 where nothing is said."""
    if not told:
        raise ConfigError(
            'topology: weights = "target" needs target, e.g. target = { n0 = 2.0 }; others count 1'
        )
    for node in told:
        graph.position(NodeId(node))
    return [told.get(node, 1.0) for node in graph.nodes]


def _from_file(words: Words, base: Path, known: Known) -> Topology:
    file = base / words.path
    try:
        if file.suffix != ".toml":
            return _weighted(Made(read_graph(file).validate()), words)
        return _from_table(check_table(read_toml(file)), words, file.parent, known)
    except ConfigError as error:
        raise ConfigError(f"{file}: {error}") from None


def _from_table(table: Mapping[str, Any], words: Words, base: Path, known: Known) -> Topology:
    if table["kind"] == "file" and str(table.get("path", "")).endswith(".toml"):
        raise ConfigError(f"topology: path = {table['path']!r} is one more .toml; name that one")
    told: dict[str, Any] = {"seed": words.seed, **table}
    family = FAMILIES.get(table["kind"])
    if family is None or not family.own_weights:
        told = {"weights": words.weights, "target": words.target, **told}
    return build_topology(**told, base=base, known=known)
