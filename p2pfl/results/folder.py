"""A run's folder: what every run leaves behind, and a run read back from it.

experiment.toml    the resolved experiment: run it again from here
metrics.jsonl      the record: one line per node and per network at each evaluation time
summary.json       totals, what was reached, the largest staleness and its bound, versions
models/            each node's served model, as safetensors
checkpoints/       what each node keeps of itself, if the experiment says so

`summary.json` is written last: a folder without it is a run that never ended.
"""

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from importlib import metadata
from itertools import count
from pathlib import Path
from typing import Final, Literal

import numpy as np

from p2pfl.config.load import load_config
from p2pfl.config.schema import ExperimentConfig
from p2pfl.config.write import config_to_toml
from p2pfl.errors import ConfigError, DataError
from p2pfl.results.lines import from_object, to_line, to_object
from p2pfl.results.record import NetworkSample, NodeSample, NodeTotals, RunResult
from p2pfl.types import NodeId, Vector

FORMAT: Final = 1
"""Raised when an older reader would misread the folder."""

EXPERIMENT: Final = "experiment.toml"
METRICS: Final = "metrics.jsonl"
SUMMARY: Final = "summary.json"
MODELS: Final = "models"
CHECKPOINTS: Final = "checkpoints"
"""The part of a run's folder in which real nodes keep what they are."""
REPORT: Final = "report.html"

Layout = Sequence[tuple[str, tuple[int, ...]]]
"""Names and shapes of the parts of a model's vector, in order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Head:
    """The plain part of a summary."""

    format: int
    name: str
    label: str
    driver: Literal["simulation", "runtime"]
    seed: int
    dimension: int
    duration_s: float
    wall_s: float
    staleness_max: float
    staleness_bound: float
    staleness_unit: str
    metrics_lines: int
    models: int
    edges: tuple[tuple[NodeId, NodeId], ...]
    trace_hash: str
    notes: tuple[str, ...]
    versions: Mapping[str, str]


def new_run_folder(root: str | Path, name: str) -> Path:
    """A new empty folder `root/<name>-<date>-<time>`; never one that is there already.

    Raises:
        ConfigError: it cannot be made.
    """
    stem = f"{name}-{datetime.now().astimezone():%Y%m%d-%H%M%S}"
    for number in count(1):
        folder = Path(root) / (stem if number == 1 else f"{stem}-{number}")
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            if folder.exists():
                continue
            raise ConfigError(f"{root}: is no folder; choose another --out") from None
        except OSError as error:
            raise ConfigError(f"{folder}: cannot make this folder: {error.strerror}") from error
        else:
            return folder
    raise AssertionError("count() does not end")


def write_experiment(config: ExperimentConfig, folder: Path) -> None:
    """Write the resolved experiment into `folder`: all that a run broken off can be told from."""
    _write(folder / EXPERIMENT, config_to_toml(config).encode())


def write_run(result: RunResult, folder: str | Path, *, layout: Layout = ()) -> None:
    """Write the run into `folder`, each file whole or not at all, the summary last.

    `layout` goes into the models' metadata, so that others can cut the vectors into tensors.
    """
    folder = Path(folder)
    with suppress(FileNotFoundError):
        (folder / SUMMARY).unlink()
    write_experiment(result.config, folder)
    lines = [to_line(each) for each in _metrics(result)]
    _write(folder / METRICS, "".join(f"{line}\n" for line in lines).encode())
    for node, vector in result.served.items():
        _write(folder / MODELS / f"{node}.safetensors", _model_bytes(result, node, vector, layout))
    head = _Head(
        format=FORMAT,
        name=result.name,
        label=result.label,
        driver=result.driver,
        seed=result.seed,
        dimension=result.dimension,
        duration_s=result.duration_s,
        wall_s=result.wall_s,
        staleness_max=result.staleness_max,
        staleness_bound=result.staleness_bound,
        staleness_unit=result.staleness_unit,
        metrics_lines=len(lines),
        models=len(result.served),
        edges=result.edges,
        trace_hash=result.trace_hash,
        notes=result.notes,
        versions=_versions(),
    )
    summary = to_object(head) | {
        "final": to_object(result.final),
        "nodes": [to_object(each) for each in result.nodes],
    }
    text = json.dumps(summary, indent=1, ensure_ascii=False, allow_nan=False)
    _write(folder / SUMMARY, f"{text}\n".encode())


def read_run(folder: str | Path, *, models: bool = True) -> RunResult:
    """The run in a folder, as it was written; the nodes' own x (`public`) are not kept.

    Without `models` these stay on disk: pictures and tables need none.

    Raises:
        DataError: the folder is no run, or one that never ended or was damaged.
    """
    folder = Path(folder)
    head, totals = _read_summary(folder)
    try:
        config = load_config(folder / EXPERIMENT)
    except ConfigError as error:
        raise DataError(f"{folder}: its experiment cannot be read: {error}") from error
    curve, samples = _read_metrics(folder / METRICS, head.metrics_lines)
    return RunResult(
        name=head.name,
        label=head.label,
        driver=head.driver,
        seed=head.seed,
        config=config,
        dimension=head.dimension,
        duration_s=head.duration_s,
        wall_s=head.wall_s,
        staleness_bound=head.staleness_bound,
        staleness_unit=head.staleness_unit,
        curve=curve,
        samples=samples,
        nodes=totals,
        edges=head.edges,
        served=_read_models(folder / MODELS, head) if models else {},
        trace_hash=head.trace_hash,
        notes=head.notes,
    )


# ------------------------------------------------------------ writing


def _write(file: Path, content: bytes) -> None:
    """Whole or not at all: readers never see half a file."""
    unfinished = file.with_name(f".{file.name}.{os.getpid()}.unfinished")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        unfinished.write_bytes(content)
        unfinished.replace(file)
    except OSError as error:
        unfinished.unlink(missing_ok=True)
        raise ConfigError(f"{file}: cannot be written: {error.strerror}") from error


def _metrics(result: RunResult) -> Iterator[dict[str, object]]:
    for sample in result.samples:
        yield {"kind": "node", **to_object(sample)}
    for point in result.curve:
        yield {"kind": "network", **to_object(point)}


def _model_bytes(result: RunResult, node: NodeId, vector: Vector, layout: Layout) -> bytes:
    from safetensors.numpy import save

    about = {
        "run": result.name,
        "node": node,
        "algorithm": result.label,
        "content": "the served model, all parameters in one vector",
        "model": result.config.model.kind,
        "layout": json.dumps([[name, list(shape)] for name, shape in layout]),
    }
    content: bytes = save({"model": np.ascontiguousarray(vector)}, metadata=about)
    return content


def _versions() -> dict[str, str]:
    found = {}
    for name in ("p2pfl-gossip", "numpy", "torch"):
        with suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


# ------------------------------------------------------------ reading


def _read_summary(folder: Path) -> tuple[_Head, tuple[NodeTotals, ...]]:
    file = folder / SUMMARY
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError) as error:
        started = "a run that has not ended" if (folder / EXPERIMENT).exists() else "no run"
        raise DataError(
            f"{folder}: is {started} (it has no {SUMMARY}); give a folder such as"
            " runs/digits-20260101-120000"
        ) from error
    except (OSError, ValueError) as error:
        raise DataError(f"{file}: cannot be read: {error}") from error
    if not isinstance(found, dict):
        raise DataError(f"{file}: is not a JSON object")
    if found.get("format") != FORMAT:
        raise DataError(f"{file}: has format {found.get('format')!r}; this version reads {FORMAT}")
    nodes, _ = found.pop("nodes", None), found.pop("final", None)
    head = from_object(_Head, found, where=str(file))
    if not isinstance(nodes, list):
        raise DataError(f"{file}: nodes is missing")
    return head, tuple(
        from_object(NodeTotals, each, where=f"{file}: nodes[{i}]") for i, each in enumerate(nodes)
    )


def _read_metrics(
    file: Path, expected: int
) -> tuple[tuple[NetworkSample, ...], tuple[NodeSample, ...]]:
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{file}: cannot be read: {error}") from error
    if len(lines) != expected:
        raise DataError(f"{file}: is torn: it has {len(lines)} lines of {expected}")
    curve: list[NetworkSample] = []
    samples: list[NodeSample] = []
    for number, line in enumerate(lines, start=1):
        where = f"{file}: line {number}"
        try:
            found = json.loads(line)
        except ValueError as error:
            raise DataError(f"{where}: is no JSON: {error}") from error
        kind = found.pop("kind", None) if isinstance(found, dict) else None
        if kind == "node":
            samples.append(from_object(NodeSample, found, where=where))
        elif kind == "network":
            curve.append(from_object(NetworkSample, found, where=where))
        else:
            raise DataError(f"{where}: kind is {kind!r}; allowed: node, network")
    if not curve:
        raise DataError(f"{file}: holds no evaluation of the network")
    return tuple(curve), tuple(samples)


def _read_models(folder: Path, head: _Head) -> dict[NodeId, Vector]:
    files = sorted(folder.glob("*.safetensors"))
    if len(files) != head.models:
        raise DataError(f"{folder}: holds {len(files)} models of {head.models}")
    return {NodeId(file.stem): _read_model(file, head.dimension) for file in files}


def _read_model(file: Path, dimension: int) -> Vector:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    load: Callable[[Path], dict[str, Vector]] = load_file
    try:
        vector = load(file)["model"]
    except (OSError, SafetensorError, KeyError) as error:
        raise DataError(f"{file}: is torn or no model of a run: {error}") from error
    if vector.dtype != np.float32 or vector.shape != (dimension,):
        raise DataError(f"{file}: is {vector.dtype}{list(vector.shape)}, not float32[{dimension}]")
    return vector
