"""`p2pfl report RUN...`: the page with pictures, of one run or of many side by side."""

import argparse
import sys
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds RUN... and --out."""
    parser.add_argument(
        "runs",
        type=Path,
        nargs="+",
        metavar="RUN",
        help="a run's folder, or a folder of runs such as compare leaves",
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help="where to write the page (default: report.html in the folder; of several: right here)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Writes the page, says where it is, and returns 0.

    Raises:
        DataError: a folder is no run, or one that never ended or was damaged.
        ConfigError: the page cannot be written.
    """
    from p2pfl.report.page import write_report
    from p2pfl.results.folder import REPORT, SUMMARY, read_run

    folders: list[Path] = []
    for given in arguments.runs:
        # A comparison's folder holds its runs; a run's own folder has a summary.
        found = sorted(given.glob(f"*/{SUMMARY}"), key=lambda file: file.stat().st_mtime_ns)
        inner = [file.parent for file in found]
        folders += inner if inner and not (given / SUMMARY).exists() else [given]
    results = [read_run(folder, models=False) for folder in folders]
    only = arguments.runs[0] if len(arguments.runs) == 1 else Path()
    file = arguments.out if arguments.out is not None else only / REPORT
    written = write_report(results, file)
    sys.stdout.write(f"report: {written.resolve()}\n")
    return 0
