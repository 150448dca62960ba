"""R4: a quarter of the nodes dies early, far from where the others want to go.

A dead neighbour's last model acts as one more objective that anchors everyone, unless the bound on
staleness leaves it out, hard. Errors are those of the survivors, against the survivors' optimum.
"""

from collections.abc import Iterator
from typing import Any, Final, Literal

import numpy as np

from p2pfl.algorithms.suite import LABELS
from p2pfl.config.schema import StopConfig
from p2pfl.experiment import Experiment
from p2pfl.reproduction.quadratics import quadratics, task_of
from p2pfl.reproduction.target import Chart, Line, Reproduction, Row, Tell
from p2pfl.results.record import NetworkSample, RunResult
from p2pfl.simulation.simulate import Simulation, simulate
from p2pfl.simulation.trace import Trace
from p2pfl.theory.fixed_points import (
    fixed_point,
    ghost_fixed_point,
    survivors_error,
    survivors_mixing,
)

RATE: Final = 0.05
CRASH_S: Final = 40.0
NO_BIAS: Final = 1e-3

_UNBIASED: Final = {
    "TrackMix": {"algorithm": {"kind": "track_mix"}},
    "gradient tracking": {"algorithm": {"kind": "gradient_tracking"}},
}


def reproduce(*, quick: bool, tell: Tell) -> Reproduction:
    """Errors of the survivors without a bound, with one, and of trackers that forget the dead."""
    nodes, time_s = (8, 400.0) if quick else (16, 800.0)
    rows, lines = [], []
    found: dict[str, float] = {}
    for title, tables in {**_MIXING, **_UNBIASED}.items():
        if tables.get("algorithm", {}).get("kind", "pull_mix") not in LABELS:
            continue
        tell(title)
        experiment = _crashing(nodes, time_s, tables)
        result, line = _followed(title, experiment)
        found[title] = error = line.y[-1]
        lines.append(line)
        if title in _UNBIASED:
            rows.append(Row(what=f"error: {title}", expected=NO_BIAS, measured=error,
                            must="at most", source="no bias"))  # fmt: skip
        elif title != _DISCOUNT:
            expected, source = _expected(experiment)
            rows.append(Row(what=f"error: {title}", expected=expected, measured=error,
                            source=source))  # fmt: skip
        if title == _BOUNDED:
            rows.append(Row(what="largest staleness ever mixed, periods missed", expected=3.0,
                            measured=result.staleness_max, must="at most",
                            source="the bound"))  # fmt: skip
    bounded = found[_BOUNDED]
    rows += [
        Row(what=f"error: {_UNBOUNDED}, of that with the bound", expected=5.0,
            measured=found[_UNBOUNDED] / bounded, must="at least", source="ghosts anchor"),
        Row(what=f"error: {_DISCOUNT}, of that with the bound", expected=2.0,
            measured=found[_DISCOUNT] / bounded, must="at most",
            source="the dead are left out under it too"),
    ]  # fmt: skip
    rows += _push_sum_rows(nodes, time_s, tell)
    return Reproduction(rows=tuple(rows), charts=(_chart(lines),))


_BOUNDED: Final = "PullMix, left out after 3 periods missed"
_UNBOUNDED: Final = "PullMix, no bound"
_DISCOUNT: Final = "PullMix, discount by periods missed"
_MIXING: Final[dict[str, dict[str, Any]]] = {
    _BOUNDED: {},
    _UNBOUNDED: {"staleness": {"policy": "none"}},
    _DISCOUNT: {"staleness": {"policy": "discount", "metric": "missed"}},
}


_UNNOTICED: Final = {"suspect_grace_s": 1e6, "liveness_floor_s": 1e6}
_Must = Literal["at most", "at least"]
_PUSH_SUM: Final[tuple[tuple[str, dict[str, object], _Must, float], ...]] = (
    ("push-sum", {}, "at most", 0.1),
    ("push-sum without window and bound", {"window": 0, "step_max": 1e9}, "at least", 1e3),
)
"""What it is, what it changes in the file, and what its error must be."""


def _push_sum_rows(nodes: int, time_s: float, tell: Tell) -> Iterator[Row]:
    """Nobody notices a death here: who pushes to the dead for ever gives all his mass away."""
    for title, chosen, must, limit in _PUSH_SUM:
        tell(title)
        tables: dict[str, dict[str, Any]] = {
            "algorithm": {"kind": "push_sum", "step": "x", **chosen},
            "staleness": _UNNOTICED,
        }
        experiment = _crashing(nodes, time_s, tables)
        error = _error(experiment, simulate(experiment))
        source = "one push per link is lost" if must == "at most" else "mass ends at the dead"
        yield Row(what=f"error: {title}, deaths unnoticed", expected=limit, measured=error,
                  must=must, source=source)  # fmt: skip


def _crashing(nodes: int, time_s: float, tables: dict[str, dict[str, Any]]) -> Experiment:
    dead = _dead(nodes)
    return quadratics(
        nodes=nodes, slow=0, time_s=time_s,
        topology={"kind": "circulant", "offsets": [1, 2]},
        data={"sites": [4.0, 0.0, 0.0, 0.0]},
        faults={"crash": [{"node": f"n{i}", "at_s": CRASH_S} for i in dead]},
        evaluation={"every_s": 10.0},
        **tables,
    )  # fmt: skip


def _dead(nodes: int) -> list[int]:
    return list(range(0, nodes, 4))


def _error(experiment: Experiment, result: RunResult) -> float:
    task = task_of(experiment)
    x = np.stack([result.public[n] for n in experiment.learners if n in result.public])
    return survivors_error(x, task.curvature, task.optima, dead=_dead(len(experiment.learners)))


def _expected(experiment: Experiment) -> tuple[float, str]:
    """The fixed point among the survivors, with the dead's last models in it or without."""
    task, mixing = task_of(experiment), experiment.topology.matrix()
    dead = _dead(len(experiment.learners))
    if experiment.config.staleness.policy == "none":
        just_before = simulate(experiment.replace(stop=StopConfig(time_s=CRASH_S - 0.01)))
        frozen = np.stack([just_before.public[experiment.learners[i]] for i in dead])
        x = ghost_fixed_point(
            mixing, task.curvature, task.optima, learning_rate=RATE, dead=dead, frozen=frozen
        )
        source = "fixed point with ghosts"
    else:
        alive = [i for i in range(len(mixing)) if i not in dead]
        kept = survivors_mixing(mixing, dead=dead)
        x = fixed_point(kept, task.curvature[alive], task.optima[alive], learning_rate=RATE)
        source = "fixed point of the survivors"
    return survivors_error(x, task.curvature, task.optima, dead=dead), source


def _followed(title: str, experiment: Experiment) -> tuple[RunResult, Line]:
    """The run, and the error of those who will survive, at each evaluation."""
    task, trainer = task_of(experiment), experiment.make_trainer()
    nodes = experiment.learners
    dead = _dead(len(nodes))
    survive = [node for i, node in enumerate(nodes) if i not in dead]
    points: list[tuple[float, float]] = []

    def tell(point: NetworkSample) -> None:
        x = np.stack([simulation.world.inhabitants[node].node.public() for node in survive])
        error = survivors_error(x, task.curvature, task.optima, dead=dead)
        points.append((point.at_s, error))

    simulation = Simulation(experiment, trainer, Trace(), tell)
    result = simulation.run()
    at_s, errors = zip(*points, strict=True)
    return result, Line(title, at_s, errors)


def _chart(lines: list[Line]) -> Chart:
    return Chart(
        title="A quarter dies",
        lines=tuple(lines),
        x_label="virtual seconds",
        y_label="error of the survivors",
        caption=f"Distance of those who survive to their optimum. At {CRASH_S:g} s a quarter dies, "
        "which was around another one. Who leaves the dead out finds the survivors' optimum, as "
        "far as the algorithm does; whom they anchor does not.",
    )
