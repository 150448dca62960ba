"""`p2pfl reproduce TARGET...`: expected numbers next to measured ones, and a page with curves."""

import argparse
import sys
from functools import partial

from p2pfl.cli.arguments import add_folder_argument
from p2pfl.exit_codes import ExitCode


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which targets, how thoroughly, where to, and how to show them."""
    parser.add_argument(
        "targets",
        nargs="*",
        metavar="TARGET",
        help="such as R1; all: every one (default: a list of them)",
    )
    parser.add_argument("--quick", action="store_true", help="the smallest instances, in seconds")
    add_folder_argument(parser)
    parser.add_argument("--format", choices=("table", "json"), default="table")


def run(arguments: argparse.Namespace) -> int:
    """Computes the targets, prints their tables, writes their pages; 0 if every row holds, else 6.

    Raises:
        ConfigError: there is no such target, or a page cannot be written.
    """
    from p2pfl.report.reproduction_page import write_reproduction
    from p2pfl.reproduction.render import json_text, plain_text
    from p2pfl.reproduction.reproduce import checked, reproduce
    from p2pfl.reproduction.target import TARGETS

    if not arguments.targets:
        lines = [f"  {each.name}  {each.title}\n" for each in TARGETS.values()]
        sys.stdout.write(f"Targets:\n{''.join(lines)}")
        return 0
    asked = list(TARGETS) if arguments.targets == ["all"] else arguments.targets
    made = {}
    for name in checked(asked):
        made[name] = reproduce(name, quick=arguments.quick, tell=partial(_tell, name))
        page = write_reproduction(name, made[name], arguments.out / f"reproduce-{name}.html")
        heading = f"{name}: {TARGETS[name].title}"
        if arguments.format == "table":
            sys.stdout.write(f"{plain_text(heading, made[name])}\npage: {page.resolve()}\n")
        else:
            sys.stderr.write(f"page: {page.resolve()}\n")
    if arguments.format == "json":
        sys.stdout.write(f"{json_text(made)}\n")
    return 0 if all(each.ok for each in made.values()) else ExitCode.DIFFERS


def _tell(name: str, what: str) -> None:
    """What is being computed, on a terminal only."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[K{name}: {what}")
        sys.stderr.flush()
