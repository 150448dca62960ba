"""What to know about a topology before choosing it."""

from dataclasses import dataclass

from p2pfl.topology.build import Topology
from p2pfl.topology.spectrum import diameter, spectrum
from p2pfl.topology.weights import WeightsName


@dataclass(frozen=True, slots=True, kw_only=True)
class TopologySummary:
    """A topology in eleven numbers and words."""

    nodes: int
    edges: int
    directed: bool
    degree_min: int
    degree_mean: float
    """Also the models that a node receives per update; it sends one, and the broker fans out."""
    degree_max: int
    diameter: int
    """Hops that news needs from one end to the other."""
    weights: WeightsName
    second_eigenvalue: float
    spectral_gap: float
    mixing_time_rounds: float
    """Synchronous rounds that surely cut disagreement to one hundredth."""


def summarize(topology: Topology) -> TopologySummary:
    """The numbers of a connected topology; about a second for 10,000 nodes."""
    graph = topology.graph
    degrees = graph.degrees
    found = spectrum(graph, weights=topology.weights)
    return TopologySummary(
        nodes=len(graph),
        edges=len(graph.edges),
        directed=graph.directed,
        degree_min=min(degrees),
        degree_mean=sum(degrees) / len(degrees),
        degree_max=max(degrees),
        diameter=diameter(graph),
        weights=topology.weights,
        second_eigenvalue=found.second_eigenvalue,
        spectral_gap=found.spectral_gap,
        mixing_time_rounds=found.mixing_time_rounds,
    )
