"""`report.html`: one file with everything in it, of one run or of many side by side."""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path
from typing import Final

from p2pfl.comparison.table import Column, ComparisonTable, table_of
from p2pfl.comparison.titles import group_runs
from p2pfl.comparison.units import bytes_text, count_text, number_text, percent_text
from p2pfl.config.schema import ExperimentConfig
from p2pfl.config.write import config_to_toml
from p2pfl.errors import ConfigError
from p2pfl.report.pictures import Scene, figure_html, pictures
from p2pfl.report.series import last_samples
from p2pfl.report.style import CSS
from p2pfl.results.record import NodeTotals, RunResult

_MAX_NODE_ROWS: Final = 200

_FOOT: Final = (
    "Written by p2pfl. Bytes are frames and part headers at the nodes; MQTT and TCP add some per"
    " message."
)

_DRIVERS: Final = {"simulation": "simulated", "runtime": "run for real"}


def write_report(
    results: Sequence[RunResult], file: str | Path, *, title: str | None = None
) -> Path:
    """Write the page of these runs, whole or not at all, and return its path.

    It needs no network: pictures, fonts and rules are its own or the reader's system's.

    Raises:
        ConfigError: the file cannot be written.
        DataError: there is no run, or one that was never evaluated.
    """
    file = Path(file)
    content = report_html(results, title=title)
    unfinished = file.with_name(f".{file.name}.{os.getpid()}.unfinished")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        unfinished.write_text(content, encoding="utf-8")
        unfinished.replace(file)
    except OSError as error:
        raise ConfigError(f"{file}: cannot write the report: {error.strerror}") from error
    return file


def report_html(results: Sequence[RunResult], *, title: str | None = None) -> str:
    """The page as text.

    Raises:
        DataError: there is no run, or one that was never evaluated.
    """
    table = table_of(results)
    scene = Scene(groups=group_runs(results), table=table)
    heading = escape(title if title is not None else _heading(scene))
    body = [
        f"<h1>{heading}</h1>",
        f'<p class="lead">{escape(_lead(scene))}</p>',
        _tiles(scene.alone) if scene.alone is not None else _tables(table),
        '<h2>Pictures</h2><div class="charts">',
        *map(figure_html, pictures(scene)),
        "</div>",
        _notes(scene),
        "<h2>Details</h2>",
        *_details(scene),
        f"<footer>{_FOOT}</footer>",
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{heading}</title><style>{CSS}</style></head>\n<body><main>\n"
        + "\n".join(part for part in body if part)
        + "\n</main></body></html>\n"
    )


def _heading(scene: Scene) -> str:
    names = dict.fromkeys(run.name for group in scene.groups for run in group.runs)
    name = ", ".join(names)
    if len(scene.groups) == 1:
        return f"{name}: {scene.groups[0].title}"
    return f"{name}: {len(scene.groups)} side by side"


def _lead(scene: Scene) -> str:
    """What was run, in one line."""
    runs = [run for group in scene.groups for run in group.runs]
    first, config = runs[0], runs[0].config
    seeds = sorted({run.seed for run in runs})
    drivers = " and ".join(dict.fromkeys(_DRIVERS[run.driver] for run in runs))
    parts = [
        f"{max(len(run.learners) for run in runs):,} nodes on {_graph_words(config)}",
        f"{config.data.kind}, dealt {_partition_words(config)}",
        f"{config.model.kind} with {first.dimension:,} parameters",
        f"seed {seeds[0]}" if len(seeds) == 1 else f"{len(seeds)} seeds",
        f"{drivers}, {number_text(max(run.duration_s for run in runs))} {scene.unit}",
    ]
    return " · ".join(parts)


def _graph_words(config: ExperimentConfig) -> str:
    kind = config.topology.kind.replace("_", " ")
    return {"file": "a graph from a file", "edges": "a given graph"}.get(
        kind, f"{'an' if kind[0] in 'aeiou' else 'a'} {kind} graph"
    )


def _partition_words(config: ExperimentConfig) -> str:
    partition = config.partition
    if partition.kind == "dirichlet":
        return f"unevenly (Dirichlet, alpha {partition.alpha:g})"
    return {"iid": "evenly", "natural_id": "by their own groups"}.get(
        partition.kind, f"by {partition.kind}"
    )


def _tiles(run: RunResult) -> str:
    final = run.final
    tiles: list[tuple[str, str]] = []
    if final.accuracy_mean is not None and final.accuracy_worst is not None:
        tiles += [
            (f"{percent_text(final.accuracy_mean)} %", "accuracy, mean over nodes"),
            (f"{percent_text(final.accuracy_worst)} %", "accuracy of the worst node"),
        ]
    else:
        tiles.append((number_text(final.loss_mean), "loss, mean over nodes"))
    if any(node.mixes for node in run.nodes):
        bounded = run.staleness_bound != float("inf")
        of = f" of {number_text(run.staleness_bound)}" if bounded else ""
        tiles.append(
            (
                f"{number_text(run.staleness_max)}{of}",
                f"largest staleness ever mixed, {run.staleness_unit}"
                + ("" if bounded else " (no bound)"),
            )
        )
    if run.edges:
        mean = sum(n.out_bytes + n.in_bytes for n in run.nodes) / len(run.learners)
        tiles.append((bytes_text(mean), "in and out per node"))
    steps = sum(node.steps for node in run.nodes)
    wall = f" in {number_text(run.wall_s)} s" if run.wall_s and run.driver == "simulation" else ""
    tiles.append((count_text(steps), f"gradient steps{wall}"))
    cells = "".join(
        f'<div class="card tile"><b>{escape(value)}</b><span>{escape(what)}</span></div>'
        for value, what in tiles
    )
    return f'<div class="tiles">{cells}</div>'


def _tables(table: ComparisonTable) -> str:
    notes = "".join(f'<p class="note">{escape(caption)}</p>' for caption in table.captions)
    return (
        f"<h2>What was reached</h2>{_table(table, table.quality)}"
        f"<h2>What it cost</h2>{_table(table, table.cost)}{notes}"
    )


def _table(table: ComparisonTable, columns: Sequence[Column]) -> str:
    best = {column.key: table.best(column) for column in columns}
    rows = [
        [
            (row.title, False),
            *((row.cells[c.key].text, row.title in best[c.key]) for c in columns),
        ]
        for row in table.rows
    ]
    return _html_table(["", *("\n".join(column.heading) for column in columns)], rows)


def _html_table(headings: Sequence[str], rows: Sequence[Sequence[tuple[str, bool]]]) -> str:
    """Cells are a text and whether it is the best of its column."""
    head = "".join(f"<th>{escape(text).replace(chr(10), '<br>')}</th>" for text in headings)
    body = "".join(
        "<tr>"
        + "".join(f"<td{' class=best' * best}>{escape(text)}</td>" for text, best in row)
        + "</tr>"
        for row in rows
    )
    return (
        f'<div class="card scroll"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _notes(scene: Scene) -> str:
    lines = []
    for group in scene.groups:
        for run in group.runs:
            prefix = "" if scene.alone is not None else f"{group.title}, seed {run.seed}: "
            lines += [f"{prefix}{note}" for note in (*run.notes, *_befell(run))]
    if not lines:
        return ""
    items = "".join(f"<li>{escape(line)}</li>" for line in dict.fromkeys(lines))
    return f"<h2>Notes</h2><ul>{items}</ul>"


def _befell(run: RunResult) -> Iterator[str]:
    """What went otherwise than planned, in sentences."""
    fates = [f"{n.node} {n.outcome}" for n in run.nodes if n.outcome != "finished"]
    if fates:
        more = f" and {len(fates) - 5} more" if len(fates) > 5 else ""  # noqa: PLR2004 - a sentence's worth
        yield f"Not all nodes finished: {', '.join(fates[:5])}{more}."
    left_out = sum(node.left_out for node in run.nodes)
    if left_out:
        yield (
            f"{left_out:,} times a held model was left out of a mix: too old, or its sender gone."
        )
    refused: Counter[str] = Counter()
    for node in run.nodes:
        for key, count in node.refused.items():
            refused[key.rpartition(": ")[2]] += count
    if refused:
        reasons = ", ".join(f"{reason} {count:,}" for reason, count in refused.most_common(4))
        yield f"{refused.total():,} messages were refused and dropped ({reasons})."


def _details(scene: Scene) -> Iterator[str]:
    for group in scene.groups:
        run = group.runs[0]
        name = "Every node" if scene.alone is not None else f"Every node: {group.title}"
        if len(run.nodes) > _MAX_NODE_ROWS:
            name += f" (the first {_MAX_NODE_ROWS} of {len(run.nodes):,})"
        yield f"<details><summary>{escape(name)}</summary>{_node_table(run)}</details>"
    for group in scene.groups:
        run = group.runs[0]
        name = "The experiment" if scene.alone is not None else f"The experiment: {group.title}"
        hashed = f"\n# trace {run.trace_hash}" if run.trace_hash else ""
        yield (
            f"<details><summary>{escape(name)}</summary>"
            f"<pre>{escape(config_to_toml(run.config) + hashed)}</pre></details>"
        )


def _node_table(run: RunResult) -> str:
    last = last_samples(run)
    headings = ["node", "accuracy %", "loss", "steps", "updates", "largest\nstaleness", "left out",
                "sent", "received", "outcome"]  # fmt: skip

    def cells(node: NodeTotals) -> list[str]:
        sample = last.get(node.node) if node.role == "node" else None
        accuracy = None if sample is None else sample.accuracy
        return [
            node.node,
            "-" if accuracy is None else percent_text(accuracy),
            "-" if sample is None else number_text(sample.loss),
            count_text(node.steps),
            count_text(node.versions),
            number_text(node.staleness_max) if node.mixes else "-",
            count_text(node.left_out),
            bytes_text(node.out_bytes),
            bytes_text(node.in_bytes),
            node.outcome,
        ]

    rows = [[(text, False) for text in cells(node)] for node in run.nodes[:_MAX_NODE_ROWS]]
    return _html_table(headings, rows)
