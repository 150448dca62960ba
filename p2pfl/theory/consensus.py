"""How fast plain averaging converges: consensus curves, and closed forms of their slope.

Lambda is the second largest absolute eigenvalue of the mixing matrix W with Metropolis-Hastings
weights (regular graphs: 1 / (degree + 1) for everyone). After t synchronous rounds the
consensus distance is at most lambda^t of what it was.

Sources: L. Xiao, S. Boyd, "Fast linear iterations for distributed averaging", 2004 (the rate);
R. M. Gray, "Toeplitz and Circulant Matrices: A Review", 2006 (rings, tori); B. Ying et al.,
"Exponential Graph is Provably Efficient for Decentralized Deep Training", 2021 (exponential).
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from p2pfl.errors import ConfigError
from p2pfl.types import Array, Matrix


def ring(nodes: int) -> float:
    """Lambda of a cycle; about 1 - 4 pi^2 / (3 n^2) for many nodes."""
    _require("ring", "nodes", nodes, least=3)
    return max(abs(1.0 + 2.0 * math.cos(2.0 * math.pi * k / nodes)) / 3.0 for k in (1, nodes // 2))


def path(nodes: int) -> float:
    """Lambda of a line: that of a ring of twice the length."""
    _require("path", "nodes", nodes, least=3)
    return (1.0 + 2.0 * math.cos(math.pi / nodes)) / 3.0


def complete(nodes: int) -> float:
    """Lambda of a complete graph: 0, one round is the exact mean."""
    _require("complete graph", "nodes", nodes, least=1)
    return 0.0


def star(nodes: int) -> float:
    """Lambda of a star: 1 - 1 / n, slow although its diameter is two."""
    _require("star", "nodes", nodes, least=3)
    return 1.0 - 1.0 / nodes


def torus(rows: int, columns: int) -> float:
    """Lambda of a torus whose sides are three or longer."""
    _require("torus", "rows", rows, least=3)
    _require("torus", "columns", columns, least=3)
    along = 2.0 * np.cos(2.0 * np.pi * np.arange(rows) / rows)
    across = 2.0 * np.cos(2.0 * np.pi * np.arange(columns) / columns)
    values = np.abs(1.0 + along[:, None] + across[None, :]) / 5.0
    return float(np.sort(values.ravel())[-2])


def hypercube(nodes: int) -> float:
    """Lambda of a hypercube of n = 2^D nodes: 1 - 2 / (D + 1)."""
    _require("hypercube", "nodes", nodes, least=2)
    if nodes & (nodes - 1):
        raise ConfigError(f"theory: nodes = {nodes}; a hypercube has a power of two")
    return 1.0 - 2.0 / nodes.bit_length()


def exponential(nodes: int) -> float:
    """Lambda of the directed static exponential graph of an even number of nodes.

    Every node hears those 1, 2, 4, ... places behind and weighs each by 1 / (ceil(log2 n) + 1).
    """
    _require("exponential graph", "nodes", nodes, least=2)
    if nodes % 2:
        raise ConfigError(
            f"theory: nodes = {nodes}; the closed form holds for even numbers, and bounds odd ones"
        )
    return 1.0 - 2.0 / (1 + (nodes - 1).bit_length())


def random_regular(degree: int) -> float:
    """About lambda of a large random regular graph, however many nodes it has.

    Source: J. Friedman, "A proof of Alon's second eigenvalue conjecture", 2003: the second
    eigenvalue of the adjacency comes near 2 sqrt(d - 1).
    """
    _require("random regular graph", "degree", degree, least=3)
    return (1.0 + 2.0 * math.sqrt(degree - 1)) / (degree + 1)


def consensus_curve(
    matrices: Matrix | Sequence[Matrix], start: Array, *, rounds: int
) -> NDArray[np.float64]:
    """The consensus distance before the first and after each of so many rounds, `[rounds + 1]`.

    `matrices` is one mixing matrix `[n, n]`, or those of a schedule, which follow each other round
    and round: X(t+1) = W(t) X(t) from `start` `[n, d]`. The distance is the root mean square
    distance of the nodes from their mean. Of one symmetric matrix it falls at least as lambda^t,
    and in the end as lambda^t.
    """
    in_turn = [matrices] if isinstance(matrices, np.ndarray) else list(matrices)
    x = np.asarray(start, dtype=np.float64)
    curve = [consensus_distance(x)]
    for t in range(rounds):
        x = in_turn[t % len(in_turn)] @ x
        curve.append(consensus_distance(x))
    return np.array(curve)


def consensus_distance(x: Array) -> float:
    """The root mean square distance of the rows of x `[n, d]` from their mean."""
    return float(np.sqrt(((x - x.mean(axis=0)) ** 2).sum(axis=1).mean()))


def _require(kind: str, key: str, value: int, *, least: int) -> None:
    if value < least:
        raise ConfigError(
            f"theory: {key} = {value}; the formula for a {kind} needs {least} or more"
        )
