"""Who watches a real run for the user: the live table, or lines of JSON."""

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from p2pfl.cli.say import finite, say, speaks_json

if TYPE_CHECKING:
    from p2pfl.results.record import RunResult
    from p2pfl.runtime.board import Board
    from p2pfl.runtime.rows import Report
    from p2pfl.runtime.run import Watcher


def run_watcher() -> "AbstractContextManager[Watcher]":
    """A watcher for a `RealRun`; leaving it puts the terminal back."""
    if speaks_json():
        return nullcontext(JsonLines())
    from p2pfl.runtime.table import LiveTable

    return LiveTable()


class JsonLines:
    """Each report of a node, slow transfers, each note and each traceback once, as JSON."""

    def __init__(self) -> None:
        self._greeted = False
        self._noted = 0
        self._traced = 0
        self._reported: dict[str, int] = {}
        self._heard: dict[str, str] = {}
        self._slow: list[str] = []

    def __call__(self, board: "Board") -> None:
        """Tell what is new."""
        if not self._greeted and board.run:
            self._greeted = True
            say("run", "", run=board.run, broker=board.url, processes=len(board.standings))
        for standing in board.standings.values():
            told = self._reported.get(standing.node, 0)
            for report in standing.reports[told:]:
                tell_report(report)
            self._reported[standing.node] = len(standing.reports)
            if standing.said != self._heard.get(standing.node, ""):
                self._heard[standing.node] = standing.said
                say("log", "", node=standing.node, host=standing.host, message=standing.said)
        if board.on_the_way != self._slow:
            self._slow = board.on_the_way
            say("transfers", "", slow=self._slow)
        for note in board.notes[self._noted :]:
            say("note", "", level="warning", message=note)
        self._noted = len(board.notes)
        for trace in board.traces[self._traced :]:
            node, _, traceback = trace.partition(":\n")
            say("crash", "", level="error", node=node, traceback=traceback)
        self._traced = len(board.traces)


def tell_report(report: "Report") -> None:
    """What a node says of itself at an evaluation."""
    sample = report.sample
    accuracy = "" if sample.accuracy is None else f"  accuracy {sample.accuracy:.3f}"
    say(
        "progress",
        f"{sample.at_s:7.1f} s  {report.phase}  version {sample.version}{accuracy}"
        f"  staleness {sample.staleness_max:.2f}",
        node=sample.node,
        at_s=round(sample.at_s, 3),
        phase=report.phase,
        life=report.life,
        version=sample.version,
        steps=sample.steps,
        loss=finite(sample.loss),
        accuracy=sample.accuracy,
        staleness_max=finite(sample.staleness_max),
        out_bytes=sample.out_bytes,
        in_bytes=sample.in_bytes,
    )


def tell_result(result: "RunResult", text: str, *, folder: Path, report: Path) -> None:
    """What a run came to: these lines, or an object."""
    final = result.final
    say(
        "result",
        text,
        name=result.name,
        algorithm=result.label,
        driver=result.driver,
        seed=result.seed,
        duration_s=round(result.duration_s, 3),
        steps=final.steps,
        loss=finite(final.loss_mean),
        accuracy_mean=final.accuracy_mean,
        accuracy_worst=final.accuracy_worst,
        staleness_max=finite(result.staleness_max),
        staleness_bound=finite(result.staleness_bound),
        outcomes={node.node: node.outcome for node in result.nodes},
        notes=list(result.notes),
        folder=str(folder),
        report=str(report),
    )
