"""Mixing matrices: how much a node trusts each neighbour's model.

The core takes one node's row as plain data, which scales to 10,000 nodes; theory and pictures
take the dense matrix. A node's own weight is what its row leaves of 1.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, get_args

import numpy as np

from p2pfl.errors import ConfigError
from p2pfl.topology.graph import Graph
from p2pfl.types import Matrix, NodeId

WeightsName = Literal["metropolis", "lazy", "max_degree", "uniform"]
"""Weights that follow from the degrees; `optimal_weights` has those that need the whole graph."""

_Rule = Callable[[int, int], float]

WeightRow = tuple[tuple[NodeId, float], ...]
"""(neighbour, w_ij), in the order of the graph's nodes; without the node itself."""


def weight_row(graph: Graph, node: NodeId, *, weights: WeightsName) -> WeightRow:
    """One node's weights on those it hears, from local knowledge alone: the degrees.

    metropolis: w_ij = 1 / (1 + max(d_i, d_j)): symmetric, hence all nodes count alike. Source:
    L. Xiao, S. Boyd, S.-J. Kim, "Distributed average consensus with least-mean-square
    deviation", 2007.
    lazy: half of that, (I + W) / 2: no negative eigenvalue, which D2 and its like need.
    max_degree: w_ij = 1 / (1 + the largest degree of all): symmetric too.
    uniform: w_ij = 1 / (1 + d_i): rows sum to one, but a node counts in proportion to d_i + 1.

    Raises:
        ConfigError: symmetric ones on a directed graph, or no such name.
    """
    check_weights(graph, weights)
    return _row(graph, graph.position(node), _rule(graph, weights))


def weight_rows(graph: Graph, *, weights: WeightsName) -> Mapping[NodeId, WeightRow]:
    """Every node's `weight_row`."""
    check_weights(graph, weights)
    rule = _rule(graph, weights)
    return {node: _row(graph, i, rule) for i, node in enumerate(graph.nodes)}


def mixing_matrix(graph: Graph, *, weights: WeightsName) -> Matrix:
    """The dense matrix W `[n, n]`, with rows that sum to one; for small graphs."""
    check_weights(graph, weights)
    return matrix_of_rows(weight_rows(graph, weights=weights))


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
    if weights != "uniform" and graph.directed:
        raise ConfigError(
            f'topology: weights = "{weights}" needs an undirected graph, because both ends of an '
            "edge must hear each other for w_ij = w_ji; set directed = false, or weights = "
            '"uniform" for an algorithm that allows one-way links'
        )


def target_rows(graph: Graph, target: Sequence[float]) -> Mapping[NodeId, WeightRow]:
    """Metropolis-Hastings weights under which node i counts in proportion to target[i] > 0.

    w_ij = min(p_j / p_i, 1) / (1 + max(d_i, d_j)), so p_i w_ij = p_j w_ji: the stationary
    distribution is p, and with it the objective sum_i p_i f_i. Source: W. K. Hastings, "Monte
    Carlo sampling methods using Markov chains and their applications", 1970.

    Raises:
        ConfigError: the graph is directed, or a target is missing, not finite or not above 0.
    """
    check_weights(graph, "metropolis")
    if len(target) != len(graph) or not all(0.0 < p < math.inf for p in target):
        raise ConfigError(
            f"topology: the target needs {len(graph)} finite numbers above 0, one for each node"
        )
    rule = _rule(graph, "metropolis")
    return {
        node: _row(graph, i, lambda i, j: min(target[j] / target[i], 1.0) * rule(i, j))
        for i, node in enumerate(graph.nodes)
    }


def _row(graph: Graph, i: int, rule: _Rule) -> WeightRow:
    return tuple((graph.nodes[j], rule(i, j)) for j in graph.adjacency[i])


def _rule(graph: Graph, weights: WeightsName) -> _Rule:
    """w_ij as a function of the positions i and j of two neighbours."""
    degrees = graph.degrees
    if weights == "uniform":
        return lambda i, _: 1.0 / (1 + degrees[i])
    if weights == "max_degree":
        same = 1.0 / (1 + max(degrees))
        return lambda *_: same
    part = 0.5 if weights == "lazy" else 1.0
    return lambda i, j: part / (1 + max(degrees[i], degrees[j]))
