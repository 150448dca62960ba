"""What a command tells while it runs: plain lines, or with --log-format json one object per line.

An object has `time` (UTC), `level`, `event`, `node` (where one speaks or is spoken of) and the
event's own fields. It goes to standard output, and nothing else does; what loggers and warnings of
libraries say becomes an object too.
"""

import argparse
import json
import logging
import math
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from threading import Lock
from typing import Final

FORMATS: Final = ("text", "json")
RESERVED: Final = frozenset({"time", "level", "event", "node"})

# A variable of the context: several commands may run side by side in one process.
_json: ContextVar[bool] = ContextVar("p2pfl_json", default=False)


def add_log_format_argument(parser: argparse.ArgumentParser) -> None:
    """Adds --log-format."""
    parser.add_argument(
        "--log-format",
        choices=FORMATS,
        default=FORMATS[0],
        help="what is told while it runs: text, or one JSON object per line",
    )


@contextmanager
def spoken_as(log_format: str) -> Iterator[None]:
    """Tell everything in this format from here to the end."""
    if log_format != "json":
        with _progress_shown():
            yield
        return
    token = _json.set(True)
    handler = _Handler()
    root = logging.getLogger()
    before = root.level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    logging.captureWarnings(capture=True)
    try:
        yield
    finally:
        logging.captureWarnings(capture=False)
        root.removeHandler(handler)
        root.setLevel(before)
        _json.reset(token)


class _Lines(logging.Handler):
    """What is logged, as plain lines."""

    def emit(self, record: logging.LogRecord) -> None:
        say("progress", record.getMessage())


class _ProgressShown:
    """Of all that is logged as information, only how far slow transfers are is shown as text.

    The logger is everybody's: where several commands run side by side, the first to come opens it
    and the last to leave puts it back.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._commands = 0
        self._handler = _Lines()

    @contextmanager
    def __call__(self) -> Iterator[None]:
        logger = logging.getLogger("p2pfl.progress")
        with self._lock:
            self._commands += 1
            logger.addHandler(self._handler)
            logger.setLevel(logging.INFO)
            logger.propagate = False
        try:
            yield
        finally:
            with self._lock:
                self._commands -= 1
                if not self._commands:
                    logger.removeHandler(self._handler)
                    logger.setLevel(logging.NOTSET)
                    logger.propagate = True


_progress_shown: Final = _ProgressShown()


def speaks_json() -> bool:
    """Whether lines are objects now."""
    return _json.get()


def say(
    event: str,
    text: str,
    *,
    level: str = "info",
    node: str = "",
    stream: str = "stdout",
    **fields: object,
) -> None:
    """Tell something: `text`, or as an object the event with its fields. Empty texts are not told.

    `stream` is where the text goes; objects go to standard output.
    """
    tell(event, text, fields, level=level, node=node, stream=stream)


def tell(
    event: str,
    text: str,
    fields: Mapping[str, object],
    *,
    level: str = "info",
    node: str = "",
    stream: str = "stdout",
) -> None:
    """The same, where the fields are at hand as a mapping."""
    if not speaks_json():
        if text:
            to = sys.stderr if stream == "stderr" else sys.stdout
            to.write(f"{text}\n")
            to.flush()
        return
    assert not RESERVED & fields.keys(), fields
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    line: dict[str, object] = {"time": now, "level": level, "event": event}
    if node:
        line["node"] = node
    sys.stdout.write(json.dumps({**line, **fields}, default=str) + "\n")
    sys.stdout.flush()


def finite(number: float | None) -> float | None:
    """The number, or null: JSON knows neither infinity nor nan."""
    return None if number is None or not math.isfinite(number) else number


class _Handler(logging.Handler):
    """What loggers say, as an object."""

    def emit(self, record: logging.LogRecord) -> None:
        fields: dict[str, object] = {"logger": record.name, "message": record.getMessage()}
        if record.exc_info:
            fields["traceback"] = logging.Formatter().formatException(record.exc_info)
        # The context may be that of a thread of a library's own.
        token = _json.set(True)
        try:
            tell("log", "", fields, level=record.levelname.lower())
        finally:
            _json.reset(token)
