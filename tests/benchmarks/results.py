"""What benchmarks found: printed as it comes, kept in build/benchmarks, and put into documents.

    python tests/benchmarks/results.py docs/benchmarks.md     puts the kept tables into a page

`build/benchmarks/results.json` holds the raw numbers of the newest run of each benchmark, and
`results.md` the same as tables. A page takes those tables that it has a place for, between
`<!-- table: NAME -->` and `<!-- end -->`.
"""

import json
import os
import platform
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
BUILD: Final = ROOT / "build" / "benchmarks"
"""Ignored by git; `make clean` removes it."""

Value = float | int | str | None


@dataclass(frozen=True, slots=True)
class Column:
    """A name for machines, a title for people, and how a number is written."""

    key: str
    title: str
    form: str = ",.0f"

    def shown(self, value: Value) -> str:
        """The value as text; a dash where there is none."""
        if value is None:
            return "-"
        return value if isinstance(value, str) else format(value, self.form)


@dataclass(slots=True)
class Table:
    """One table of one benchmark. The first column names the row."""

    name: str
    columns: Sequence[Column]
    rows: list[Mapping[str, Value]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def open(self) -> None:
        """Print the head."""
        print(f"\n{self._line([column.title for column in self.columns])}", flush=True)

    def add(self, row: Mapping[str, Value]) -> None:
        """Keep a row, and print it."""
        self.rows.append(row)
        print(self._line([c.shown(row.get(c.key)) for c in self.columns]), flush=True)

    def note(self, sentence: str) -> None:
        """Keep what a reader must know beside the numbers, and print it."""
        self.notes.append(sentence)
        print(sentence, flush=True)

    def _line(self, words: Sequence[str]) -> str:
        first, *rest = words
        widths = [max(9, len(column.title) + 2) for column in self.columns[1:]]
        return f"{first:44}" + "".join(f"{w:>{n}}" for w, n in zip(rest, widths, strict=True))


def keep(table: Table, *, conditions: Mapping[str, Value], folder: Path = BUILD) -> None:
    """Write the table among the kept ones, in place of its last run."""
    folder.mkdir(parents=True, exist_ok=True)
    kept = kept_tables(folder)
    kept[table.name] = {**asdict(table), "conditions": dict(conditions)}
    (folder / "results.json").write_text(f"{json.dumps(kept, indent=1)}\n", encoding="utf-8")
    kept = kept_tables(folder)
    text = "\n".join(f"## {name}\n\n{markdown(found)}" for name, found in sorted(kept.items()))
    (folder / "results.md").write_text(text, encoding="utf-8")


def kept_tables(folder: Path = BUILD) -> dict[str, dict[str, object]]:
    """The kept tables by name."""
    file = folder / "results.json"
    found: dict[str, dict[str, object]] = json.loads(file.read_text()) if file.exists() else {}
    return found


def markdown(found: Mapping[str, object]) -> str:
    """A kept table as Markdown, with its notes and conditions below."""
    columns = [
        Column(str(each["key"]), str(each["title"]), str(each["form"]))
        for each in _list(found["columns"])
    ]
    head = "| " + " | ".join(column.title for column in columns) + " |"
    rule = "|---" + "|---:" * (len(columns) - 1) + "|"
    rows = [
        "| " + " | ".join(column.shown(row.get(column.key)) for column in columns) + " |"
        for row in _list(found["rows"])
    ]
    conditions = found["conditions"]
    assert isinstance(conditions, dict)
    told = ", ".join(f"{key} {value}" for key, value in conditions.items())
    notes = [str(note) for note in found["notes"]] if isinstance(found["notes"], list) else []
    return "\n".join([head, rule, *rows, "", *notes, f"Measured with {told}.", ""])


def conditions() -> dict[str, Value]:
    """On what this was measured."""
    versions: dict[str, Value] = {
        name: metadata.version(name) for name in ("numpy", "torch") if _is_installed(name)
    }
    return {
        "Python": platform.python_version(),
        **versions,
        "on": f"{os.cpu_count()} cores ({_processor()})",
        "load at the start": f"{os.getloadavg()[0]:.1f}",
    }


def fill_in(page: Path, folder: Path = BUILD) -> list[str]:
    """Put the kept tables into the page's places; the names of those that were."""
    text, filled = page.read_text(encoding="utf-8"), []
    for name, found in kept_tables(folder).items():
        place = re.compile(rf"(<!-- table: {re.escape(name)} -->\n).*?(<!-- end -->)", re.DOTALL)
        table = markdown(found)
        text, count = place.subn(lambda hit, table=table: f"{hit[1]}\n{table}\n{hit[2]}", text)  # type: ignore[misc] # the default binds the loop's variable
        filled += [name] * (count > 0)
    page.write_text(text, encoding="utf-8")
    return filled


def _list(found: object) -> list[dict[str, Value]]:
    assert isinstance(found, list)
    return found


def _is_installed(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def _processor() -> str:
    """The processor's own name, where the system tells it."""
    file = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*: (.*)", file.read_text()) if file.exists() else None
    return found[1].strip() if found else platform.machine()


if __name__ == "__main__":
    for each in sys.argv[1:]:
        print(f"{each}: {', '.join(fill_in(Path(each))) or 'has no place for any table'}")
