"""How a run is shown on a terminal: its progress, and what it came to in a few lines."""

import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from p2pfl.cli.say import finite, say, speaks_json

if TYPE_CHECKING:
    from p2pfl.results.record import NetworkSample, RunResult
    from p2pfl.simulation.profile import Part

    Tell = Callable[[str, float, NetworkSample], None]

_SHARES: Final = 1000
"""Steps of the progress bar."""


def summary_lines(result: "RunResult", *, told: Collection[str] = ()) -> list[str]:
    """What a run came to, in a few aligned lines; notes that were told already are left out."""
    from p2pfl.comparison.units import bytes_text, count_text, number_text, percent_text

    final, busiest = result.final, result.busiest
    simulated = result.driver == "simulation"
    took = f" (in {number_text(result.wall_s)} s)" if simulated and result.wall_s else ""
    lines = [
        f"{result.name}: {result.label}, seed {result.seed}, {len(result.learners)} nodes",
        f"time        {number_text(result.duration_s)} {'virtual ' * simulated}seconds{took}",
    ]
    if final.accuracy_mean is not None and final.accuracy_worst is not None:
        lines.append(
            f"accuracy    {percent_text(final.accuracy_mean)} % mean,"
            f" {percent_text(final.accuracy_worst)} % worst node"
        )
    lines.append(f"loss        {number_text(final.loss_mean)}")
    lines.append(f"work        {count_text(final.steps)} gradient steps")
    if any(node.mixes for node in result.nodes):
        bounded = result.staleness_bound != float("inf")
        of = f"of {number_text(result.staleness_bound)}" if bounded else "(no bound)"
        lines.append(
            f"staleness   {number_text(result.staleness_max)} {of} {result.staleness_unit},"
            " the largest ever mixed"
        )
    if result.edges:
        total = sum(node.out_bytes + node.in_bytes for node in result.nodes)
        lines.append(
            f"bytes       {bytes_text(total / len(result.learners))} per node; busiest endpoint"
            f" {busiest.node} with {bytes_text(busiest.out_bytes + busiest.in_bytes)}"
        )
    return lines + [f"note        {note}" for note in result.notes if note not in told]


def profile_lines(seconds: "Mapping[Part, float]", *, steps: int) -> list[str]:
    """Where the time of a simulation went, as a small table; a node-step is a gradient step."""
    total = sum(seconds.values())
    lines = [f"{'where the time went':20}{'seconds':>10}{'share':>9}{'us per node-step':>18}"]
    for part, value in [*seconds.items(), ("in all", total)]:
        share = value / total if total else 0.0
        # What is done once per run has no price per step.
        once = part in ("start-up", "writing", "in all") or not steps
        each = "-" if once else f"{1e6 * value / steps:,.1f}"
        lines.append(f"{part:20}{value:>10.3f}{100 * share:>7.1f} %{each:>18}")
    return lines


def tell_note(note: str) -> None:
    """What slows a run down, or what else must be known of it, on stderr."""
    say("note", f"note: {note}", stream="stderr", message=note)


@contextmanager
def progress_shown() -> "Iterator[Tell]":
    """A bar on a terminal, a line per tenth in a pipe, both on stderr; told (what, share, sample).

    The share is how much of it is done, from 0 to 1.
    """
    if speaks_json() or not sys.stderr.isatty():
        yield _line_teller()
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[now]}"))
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        tasks = {}

        def tell(what: str, share: float, sample: "NetworkSample") -> None:
            if what not in tasks:
                tasks[what] = bar.add_task(what, total=_SHARES, now="")
            bar.update(tasks[what], completed=round(_SHARES * share), now=_now(sample))

        yield tell


def _line_teller() -> "Tell":
    told: dict[str, int] = {}

    def tell(what: str, share: float, sample: "NetworkSample") -> None:
        tenth = int(10 * share)
        if told.get(what) == tenth:
            return
        told[what] = tenth
        say(
            "progress",
            f"{what}: {_now(sample)}",
            stream="stderr",
            what=what,
            share=round(share, 4),
            at_s=round(sample.at_s, 3),
            steps=sample.steps,
            loss=finite(sample.loss_mean),
            accuracy_mean=sample.accuracy_mean,
            accuracy_worst=sample.accuracy_worst,
        )

    return tell


def _now(sample: "NetworkSample") -> str:
    from p2pfl.comparison.units import number_text, percent_text

    quality = (
        f"loss {number_text(sample.loss_mean)}"
        if sample.accuracy_mean is None
        else f"accuracy {percent_text(sample.accuracy_mean)} %"
    )
    return f"{number_text(sample.at_s)} s, {quality}"
