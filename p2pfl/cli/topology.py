"""`p2pfl topology FILE`: what a graph promises, as a table and a picture."""

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from p2pfl.errors import ConfigError

if TYPE_CHECKING:
    from p2pfl.topology.build import Topology
    from p2pfl.topology.schedules import Schedule
    from p2pfl.topology.summary import ScheduleSummary, TopologySummary

_LINKS_TOLD: Final = 12

Line = tuple[str, str, str]
"""What, its value, and what it means."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds FILE, --picture, and how to mend the graph when nodes are gone."""
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
    parser.add_argument(
        "--without",
        metavar="NODE,...",
        help="mend the graph after these nodes are gone: links are added until all are connected "
        "and nobody has too few",
    )
    parser.add_argument(
        "--degree",
        type=int,
        metavar="N",
        help="with --without: the fewest neighbours (default: the fewest that anyone had)",
    )
    parser.add_argument(
        "--save",
        type=Path,
        metavar="PATH",
        help="with --without: where to write the mended graph, a .toml for [topology]",
    )


def run(arguments: argparse.Namespace) -> int:
    """Prints the table, draws the picture, and returns 0.

    Raises:
        ConfigError: the file cannot be read or is wrong, or the picture cannot be written.
    """
    from p2pfl.report.graph_picture import MAX_DRAWN
    from p2pfl.topology.summary import summarize, summarize_schedule

    file: Path = arguments.file
    topology = _load(file)
    if arguments.without is not None:
        topology = _mended(topology, arguments)
    elif arguments.degree is not None or arguments.save is not None:
        raise ConfigError("--degree and --save are read with --without only")
    if topology.schedule is None:
        summary = summarize(topology)
        lines, caption = _lines(summary), _caption(summary)
    else:
        of_rounds = summarize_schedule(topology.schedule)
        lines, caption = _schedule_lines(of_rounds), _schedule_caption(of_rounds)
    sys.stdout.write(f"{file.stem} ({topology.kind})\n\n{table(lines)}\n")
    if arguments.picture is None and len(topology.graph) > MAX_DRAWN:
        sys.stdout.write(f"No picture: more than {MAX_DRAWN:,} nodes.\n")
        return 0
    picture: Path = arguments.picture or Path(f"{file.stem}.svg")
    _draw(topology, name=file.stem, caption=caption, picture=picture)
    sys.stdout.write(f"Picture: {picture.resolve()}\n")
    return 0


def table(lines: Sequence[Line]) -> str:
    """Three aligned columns: names to the left, values to the right, then their meaning."""
    widths = [max(len(line[column]) for line in lines) for column in (0, 1)]
    return "".join(
        f"  {name:<{widths[0]}}  {value:>{widths[1]}}  {meaning}".rstrip() + "\n"
        for name, value, meaning in lines
    )


def _load(file: Path) -> "Topology":
    """The file's topology; an experiment's is asked where it follows the data or the links."""
    from p2pfl.topology.build import load_topology
    from p2pfl.topology.files import read_toml

    told = read_toml(file) if file.suffix == ".toml" else {}
    if isinstance(told.get("topology"), dict) and "data" in told:
        from p2pfl.config.load import load_config
        from p2pfl.wiring import make_topology

        return make_topology(load_config(file), folder=file.resolve().parent)
    return load_topology(file)


def _mended(topology: "Topology", arguments: argparse.Namespace) -> "Topology":
    """The graph without those who are gone; tells which links are new."""
    from p2pfl.topology.files import write_edges
    from p2pfl.topology.repair import repair_topology

    gone = [node.strip() for node in arguments.without.split(",") if node.strip()]
    mended = repair_topology(topology, gone, degree=arguments.degree)
    new = sorted(_links(mended) - _links(topology))
    told = ", ".join("-".join(link) for link in new[:_LINKS_TOLD]) or "none"
    more = f" and {len(new) - _LINKS_TOLD:,} more" if len(new) > _LINKS_TOLD else ""
    sys.stdout.write(f"Without {', '.join(gone)}; new links: {told}{more}\n")
    if arguments.save is not None:
        about = f"{arguments.file.name} without {', '.join(gone)}."
        write_edges(arguments.save, mended.graph, weights=mended.weights, about=about)
        sys.stdout.write(f"Written: {arguments.save.resolve()}\n")
    return mended


def _links(topology: "Topology") -> set[tuple[str, str]]:
    nodes = topology.graph.nodes
    ends = (sorted((nodes[a], nodes[b])) for a, b in topology.graph.edges)
    return {(one, other) for one, other in ends}


def _lines(summary: "TopologySummary") -> list[Line]:
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
        ("weights", summary.weights, _justice(summary)),
        ("lambda", f"{summary.second_eigenvalue:.6f}", "second largest |eigenvalue| of W"),
        ("spectral gap", f"{summary.spectral_gap:.3g}", "1 - lambda: larger is quicker"),
        (
            "mixing time",
            f"{rounds:,}" if math.isfinite(rounds) else "never",
            "synchronous rounds that surely cut disagreement to 1 %",
        ),
    ]


def _justice(summary: "TopologySummary") -> str:
    """Whom these weights favour."""
    if summary.weights == "target":
        return "a node counts by its target"
    if summary.weights == "uniform" and summary.degree_min != summary.degree_max:
        return "a node counts by its degree + 1"
    return "every node counts alike"


def _schedule_lines(summary: "ScheduleSummary") -> list[Line]:
    rounds = f"{summary.rounds:,}"
    if summary.exact:
        left, meaning = "0", f"exact averaging after {rounds} rounds"
    else:
        left, meaning = f"{summary.contraction:.3g}", "spectral norm of what a period leaves"
    means = "every node counts alike" if summary.keeps_mean else "alike on average over rounds only"
    lines = [
        ("nodes", f"{summary.nodes:,}", ""),
        ("rounds", rounds, "then the first comes again"),
        ("degree per round", f"{summary.degree_max}", f"at most; mean {summary.degree_mean:.2f}"),
        (
            "models per update",
            f"{summary.degree_mean:.2f} + {summary.degree_mean:.2f}",
            "sent to those who hear the node in this round, received from those it hears",
        ),
        (
            "links",
            f"{summary.links:,}",
            f"in all rounds together, {'one-way' if summary.directed else 'both ways'}",
        ),
        ("keeps the mean", "yes" if summary.keeps_mean else "no", means),
        ("disagreement", left, meaning),
        ("algorithms", "synchronous", "asynchronous ones would mix models of other rounds"),
    ]
    rate = f"{summary.contraction_per_round:.6f}"
    if not summary.exact:
        lines.insert(-1, ("per round", rate, "geometric mean: compare it with lambda"))
    return lines


def _caption(summary: "TopologySummary") -> str:
    return (
        f"{summary.nodes:,} nodes · {summary.edges:,} edges · diameter "
        f"{summary.diameter:,} · λ = {summary.second_eigenvalue:.4g} ({summary.weights})"
    )


def _schedule_caption(summary: "ScheduleSummary") -> str:
    left = "exact" if summary.exact else f"{summary.contraction_per_round:.4g} per round"
    return (
        f"{summary.nodes:,} nodes · {summary.rounds:,} rounds · at most {summary.degree_max} per "
        f"round · {left}"
    )


def _draw(topology: "Topology", *, name: str, caption: str, picture: Path) -> None:
    """The graph; of a schedule its rounds side by side, or where they are many their union."""
    from p2pfl.report.graph_picture import draw_graph
    from p2pfl.report.rounds_picture import MAX_IN_PANEL, MAX_PANELS, draw_rounds
    from p2pfl.topology.layout import place_nodes

    graph, schedule = topology.graph, topology.schedule
    positions = place_nodes(graph, kind=topology.kind, points=topology.points)
    if schedule is not None and schedule.period <= MAX_PANELS and len(graph) <= MAX_IN_PANEL:
        draw_rounds(
            graph.nodes,
            [_edges(schedule, number) for number in range(schedule.period)],
            positions,
            file=picture,
            directed=graph.directed,
            title=name,
            caption=caption,
        )
        return
    draw_graph(
        graph.nodes,
        graph.edges,
        positions,
        file=picture,
        directed=graph.directed,
        title=name,
        caption=caption,
    )


def _edges(schedule: "Schedule", number: int) -> list[tuple[int, int]]:
    """(heard, hearer) in one round, each pair once where links go both ways."""
    position = {node: i for i, node in enumerate(schedule.nodes)}
    pairs = [
        (position[peer], i) for i, row in enumerate(schedule.rounds[number]) for peer, _ in row
    ]
    return pairs if schedule.directed else [(a, b) for a, b in pairs if a < b]
