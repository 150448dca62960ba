"""The live table of a run: redrawn on a terminal, one plain line every few seconds elsewhere."""

from types import TracebackType
from typing import Final, Self

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from p2pfl.runtime.board import Board, Standing

_PLAIN_EVERY_S: Final = 3.0
_ROWS_MAX: Final = 40
"""More nodes than this do not fit a screen: the table shows the first."""

_SLOW_MAX: Final = 6
"""So many slow transfers are shown."""

_KIB: Final = 1024.0


class LiveTable:
    """A watcher for `RealRun`, and a context manager: leaving it puts the terminal back."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console if console is not None else Console()
        self._live: Live | None = None
        self._told_s = -_PLAIN_EVERY_S
        self._noted = 0
        self._heard: dict[str, str] = {}
        """Node -> the line of its log that was shown last."""
        self._traced = 0
        self._greeted = False

    def __enter__(self) -> Self:
        """Take over the terminal, if it is one."""
        if self._console.is_terminal:
            self._live = Live(console=self._console, auto_refresh=False)
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        fault: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave the last table standing."""
        if self._live is not None:
            self._live.stop()

    def __call__(self, board: Board) -> None:
        """Show the board as it is now."""
        if not self._greeted and board.run:
            self._greeted = True
            self._say(f"run {board.run} at {board.url}, {len(board.standings)} processes")
        for note in board.notes[self._noted :]:
            self._say(note)
        self._noted = len(board.notes)
        for trace in board.traces[self._traced :]:
            self._say(trace.rstrip())
        self._traced = len(board.traces)
        if self._live is not None:
            self._live.update(table_of(board), refresh=True)
            return
        for standing in board.standings.values():
            if standing.said != self._heard.get(standing.node, ""):
                self._heard[standing.node] = standing.said
                self._say(f"{standing.where}: {standing.said}")
        if board.now_s - self._told_s >= _PLAIN_EVERY_S and board.now_s > 0.0:
            self._told_s = board.now_s
            self._say(line_of(board))

    def _say(self, sentence: str) -> None:
        console = self._console if self._live is None else self._live.console
        console.print(sentence, highlight=False, markup=False, soft_wrap=True)


def table_of(board: Board) -> Table:
    """One row per node."""
    title = f"{board.run}   {board.now_s:.0f} s"
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    elsewhere = any(standing.host for standing in board.standings.values())
    for heading in ("node", "host", "state") if elsewhere else ("node", "state"):
        table.add_column(heading, no_wrap=True)
    for heading in ("version", "steps", "accuracy", "staleness", "out", "in", "steps/s"):
        table.add_column(heading, justify="right", no_wrap=True)
    if elsewhere:
        table.add_column("last line of its log", no_wrap=True, overflow="ellipsis")
    standings = list(board.standings.values())
    for standing in standings[:_ROWS_MAX]:
        cells = _cells(standing)
        if elsewhere:
            cells = (cells[0], standing.host, *cells[1:], escape(standing.said))
        table.add_row(*cells, style=None if standing.alive else "red")
    more = [f"and {len(standings) - _ROWS_MAX} more"] * (len(standings) > _ROWS_MAX)
    slow = board.on_the_way
    if more or slow:
        rest = [f"and {len(slow) - _SLOW_MAX} more on their way"] * (len(slow) > _SLOW_MAX)
        table.caption = "\n".join([*more, *slow[:_SLOW_MAX], *rest])
        table.caption_justify = "left"
    return table


def line_of(board: Board) -> str:
    """The whole run in one line."""
    standings = list(board.standings.values())
    samples = [s.reports[-1].sample for s in standings if s.reports]
    accuracies = [s.accuracy for s in samples if s.accuracy is not None]
    phases = [s.phase for s in standings]
    counts = ", ".join(f"{phases.count(p)} {p}" for p in dict.fromkeys(phases))
    words = [f"{board.now_s:6.1f} s", counts, f"{sum(s.steps for s in samples)} steps"]
    if accuracies:
        mean = sum(accuracies) / len(accuracies)
        words.append(f"accuracy {mean:.3f} (worst {min(accuracies):.3f})")
    worst = max((s.staleness_max for s in samples), default=0.0)
    words.append(f"staleness {worst:.2f}")
    words.append(_size(sum(s.out_bytes + s.in_bytes for s in samples)))
    if slow := board.on_the_way:
        words.append(slow[0] + f" (and {len(slow) - 1} more)" * (len(slow) > 1))
    return "  ".join(words)


def _cells(standing: Standing) -> tuple[str, ...]:
    if not standing.reports:
        return (standing.node, standing.phase, *[""] * 7)
    sample = standing.reports[-1].sample
    return (
        standing.node,
        standing.phase,
        str(sample.version),
        str(sample.steps),
        "" if sample.accuracy is None else f"{sample.accuracy:.3f}",
        f"{sample.staleness_max:.2f}",
        _size(sample.out_bytes),
        _size(sample.in_bytes),
        f"{standing.steps_per_s:.0f}",
    )


def _size(count: float) -> str:
    for unit in ("B", "KiB", "MiB"):
        if count < _KIB:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= _KIB
    return f"{count:.2f} GiB"
