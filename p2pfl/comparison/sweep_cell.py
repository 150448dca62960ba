"""One run of a sweep: a task of plain text in, its numbers and its curve out; no models."""

import json
import time
import tomllib
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from p2pfl.comparison.curves import Measure
from p2pfl.comparison.summary import levels_of, summary_of
from p2pfl.comparison.sweep_grid import GridCell, seedless_digest
from p2pfl.config.load import config_from_mapping
from p2pfl.config.write import config_to_toml
from p2pfl.errors import DataError, P2pflError
from p2pfl.experiment import Experiment
from p2pfl.results.lines import from_object, to_line, to_object
from p2pfl.results.record import NetworkSample, RunResult
from p2pfl.simulation.simulate import simulate

Share = Callable[[float], None]
"""Told how much of a run is done, from 0 to 1."""

_STEP: Final = 0.02
"""Shares are told no finer than this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CellTask:
    """What a worker needs to know of one run; plain text, so that it may travel."""

    key: str
    experiment: str
    """The resolved experiment as TOML."""
    folder: str
    """Where the experiment file lies: the user's own modules are found there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CellResult:
    """What one run of a sweep came to. Qualities are accuracies, or losses without them."""

    label: str
    seed: int
    digest: str
    """Of the experiment without its seed."""
    measure: Measure
    quality_mean: float | None
    quality_worst: float | None
    loss_mean: float
    seconds: float
    wall_s: float
    learners: int
    steps: int
    bytes_node_mean: float
    bytes_busiest: int
    bytes_total: int
    sends_models: bool
    mixes: int
    left_out: int
    staleness_max: float
    staleness_bound: float
    staleness_unit: str
    unfinished: tuple[str, ...]
    trace_hash: str
    curve: tuple[NetworkSample, ...]
    notes: tuple[str, ...] = ()

    def time_to_s(self, target: float) -> float | None:
        """When the mean accuracy first reached the target; None: never."""
        for point in self.curve:
            if point.accuracy_mean is not None and point.accuracy_mean >= target:
                return point.at_s
        return None


def task_of(cell: GridCell) -> CellTask:
    """The cell as plain text."""
    folder = str(cell.experiment.folder.resolve())
    return CellTask(key=cell.key, experiment=config_to_toml(cell.experiment.config), folder=folder)


def run_cell(task: CellTask, share: Share | None = None) -> CellResult:
    """Simulate one cell.

    Raises:
        ConfigError: graph, data and model do not fit together.
        DataError: the data is missing or torn.
    """
    config = config_from_mapping(tomllib.loads(task.experiment), source=task.key)
    experiment = Experiment(config, folder=Path(task.folder))
    told = 0.0

    def tell(sample: NetworkSample) -> None:
        nonlocal told
        done = experiment.share_done(at_s=sample.at_s, steps=sample.steps)
        if share is not None and done >= told + _STEP:
            told = done
            share(done)

    began_s = time.perf_counter()
    result = simulate(experiment, progress=tell)
    return cell_result(result, wall_s=time.perf_counter() - began_s)


def cell_result(result: RunResult, *, wall_s: float) -> CellResult:
    """The run's numbers and curve, as a sweep keeps them."""
    levels = levels_of([result])
    summary = summary_of(result, levels)
    return CellResult(
        label=result.label,
        seed=result.seed,
        digest=seedless_digest(result.config),
        measure=levels.measure,
        quality_mean=summary.quality_mean,
        quality_worst=summary.quality_worst,
        loss_mean=result.final.loss_mean,
        seconds=result.duration_s,
        wall_s=wall_s,
        learners=summary.learners,
        steps=summary.steps,
        bytes_node_mean=summary.bytes_node_mean,
        bytes_busiest=summary.bytes_busiest,
        bytes_total=summary.bytes_total,
        sends_models=summary.sends_models,
        mixes=summary.mixes,
        left_out=summary.left_out,
        staleness_max=summary.staleness_max,
        staleness_bound=summary.staleness_bound,
        staleness_unit=summary.staleness_unit,
        unfinished=summary.unfinished,
        trace_hash=result.trace_hash,
        curve=result.curve,
        notes=result.notes,
    )


# ------------------------------------------------------------ as text


def answer_task(text: str, share: Share | None = None) -> str:
    """The worker's whole work: a task as one line of JSON in, its answer as one line out.

    The answer is `{"result": ...}`, or `{"failure": sentence, "details": traceback}`: whatever
    goes wrong in one run is told, and the worker lives on.
    """
    task = from_object(CellTask, json.loads(text), where="task")
    try:
        return to_line({"result": result_to_object(run_cell(task, share))})
    except P2pflError as error:
        return to_line({"failure": " ".join(str(error).split()), "details": ""})
    except Exception as error:  # noqa: BLE001 - also what the user's own model raises
        sentence = " ".join(f"{type(error).__name__}: {error}".split())
        return to_line({"failure": sentence, "details": traceback.format_exc()})


def task_to_line(task: CellTask) -> str:
    """The task as one line of JSON."""
    return to_line(to_object(task))


def result_to_object(result: CellResult) -> dict[str, object]:
    """The result as a JSON object."""
    curve = [to_object(point) for point in result.curve]
    return {**to_object(result, leave_out=("curve",)), "curve": curve}


def result_from_object(found: object, *, where: str) -> CellResult:
    """The result that `result_to_object` wrote.

    Raises:
        DataError: it is none; `where`, and what is wrong there.
    """
    if not isinstance(found, Mapping) or not isinstance(found.get("curve"), list):
        raise DataError(f"{where}: is no result of a sweep's run")
    points = [
        from_object(NetworkSample, point, where=f"{where}: curve[{place}]")
        for place, point in enumerate(found["curve"])
    ]
    if not points:
        raise DataError(f"{where}: its curve is empty")
    flat = from_object(CellResult, {**found, "curve": []}, where=where)
    return replace(flat, curve=tuple(points))
