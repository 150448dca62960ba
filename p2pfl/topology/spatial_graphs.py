"""Graphs of nodes that have a place: who is near is heard, and few far ones keep it together."""

from math import floor, hypot, log, pi
from typing import Final

import numpy as np

from p2pfl.draws import draw, draw_bits
from p2pfl.errors import ConfigError
from p2pfl.topology.generators import check_at_least
from p2pfl.topology.graph import Graph, numbered
from p2pfl.topology.random_graphs import MAX_ATTEMPTS
from p2pfl.types import Matrix

Point = tuple[float, float]

MAX_MEASURED: Final = 5_000
"""Nodes whose latencies, a dense matrix, still fit in memory (200 MB)."""


def random_points(nodes: int, *, seed: int, attempt: int = 0) -> tuple[Point, ...]:
    """A place for each node, uniform in the unit square."""
    name = str(attempt)
    return tuple(
        (draw(seed, name, "points", 2 * i), draw(seed, name, "points", 2 * i + 1))
        for i in range(nodes)
    )


def distances(points: tuple[Point, ...]) -> Matrix:
    """The dense matrix `[n, n]` of distances: latencies of links along straight lines."""
    places = np.array(points)
    apart = places[:, None, :] - places[None, :, :]
    result: Matrix = np.sqrt((apart**2).sum(axis=2))
    return result


def geometric(nodes: int, *, radius: float, seed: int) -> tuple[Graph, tuple[Point, ...]]:
    """Nodes at random in the unit square, joined where they are at most `radius` apart.

    The points are drawn again until the graph is connected. Source: E. N. Gilbert, "Random plane
    networks", 1961.
    """
    check_at_least("geometric graph", "nodes", nodes, least=2)
    if not radius > 0.0:
        raise ConfigError(f"topology: radius = {radius}; allowed: above 0")
    for attempt in range(MAX_ATTEMPTS):
        points = random_points(nodes, seed=seed, attempt=attempt)
        graph = Graph(numbered(nodes), tuple(_close_pairs(points, radius)))
        if graph.is_connected:
            return graph, points
    enough = (2.0 * log(nodes) / (pi * nodes)) ** 0.5
    raise ConfigError(
        f"topology: no connected graph in {MAX_ATTEMPTS} draws; take a larger radius than "
        f"{radius:g}; about {enough:.2g} is often enough for {nodes} nodes"
    )


def latency_aware(latency_s: Matrix, *, near: int, far: int, seed: int) -> Graph:
    """Each node's `near` nearest by latency `[n, n]`, and `far` random others of each.

    Short links make rounds quick, the random ones make news spread: without them it is a map.
    Links go both ways, so a node may hear more than it chose. Far ones are drawn until connected.

    Raises:
        ConfigError: a number is out of range, or no draw is connected.
    """
    nodes = len(latency_s)
    check_at_least("latency-aware graph", "nodes", nodes, least=2)
    if near < 0 or far < 0 or not 1 <= near + far < nodes:
        raise ConfigError(
            f"topology: near = {near} and far = {far}; a latency-aware graph of {nodes} nodes "
            f"needs 1 to {nodes - 1} links of each node together"
        )
    others = [_by_latency(latency_s, i) for i in range(nodes)]
    short = {(i, j) for i, row in enumerate(others) for j in row[:near]}
    for attempt in range(MAX_ATTEMPTS if far else 1):
        long = {
            (i, row[near + place])
            for i, row in enumerate(others)
            for place in _sample(seed, f"{attempt}/{i}", among=nodes - 1 - near, size=far)
        }
        graph = Graph(numbered(nodes), tuple(short | long))
        if graph.is_connected:
            return graph
    raise ConfigError(
        f"topology: near = {near} and far = {far} leave some nodes unconnected; take more far links"
    )


def _by_latency(latency_s: Matrix, node: int) -> list[int]:
    """All others, the nearest first."""
    order = np.argsort(latency_s[node], kind="stable")
    return [int(j) for j in order if j != node]


def _sample(seed: int, name: str, *, among: int, size: int) -> list[int]:
    chosen: dict[int, None] = {}
    turn = 0
    while len(chosen) < size:
        chosen[draw_bits(seed, name, "latency_aware", turn) % among] = None
        turn += 1
    return list(chosen)


def _close_pairs(points: tuple[Point, ...], radius: float) -> list[tuple[int, int]]:
    """Pairs at most `radius` apart; nodes are looked for in their own and the adjoining cells."""
    cells: dict[tuple[int, int], list[int]] = {}
    at = [(floor(x / radius), floor(y / radius)) for x, y in points]
    for i, cell in enumerate(at):
        cells.setdefault(cell, []).append(i)
    return [
        (i, j)
        for i, (column, row) in enumerate(at)
        for right in (-1, 0, 1)
        for up in (-1, 0, 1)
        for j in cells.get((column + right, row + up), ())
        if i < j and hypot(points[i][0] - points[j][0], points[i][1] - points[j][1]) <= radius
    ]
