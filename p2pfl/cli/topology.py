"""`p2pfl topology FILE`: what a graph promises, as a table and a picture."""

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from p2pfl.topology.build import Topology
    from p2pfl.topology.summary import TopologySummary

Line = tuple[str, str, str]
"""What, its value, and what it means."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds FILE and --picture."""
    parser.add_argument(
        "file",
        type=Path,
        metavar="FILE",
        help="a topology or experiment (.toml), an edge list (.edges, .txt), .graphml, .gml or "
        "node-link .json",
    )
    parser.add_argument(
        "--picture",
        type=Path,
        metavar="PATH",
        help="where to draw the graph: .svg, .png or .pdf (default: FILE's name .svg, right here)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Prints the table, draws the picture, and returns 0.

    Raises:
        ConfigError: the file cannot be read or is wrong, or the picture cannot be written.
    """
    from p2pfl.report.graph_picture import MAX_DRAWN
    from p2pfl.topology.build import load_topology
    from p2pfl.topology.summary import summarize

    file: Path = arguments.file
    topology = load_topology(file)
    summary = summarize(topology)
    sys.stdout.write(f"{file.stem} ({topology.kind})\n\n{table(_lines(summary))}\n")
    if arguments.picture is None and summary.nodes > MAX_DRAWN:
        sys.stdout.write(f"No picture: more than {MAX_DRAWN:,} nodes.\n")
        return 0
    picture: Path = arguments.picture or Path(f"{file.stem}.svg")
    _draw(topology, summary, name=file.stem, picture=picture)
    sys.stdout.write(f"Picture: {picture.resolve()}\n")
    return 0


def table(lines: Sequence[Line]) -> str:
    """Three aligned columns: names to the left, values to the right, then their meaning."""
    widths = [max(len(line[column]) for line in lines) for column in (0, 1)]
    return "".join(
        f"  {name:<{widths[0]}}  {value:>{widths[1]}}  {meaning}".rstrip() + "\n"
        for name, value, meaning in lines
    )


def _lines(summary: "TopologySummary") -> list[Line]:
    symmetric = summary.weights == "metropolis" or summary.degree_min == summary.degree_max
    degrees = (
        str(summary.degree_max)
        if summary.degree_min == summary.degree_max
        else f"{summary.degree_min} to {summary.degree_max}"
    )
    rounds = summary.mixing_time_rounds
    return [
        ("nodes", f"{summary.nodes:,}", ""),
        ("edges", f"{summary.edges:,}", "one-way" if summary.directed else "both ways"),
        ("degree", degrees, f"mean {summary.degree_mean:.2f}"),
        (
            "models per update",
            f"1 + {summary.degree_mean:.2f}",
            "sent once (the broker fans out), received from each neighbour",
        ),
        ("connected", "yes", "strongly" if summary.directed else ""),
        ("diameter", f"{summary.diameter:,}", "hops that news needs from end to end"),
        (
            "weights",
            summary.weights,
            "every node counts alike" if symmetric else "a node counts by its degree + 1",
        ),
        ("lambda", f"{summary.second_eigenvalue:.6f}", "second largest |eigenvalue| of W"),
        ("spectral gap", f"{summary.spectral_gap:.3g}", "1 - lambda: larger is quicker"),
        (
            "mixing time",
            f"{rounds:,}" if math.isfinite(rounds) else "never",
            "synchronous rounds that surely cut disagreement to 1 %",
        ),
    ]


def _draw(topology: "Topology", summary: "TopologySummary", *, name: str, picture: Path) -> None:
    from p2pfl.report.graph_picture import draw_graph
    from p2pfl.topology.layout import place_nodes

    graph = topology.graph
    draw_graph(
        graph.nodes,
        graph.edges,
        place_nodes(graph, kind=topology.kind),
        file=picture,
        directed=graph.directed,
        title=name,
        caption=f"{summary.nodes:,} nodes · {summary.edges:,} edges · diameter "
        f"{summary.diameter:,} · λ = {summary.second_eigenvalue:.4g} ({summary.weights})",
    )
