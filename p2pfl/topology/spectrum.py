"""How fast a mixing matrix spreads news: its second largest eigenvalue, and what follows."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from p2pfl.topology.graph import Graph, circulant_offsets
from p2pfl.topology.weights import (
    WeightRow,
    WeightsName,
    check_weights,
    matrix_of_rows,
    mixing_matrix,
    weight_row,
    weight_rows,
)
from p2pfl.types import NodeId

MAX_DENSE: Final = 600
"""Up to here all eigenvalues take a few tenths of a second; above, Lanczos is quicker."""

RESIDUAL: Final = 0.01
"""The mixing time is told for a disagreement cut to one hundredth."""

_ROUNDING: Final = 1e-12


@dataclass(frozen=True, slots=True)
class Spectrum:
    """What a graph with its weights promises for consensus."""

    second_eigenvalue: float
    """Lambda: the second largest absolute eigenvalue of W; 0 is at once, 1 is never."""

    @property
    def spectral_gap(self) -> float:
        """1 - lambda: the larger, the quicker."""
        return 1.0 - self.second_eigenvalue

    @property
    def mixing_time_rounds(self) -> float:
        """`mixing_time_rounds` to one hundredth."""
        return mixing_time_rounds(self.second_eigenvalue)


def spectrum(graph: Graph, *, weights: WeightsName) -> Spectrum:
    """The spectrum of the graph's mixing matrix: exact for small or circulant graphs."""
    return Spectrum(second_eigenvalue(graph, weights=weights))


def second_eigenvalue(graph: Graph, *, weights: WeightsName) -> float:
    """Lambda, the second largest absolute eigenvalue of W; 0 for a single node.

    For symmetric (or normal) W the consensus distance after t rounds is at most lambda^t of what
    it was, and no smaller number will do. Source: L. Xiao, S. Boyd, "Fast linear iterations for
    distributed averaging", 2004.
    """
    check_weights(graph, weights)
    if len(graph) == 1:
        return 0.0
    offsets = circulant_offsets(graph)
    if offsets is not None:
        row = weight_row(graph, graph.nodes[0], weights=weights)
        return _of_circulant(len(graph), offsets, [weight for _, weight in row])
    if len(graph) <= MAX_DENSE:
        return second_absolute_eigenvalue(mixing_matrix(graph, weights=weights))
    return _of_sparse(graph, weights)


def second_absolute_eigenvalue(matrix: NDArray[np.float64]) -> float:
    """The second largest |eigenvalue| of any dense row-stochastic matrix `[n, n]`."""
    symmetric = np.allclose(matrix, matrix.T, rtol=0.0, atol=_ROUNDING)
    values = np.linalg.eigvalsh(matrix) if symmetric else np.linalg.eigvals(matrix)
    return _second(np.abs(values))


def mixing_time_rounds(second_eigenvalue: float, *, residual: float = RESIDUAL) -> float:
    """The least t with lambda^t <= residual: rounds that surely cut disagreement so far.

    It is the synchronous form of the averaging time of S. Boyd, A. Ghosh, B. Prabhakar, D. Shah,
    "Randomized gossip algorithms", 2006. At least 1; infinity if lambda is 1.
    """
    if second_eigenvalue >= 1.0:
        return math.inf
    if second_eigenvalue <= 0.0:
        return 1
    exact = math.log(residual) / math.log(second_eigenvalue)
    return max(1, math.ceil(exact - _ROUNDING * exact))


def diameter(graph: Graph) -> int:
    """The longest shortest path, in hops along the edges, of a connected graph."""
    if circulant_offsets(graph) is not None:
        return max(graph.distances(0))
    if not graph.directed and len(graph.edges) == len(graph) - 1:
        # In a tree the farthest node from anywhere is one end of a longest path.
        hops = graph.distances(0)
        return max(graph.distances(hops.index(max(hops))))
    return sum(1 for _ in _growing_reach(graph))


def _growing_reach(graph: Graph) -> Iterator[None]:
    """Yields once for each hop that still brings anyone news from somebody new.

    Bit j of `reach[i]` says that i has heard of j: whole rows are joined as one integer.
    """
    everybody = (1 << len(graph)) - 1
    reach = [1 << i for i in range(len(graph))]
    while any(row != everybody for row in reach):
        before = reach
        reach = list(before)
        for i, heard in enumerate(graph.adjacency):
            for j in heard:
                reach[i] |= before[j]
        if reach == before:
            return
        yield


def _second(absolute: NDArray[np.float64]) -> float:
    value = float(np.sort(absolute)[-2])
    return 0.0 if value < _ROUNDING else value


def _of_circulant(count: int, offsets: Sequence[int], weights: Sequence[float]) -> float:
    """A circulant's eigenvalues are the Fourier transform of its first row.

    Source: R. M. Gray, "Toeplitz and Circulant Matrices: A Review", 2006, section 3.1.
    """
    row = np.zeros(count)
    row[[0, *offsets]] = [1.0 - sum(weights), *weights]
    return _second(np.abs(np.fft.fft(row)))


def second_eigenvalue_of_rows(rows: Mapping[NodeId, WeightRow]) -> float:
    """Lambda of any rows of weights (each node's own weight is what its row leaves of 1)."""
    if len(rows) == 1:
        return 0.0
    if len(rows) <= MAX_DENSE:
        return second_absolute_eigenvalue(matrix_of_rows(rows))
    matrix = sparse_matrix(rows)
    if abs(matrix - matrix.T).max() < _ROUNDING:
        return _of_symmetric(matrix)
    return _of_any(matrix)


def laplacian_extremes(graph: Graph) -> tuple[float, float]:
    """The second smallest and the largest eigenvalue of the Laplacian of a connected graph."""
    largest_degree = max(graph.degrees)
    rows = weight_rows(graph, weights="max_degree")
    # W = I - L / (1 + largest degree) has the same eigenvectors.
    scale = 1.0 + largest_degree
    if len(graph) <= MAX_DENSE:
        values = np.linalg.eigvalsh(matrix_of_rows(rows))
        return scale * (1.0 - float(values[-2])), scale * (1.0 - float(values[0]))
    matrix = sparse_matrix(rows)
    return scale * (1.0 - _second_largest(matrix)), scale * (1.0 - _lowest(matrix))


def sparse_matrix(rows: Mapping[NodeId, WeightRow]) -> Any:  # noqa: ANN401 - scipy ships no types
    """The rows, with each node's own weight, as a sparse matrix `[n, n]`."""
    from scipy.sparse import csr_array

    position = {node: i for i, node in enumerate(rows)}
    entries: list[tuple[int, int, float]] = []
    for i, row in enumerate(rows.values()):
        entries += [(i, position[node], weight) for node, weight in row]
        entries.append((i, i, 1.0 - sum(weight for _, weight in row)))
    into, of, values = zip(*entries, strict=True)
    return csr_array((values, (into, of)), shape=(len(rows), len(rows)))


def _of_sparse(graph: Graph, weights: WeightsName) -> float:
    matrix = sparse_matrix(weight_rows(graph, weights=weights))
    if graph.directed:
        return _of_any(matrix)
    # Uniform weights are not symmetric, but D^1/2 W D^-1/2 is, and has the same eigenvalues.
    if weights == "uniform":
        scale = np.sqrt(1.0 + np.array(graph.degrees))
        entries = matrix.tocoo()
        entries.data = entries.data * scale[entries.row] / scale[entries.col]
        matrix = entries.tocsr()
    return _of_symmetric(matrix)


def _of_any(matrix: Any) -> float:  # noqa: ANN401 - scipy ships no types
    from scipy.sparse.linalg import eigs

    start = np.random.default_rng(0).standard_normal(matrix.shape[0])
    return _second(np.abs(eigs(matrix, k=3, v0=start, return_eigenvectors=False)))


def _of_symmetric(matrix: Any) -> float:  # noqa: ANN401 - scipy ships no types
    second = _second_largest(matrix)
    # Gershgorin's discs, which the scaling leaves alone, end at 2 w_ii - 1.
    if 1.0 - 2.0 * float(matrix.diagonal().min()) <= second:
        return second
    return max(second, abs(_lowest(matrix)))


def _second_largest(matrix: Any) -> float:  # noqa: ANN401 - scipy ships no types
    """Lanczos; where the gap is too small for it, with the inverse around 1."""
    from scipy.sparse import eye_array
    from scipy.sparse.linalg import ArpackNoConvergence, eigsh

    start = np.random.default_rng(0).standard_normal(matrix.shape[0])
    try:
        largest = eigsh(matrix, k=2, which="LA", v0=start, maxiter=300, return_eigenvectors=False)
    except ArpackNoConvergence:
        shift = 1.0 + 1e-9
        near_one = (matrix - shift * eye_array(matrix.shape[0])).tocsc()
        largest = _inverse_iteration(near_one, start, shift)
    return float(np.min(largest))


def _lowest(matrix: Any) -> float:  # noqa: ANN401 - scipy ships no types
    from scipy.sparse.linalg import eigsh

    start = np.random.default_rng(0).standard_normal(matrix.shape[0])
    return float(eigsh(matrix, k=1, which="SA", v0=start, return_eigenvectors=False)[0])


def _inverse_iteration(
    shifted: Any,  # noqa: ANN401 - scipy ships no types
    start: NDArray[np.float64],
    shift: float,
) -> NDArray[np.float64]:
    from scipy.sparse.linalg import LinearOperator, eigsh, splu

    solve = LinearOperator(shifted.shape, matvec=splu(shifted).solve, dtype=np.float64)
    inverse = eigsh(solve, k=2, which="LM", v0=start, return_eigenvectors=False)
    return np.asarray(shift + 1.0 / inverse)
