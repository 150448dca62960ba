"""Where nodes stand in a picture: each family in the shape that people know it by."""

import math
from collections.abc import Mapping
from typing import Final

from p2pfl.topology.generators import torus
from p2pfl.topology.graph import Graph, circulant_offsets
from p2pfl.types import NodeId

Point = tuple[float, float]

MAX_STRESS: Final = 80
"""Up to here every pair of nodes is placed by its distance; above, springs are quicker."""

_MAX_CUBE_BITS: Final = 5

_ROUND: Final = frozenset(
    {
        "small_world",
        "hyper_hypercube",
        "simple_base",
        "base",
        "equi_dyn",
        "el_oracle",
        "el_local",
    }
)
"""Families that are read best around a circle, whatever their union looks like."""


def place_nodes(
    graph: Graph, *, kind: str, points: Mapping[NodeId, Point] | None = None
) -> Mapping[NodeId, Point]:
    """Every node's point, within about [-1, 1] x [-1, 1]; the same graph, the same picture.

    Nodes that are somewhere (`points`) stand there. Rings, circulants, small worlds and schedules
    stand on a circle, grids on a grid, a star around its centre; any other graph is laid out by its
    distances.
    """
    placed = _points(graph, kind) if points is None else _fitted([points[n] for n in graph.nodes])
    return dict(zip(graph.nodes, placed, strict=True))


def _points(graph: Graph, kind: str) -> list[Point]:
    count = len(graph)
    grid = _grid(graph) if kind == "torus" else None
    if grid is not None:
        return grid
    if kind == "star" and count > 2:  # noqa: PLR2004 - two nodes are one edge
        return [(0.0, 0.0), *_circle(count - 1)]
    if kind == "hypercube" and 3 <= count.bit_length() - 1 <= _MAX_CUBE_BITS:  # noqa: PLR2004 - a cube
        return _cube(count)
    if kind == "path":
        return _arc(count)
    if kind in _ROUND or circulant_offsets(graph) is not None:
        return _circle(count)
    return _by_distance(graph)


def _circle(count: int) -> list[Point]:
    """Clockwise from the top, as on a clock."""
    if count == 1:
        return [(0.0, 0.0)]
    angles = (math.pi / 2 - 2 * math.pi * i / count for i in range(count))
    return [(math.cos(angle), math.sin(angle)) for angle in angles]


def _arc(count: int) -> list[Point]:
    """A path as three quarters of a circle: readable for many nodes, and visibly open."""
    open_by = math.pi / 2
    angles = (
        1.5 * math.pi - open_by / 2 - (2 * math.pi - open_by) * i / (count - 1)
        for i in range(count)
    )
    return [(math.cos(angle), math.sin(angle)) for angle in angles]


def _grid(graph: Graph) -> list[Point] | None:
    """Rows and columns of a torus, whose length n0's neighbour below betrays; None: no torus."""
    count = len(graph)
    sides = [c for c in graph.adjacency[0] if 1 < c < count and count % c == 0]
    columns = next((c for c in sides if torus(count // c, c).edges == graph.edges), None)
    if columns is None:
        return None
    rows = count // columns
    span = max(rows, columns) - 1
    return [
        ((2 * (i % columns) - columns + 1) / span, (rows - 1 - 2 * (i // columns)) / span)
        for i in range(count)
    ]


def _cube(count: int) -> list[Point]:
    """Each bit is a direction, and no two corners coincide."""
    bits = count.bit_length() - 1
    directions = {
        3: ((1.0, 0.0), (0.0, 1.0), (0.42, 0.36)),
        4: ((0.72, 0.3), (-0.3, 0.72), (0.3, 0.72), (-0.72, 0.3)),
        5: ((1.0, 0.12), (0.12, 1.0), (0.5, 0.34), (-0.2, 0.5), (0.3, -0.14)),
    }[bits]
    raw = [
        (
            sum(x for bit, (x, _) in enumerate(directions) if i >> bit & 1),
            sum(y for bit, (_, y) in enumerate(directions) if i >> bit & 1),
        )
        for i in range(count)
    ]
    return _fitted(raw)


def _by_distance(graph: Graph) -> list[Point]:
    import networkx as nx

    shape: nx.Graph[int] = nx.Graph()
    shape.add_nodes_from(range(len(graph)))
    shape.add_edges_from(graph.edges)
    if len(graph) <= MAX_STRESS:
        placed = nx.kamada_kawai_layout(shape)
    else:
        placed = nx.spring_layout(shape, seed=0, method="force")
    return _fitted([(float(placed[i][0]), float(placed[i][1])) for i in range(len(graph))])


def _fitted(points: list[Point]) -> list[Point]:
    """Moved and scaled into [-1, 1] x [-1, 1], with the same aspect."""
    xs, ys = zip(*points, strict=True)
    span = max(max(xs) - min(xs), max(ys) - min(ys)) or 1.0
    middle_x, middle_y = (max(xs) + min(xs)) / 2, (max(ys) + min(ys)) / 2
    return [(2 * (x - middle_x) / span, 2 * (y - middle_y) / span) for x, y in points]
