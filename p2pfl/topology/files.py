"""Graphs from files: .toml in our own words, edge lists, GraphML, GML, node-link JSON.

Weights in a foreign file are ignored: the mixing weights follow from the degrees.
"""

import json
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from p2pfl.errors import ConfigError
from p2pfl.topology.families import KINDS
from p2pfl.topology.generators import from_edges
from p2pfl.topology.graph import Graph

MAX_FILE_BYTES: Final = 256 * 1024 * 1024
"""More than the largest allowed graph needs as an edge list."""


def read_toml(file: Path) -> dict[str, Any]:
    """The tables of a .toml file, unchecked.

    Raises:
        ConfigError: the file cannot be read, or is no TOML.
    """
    try:
        return tomllib.loads(_text(file))
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{file}: this is no valid TOML: {error}") from None


def check_table(table: object) -> dict[str, Any]:
    """The keyword arguments of `build_topology` in this table, each of the right type.

    Raises:
        ConfigError: a key is unknown or missing, or its value is of the wrong type.
    """
    if not isinstance(table, Mapping):
        raise ConfigError('topology: expected a table with a kind, e.g. kind = "ring"')
    for key, value in table.items():
        if key not in _TYPES:
            raise ConfigError(f"topology: unknown key {key!r}; allowed are {', '.join(_TYPES)}")
        expected, fits = _TYPES[key]
        if not fits(value):
            raise ConfigError(f"topology: {key} = {value!r}; expected {expected}")
    if "kind" not in table:
        raise ConfigError(f"topology: kind is missing; allowed are {', '.join(KINDS)}")
    return dict(table)


def write_edges(file: Path, graph: Graph, *, weights: str, about: str) -> None:
    """Write an undirected graph as a .toml that an experiment can name.

    Raises:
        ConfigError: the file has another ending, or cannot be written.
    """
    if file.suffix != ".toml":
        raise ConfigError(f"{file}: a topology is written as .toml")
    pairs = ((graph.nodes[a], graph.nodes[b]) for a, b in graph.edges)
    rows = "".join(f'    ["{one}", "{other}"],\n' for one, other in pairs)
    text = f'# {about}\nkind = "edges"\nweights = "{weights}"\nedges = [\n{rows}]\n'
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{file}: cannot be written: {error.strerror}") from None


def read_graph(file: Path) -> Graph:
    """The graph in a foreign file, by its ending: .edges, .txt, .graphml, .gml or .json.

    Raises:
        ConfigError: the file cannot be read, or its ending or content is not understood.
    """
    reader = _READERS.get(file.suffix)
    if reader is None:
        raise ConfigError(
            f"topology: {file.name} has no known ending; allowed are .toml, {', '.join(_READERS)}"
        )
    return reader(_text(file))


def _text(file: Path) -> str:
    try:
        if file.stat().st_size > MAX_FILE_BYTES:
            raise ConfigError(f"{file}: larger than {MAX_FILE_BYTES:,} bytes; this is no topology")
        return file.read_text("utf-8")
    except UnicodeDecodeError:
        raise ConfigError(f"{file}: this is no UTF-8 text") from None
    except OSError as error:
        raise ConfigError(f"{file}: cannot read this file: {error.strerror}") from None


def _edge_list(text: str) -> Graph:
    """Two names a line, apart by spaces, tabs or a comma; # begins a comment; undirected."""
    edges = []
    for number, line in enumerate(text.splitlines(), start=1):
        names = line.partition("#")[0].replace(",", " ").split()
        if not names:
            continue
        if len(names) == 1:
            raise ConfigError(f"topology: line {number} has one name, {names[0]!r}; an edge is two")
        edges.append((names[0], names[1]))
    return from_edges(edges)


def _graphml(text: str) -> Graph:
    from networkx import parse_graphml

    return _from_networkx(text, parse_graphml, name="GraphML")


def _gml(text: str) -> Graph:
    from networkx import parse_gml

    return _from_networkx(text, parse_gml, name="GML")


def _node_link(text: str) -> Graph:
    from networkx import node_link_graph

    def parse(text: str) -> Any:  # noqa: ANN401 - any of networkx's four graph classes
        data = json.loads(text)
        # Before networkx 3.4 the list of edges was called links.
        return node_link_graph(data, edges="edges" if "edges" in data else "links")

    return _from_networkx(text, parse, name="node-link JSON")


def _from_networkx(text: str, parse: Callable[[str], Any], *, name: str) -> Graph:
    try:
        graph = parse(text)
    except Exception as error:  # noqa: BLE001 - networkx lets through whatever goes wrong inside it
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ConfigError(f"topology: this is no valid {name}: {reason}") from None
    return from_edges(
        [(str(a), str(b)) for a, b in graph.edges()],
        nodes=[str(node) for node in graph.nodes],
        directed=graph.is_directed(),
    )


_READERS: Final[Mapping[str, Callable[[str], Graph]]] = {
    ".edges": _edge_list,
    ".txt": _edge_list,
    ".graphml": _graphml,
    ".gml": _gml,
    ".json": _node_link,
}


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_edge(value: object) -> bool:
    return (
        isinstance(value, list)
        and len(value) == 2  # noqa: PLR2004 - an edge has two ends
        and all(isinstance(node, str) for node in value)
    )


def _is_number(value: object) -> bool:
    return isinstance(value, float) or _is_int(value)


_A_COUNT: Final = ("a whole number", _is_int)
_A_NUMBER: Final = ("a number", _is_number)
_A_TEXT: Final = ("a text in quotes", lambda value: isinstance(value, str))

_TYPES: Final[Mapping[str, tuple[str, Callable[[object], bool]]]] = {
    "kind": _A_TEXT,
    "nodes": _A_COUNT,
    "rows": _A_COUNT,
    "columns": _A_COUNT,
    "offsets": (
        "a list of whole numbers, e.g. [1, 2, 4]",
        lambda value: isinstance(value, list) and all(_is_int(item) for item in value),
    ),
    "degree": _A_COUNT,
    "rewire": ("a number from 0 to 1", _is_number),
    "probability": ("a number from 0 to 1", _is_number),
    "links_per_node": _A_COUNT,
    "radius": _A_NUMBER,
    "near": _A_COUNT,
    "far": _A_COUNT,
    "clique_size": _A_COUNT,
    "between_cliques": _A_TEXT,
    "rounds": _A_COUNT,
    "budget": ("a number from 0 to 1", _is_number),
    "edges": (
        'a list of pairs of names, e.g. [["a", "b"], ["b", "c"]]',
        lambda value: isinstance(value, list) and all(_is_edge(item) for item in value),
    ),
    "directed": ("true or false", lambda value: isinstance(value, bool)),
    "path": _A_TEXT,
    "seed": _A_COUNT,
    "weights": _A_TEXT,
    "target": (
        "a table of numbers, e.g. { n0 = 2.0 }",
        lambda value: isinstance(value, Mapping) and all(map(_is_number, value.values())),
    ),
}
"""The fields of an experiment's topology: what each holds, in words and as a test."""
