"""Mixing matrices: how much a node trusts each neighbour's model.

The core takes one node's row as plain data, which scales to 10,000 nodes; theory and pictures
take the dense matrix. A node's own weight is what its row leaves of 1.
"""

from collections.abc import Mapping
from typing import Literal, get_args

import numpy as np

from p2pfl.errors import ConfigError
from p2pfl.topology.graph import Graph
from p2pfl.types import Matrix, NodeId

WeightsName = Literal["metropolis", "uniform"]

WeightRow = tuple[tuple[NodeId, float], ...]
"""(neighbour, w_ij), in the order of the graph's nodes; without the node itself."""


def weight_row(graph: Graph, node: NodeId, *, weights: WeightsName) -> WeightRow:
    """One node's weights on those it hears, from local knowledge alone: the degrees.

    metropolis: w_ij = 1 / (1 + max(d_i, d_j)): symmetric, hence all nodes count alike. Source:
    L. Xiao, S. Boyd, S.-J. Kim, "Distributed average consensus with least-mean-square
    deviation", 2007.
    uniform: w_ij = 1 / (1 + d_i): rows sum to one, but a node counts in proportion to d_i + 1.

    Raises:
        ConfigError: metropolis on a directed graph, or no such name.
    """
    check_weights(graph, weights)
    return _row(graph, graph.position(node), weights)


def weight_rows(graph: Graph, *, weights: WeightsName) -> Mapping[NodeId, WeightRow]:
    """Every node's `weight_row`."""
    check_weights(graph, weights)
    return {node: _row(graph, i, weights) for i, node in enumerate(graph.nodes)}


def mixing_matrix(graph: Graph, *, weights: WeightsName) -> Matrix:
    """The dense matrix W `[n, n]`, with rows that sum to one; for small graphs."""
    check_weights(graph, weights)
    matrix = np.zeros((len(graph), len(graph)))
    for i, row in enumerate(graph.adjacency):
        for j in row:
            matrix[i, j] = _weight(graph, i, j, weights)
    matrix[np.diag_indices(len(graph))] = 1.0 - matrix.sum(axis=1)
    return matrix


def matrix_of_rows(rows: Mapping[NodeId, WeightRow]) -> Matrix:
    """The dense matrix `[n, n]` of these rows, each node's own weight included."""
    position = {node: i for i, node in enumerate(rows)}
    matrix = np.zeros((len(rows), len(rows)))
    for i, row in enumerate(rows.values()):
        for peer, weight in row:
            matrix[i, position[peer]] = weight
    matrix[np.diag_indices(len(rows))] = 1.0 - matrix.sum(axis=1)
    return matrix


def check_weights(graph: Graph, weights: str) -> None:
    """Raises ConfigError if these weights are unknown or do not fit the graph."""
    if weights not in get_args(WeightsName):
        allowed = ", ".join(get_args(WeightsName))
        raise ConfigError(f"topology: weights = {weights!r}; allowed are {allowed}")
    if weights == "metropolis" and graph.directed:
        raise ConfigError(
            'topology: weights = "metropolis" needs an undirected graph, because both ends of an '
            "edge must hear each other for w_ij = w_ji; set directed = false, or weights = "
            '"uniform" for an algorithm that allows one-way links'
        )


def _row(graph: Graph, i: int, weights: WeightsName) -> WeightRow:
    return tuple((graph.nodes[j], _weight(graph, i, j, weights)) for j in graph.adjacency[i])


def _weight(graph: Graph, i: int, j: int, weights: WeightsName) -> float:
    degree = len(graph.adjacency[i])
    if weights == "metropolis":
        degree = max(degree, len(graph.adjacency[j]))
    return 1.0 / (1 + degree)
