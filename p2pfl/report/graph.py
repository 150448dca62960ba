"""A run's graph as a picture: slow nodes and the server in colours of their own."""

from collections.abc import Sequence
from typing import Final

from p2pfl.report.canvas import colour, inline
from p2pfl.report.graph_picture import PALETTE, graph_svg
from p2pfl.results.record import RunResult
from p2pfl.topology.families import FAMILIES
from p2pfl.topology.graph import Graph
from p2pfl.topology.layout import place_nodes
from p2pfl.types import NodeId

_MAX_NODES: Final = 300
_MAX_EDGES: Final = 3_000
"""Beyond these a page would carry megabytes for a grey disc."""

GROUPS: Final = ("as fast as most", "slow", "server")


def run_graph(run: RunResult, slow: frozenset[NodeId]) -> str | None:
    """The `<svg>` of who hears whom; None if the graph is too large to be seen."""
    if len(run.nodes) > _MAX_NODES or len(run.edges) > _MAX_EDGES or not run.edges:
        return None
    servers = [node.node for node in run.nodes if node.role == "server"]
    # The layout of a star has its centre first.
    nodes = (*servers, *(node.node for node in run.learners))
    position = {node: place for place, node in enumerate(nodes)}
    edges = tuple((position[a], position[b]) for a, b in run.edges)
    told = run.config.topology
    # On a schedule both ends of a link hear signs of life of each other.
    constant = told.kind not in FAMILIES or not FAMILIES[told.kind].scheduled
    directed = told.directed and constant and not servers
    graph = Graph(nodes, edges, directed=directed)
    kind = "star" if servers else told.kind
    groups = {n: GROUPS[2] if n in servers else GROUPS[n in slow] for n in nodes}
    svg = graph_svg(
        nodes, graph.edges, place_nodes(graph, kind=kind), directed=directed, groups=groups
    )
    return inline(_recoloured(svg, [groups[n] for n in nodes]), about="graph of the nodes")


def _recoloured(svg: str, groups: Sequence[str]) -> str:
    """The picture's own colours, given by first appearance, as the page's."""
    for own, group in zip(PALETTE, dict.fromkeys(groups), strict=False):
        svg = svg.replace(own, colour(GROUPS.index(group)))
    return svg
