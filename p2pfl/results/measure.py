"""From the nodes' models to the numbers of one evaluation time."""

from collections.abc import Sequence

import numpy as np

from p2pfl.results.record import NetworkSample, NodeSample
from p2pfl.types import Vector


def mean_model(vectors: Sequence[Vector]) -> Vector:
    """The mean of the models, float32 `[d]`, summed in float64."""
    total = np.zeros(vectors[0].size, dtype=np.float64)
    for vector in vectors:
        total += vector
    return (total / len(vectors)).astype(np.float32)


def consensus_distance(vectors: Sequence[Vector]) -> float:
    """Root mean square distance of the models to their mean."""
    mean = mean_model(vectors)
    squares = [float(np.sum(np.square(v - mean, dtype=np.float64))) for v in vectors]
    return float(np.sqrt(sum(squares) / len(squares)))


def network_sample(
    nodes: Sequence[NodeSample],
    *,
    at_s: float,
    accuracy_average_model: float | None,
    distance: float | None,
    endpoint_bytes: Sequence[int],
) -> NetworkSample:
    """Sum up one evaluation time; `endpoint_bytes` are all endpoints', a server's too."""
    alive = [n for n in nodes if n.alive]
    accuracies = [n.accuracy for n in alive if n.accuracy is not None]
    return NetworkSample(
        at_s=at_s,
        accuracy_mean=float(np.mean(accuracies)) if accuracies else None,
        accuracy_worst=min(accuracies) if accuracies else None,
        accuracy_average_model=accuracy_average_model,
        loss_mean=float(np.mean([n.loss for n in alive])) if alive else float("nan"),
        consensus_distance=distance,
        steps=sum(n.steps for n in nodes),
        bytes_total=sum(endpoint_bytes),
        bytes_busiest=max(endpoint_bytes, default=0),
    )
