"""What `up` and `join` share: this machine's data, its place, and what they say."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from p2pfl.runtime.life import NodeOutcome
    from p2pfl.runtime.rows import Report
    from p2pfl.types import NodeId


def add_party_arguments(parser: argparse.ArgumentParser, folder: Path) -> None:
    """Adds --data, --part, --id and --folder."""
    parser.add_argument(
        "--data",
        metavar="WHERE",
        help="this machine's data: an .npz file, the folder of a known data set, its name, or"
        " module:function; default: as the experiment says",
    )
    parser.add_argument(
        "--part", metavar="K/N", help="keep only the K-th of N equal parts of it, as in 1/2"
    )
    parser.add_argument(
        "--id", metavar="NODE", help="this machine's place in the graph; default: the first free"
    )
    parser.add_argument(
        "--folder",
        type=Path,
        default=folder,
        metavar="DIR",
        help="keep certificates and checkpoints there (%(default)s)",
    )


def shown_progress(report: "Report") -> None:
    """One line at each evaluation."""
    sample = report.sample
    accuracy = "" if sample.accuracy is None else f"  accuracy {sample.accuracy:.3f}"
    print(
        f"{sample.at_s:7.1f} s  {report.phase}  version {sample.version}{accuracy}"
        f"  staleness {sample.staleness_max:.2f}",
        flush=True,
    )


def outcome_line(node: "NodeId | str", outcome: "NodeOutcome") -> str:
    """What a node's life came to, in one line."""
    score = outcome.score
    quality = ""
    if score is not None:
        quality = f", loss {score.loss:.4f}"
        if score.accuracy is not None:
            quality += f", accuracy {score.accuracy:.3f}"
    return (
        f"{node} {outcome.totals.outcome} after {outcome.duration_s:.1f} s: "
        f"{outcome.totals.steps} steps{quality}, "
        f"staleness at most {outcome.totals.staleness_max:.2f}"
    )
