"""R3: what asynchrony does to the result (bias) and to its pace (speed), against the laws.

16 quadratics on a ring, half of them five times slower and around another optimum. Expected
numbers are those of `p2pfl.theory` for this very instance: exact fixed points where the algorithm
has one, the resting point of the mean field elsewhere.
"""

from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

import numpy as np

from p2pfl.algorithms.suite import LABELS
from p2pfl.experiment import Experiment
from p2pfl.reproduction.expectations import expected_bias
from p2pfl.reproduction.quadratics import (
    JITTER,
    SLOWDOWN,
    measured_bias,
    measured_rates,
    quadratics,
    rates_of,
    settled_bias,
    task_of,
)
from p2pfl.reproduction.target import Chart, Line, Reproduction, Row, Tell
from p2pfl.results.record import RunResult
from p2pfl.simulation.simulate import simulate
from p2pfl.theory.fixed_points import When, steady_bias
from p2pfl.theory.quadratics import Real
from p2pfl.theory.speed import asynchronous_speed
from p2pfl.types import Array

RATE: Final = 0.05
LONG_S: Final = 2000.0
QUICK_S: Final = 900.0

_UNIFORM: Final = "fixed point of D-PSGD"


class _Case(NamedTuple):
    title: str
    tables: dict[str, dict[str, Any]]
    expected: Callable[[Experiment, float], float]
    """Of the experiment and its seconds."""
    source: str = _UNIFORM
    quick: bool = False


def reproduce(*, quick: bool, tell: Tell) -> Reproduction:
    """The bias table, the rates of waiting, and the speed law."""
    nodes, time_s = (8, QUICK_S) if quick else (16, LONG_S)
    rows = list(_bias_rows(_cases(), nodes, time_s, quick=quick, tell=tell))
    rows += _waiting_rows(
        nodes, time_s=time_s, tell=tell, bounds=(0.0,) if quick else (0.0, 2.0, 8.0)
    )
    speeds, lines = _speed(nodes, quick=quick, tell=tell)
    chart = Chart(
        title="The same optimum for all, from far away",
        lines=tuple(lines),
        x_label="virtual seconds",
        y_label="distance to the optimum",
        caption="Half of the nodes are five times slower. The slopes are the speeds of the table.",
    )
    return Reproduction(rows=(*rows, *speeds), charts=(chart,), notes=(_BARRIER,))


_BARRIER: Final = (
    "D-PSGD here waits for neighbours only, so jitter is partly absorbed; behind one barrier for "
    "all nodes it would make 1 / E[max] iterations per second."
)


def _steady(experiment: Experiment, _time_s: float) -> float:
    """Of the experiment's own mixing matrix, whatever the speeds."""
    return _steady_with(experiment, experiment.topology.matrix())


def _steady_with(experiment: Experiment, mixing: Real) -> float:
    task, when = task_of(experiment), experiment.config.algorithm.when
    mixes: When = "both" if when is None else when
    return steady_bias(mixing, task.curvature, task.optima, learning_rate=RATE, when=mixes)


def _nobody_hears_slower(experiment: Experiment, _time_s: float) -> float:
    rates = rates_of(experiment)
    return _steady_with(experiment, _weighed(experiment, rates[None, :] >= rates[:, None]))


def _by_lag(experiment: Experiment, time_s: float) -> Real:
    """The factor (1 + lag)^(-1/2) that each link has come to in the end."""
    rates = rates_of(experiment)
    behind = np.maximum(0.0, (rates[:, None] - rates[None, :]) * time_s)
    return np.asarray((1.0 + behind) ** -0.5)


def _one_sided(experiment: Experiment, time_s: float) -> float:
    return _steady_with(experiment, _weighed(experiment, _by_lag(experiment, time_s)))


def _reciprocal(experiment: Experiment, time_s: float) -> float:
    factor = _by_lag(experiment, time_s)
    return _steady_with(experiment, _weighed(experiment, np.minimum(factor, factor.T)))


def _weighed(experiment: Experiment, factor: Array) -> Real:
    """The mixing matrix with these factors on its links; what is lost goes to self."""
    w = experiment.topology.matrix() * factor
    np.fill_diagonal(w, 0.0)
    return np.asarray(w + np.diag(1.0 - w.sum(axis=1)))


def _in_the_mean(experiment: Experiment, time_s: float) -> float:
    found = expected_bias(experiment, time_s)
    assert found is not None
    return found.value


def _nothing(_experiment: Experiment, _time_s: float) -> float:
    return 0.0


def _cases() -> Iterator[_Case]:
    yield _Case("PullMix", {}, _steady, quick=True)
    yield _Case("PullMix, 20 % of messages lost", {"network": {"loss": 0.2}}, _steady)
    yield _Case("PullMix, 5 s delay", {"network": {"latency_s": 5.0},
                "staleness": {"liveness_floor_s": 60.0}}, _steady)  # fmt: skip
    yield _Case("PullMix at the end only", {"algorithm": {"when": "end"}}, _steady,
                "fixed point of DGD")  # fmt: skip
    wait = {"staleness": {"policy": "wait", "bound": 4.0}}
    yield _Case("PullMix, wait for 4 versions", wait, _steady)
    reads = {"staleness": {"metric": "reads", "bound": 16.0}}
    yield _Case("PullMix, drop after 16 reads", reads, _steady)
    # Jitter lets the versions of equals drift apart as well: without it, only the slow are behind.
    even: dict[str, dict[str, Any]] = {"compute": {"sigma": 0.0}}
    lag = {**even, "staleness": {"metric": "lag", "bound": 4.0}}
    yield _Case("PullMix, drop beyond 4 versions", lag, _nobody_hears_slower,
                "fixed point without the slow", quick=True)  # fmt: skip
    discount = {"policy": "discount", "metric": "lag"}
    yield _Case("PullMix, discount by lag, one-sided",
                {**even, "staleness": {**discount, "reciprocal": False}}, _one_sided,
                "fixed point with the last weights")  # fmt: skip
    yield _Case("PullMix, discount by lag, reciprocal",
                {**even, "staleness": discount}, _reciprocal,
                "fixed point with the last weights")  # fmt: skip
    track = {"algorithm": {"kind": "track_mix"}}
    yield _Case("TrackMix", track, _nothing, "no bias", quick=True)
    for title, algorithm in _IN_THE_MEAN.items():
        if algorithm["kind"] in LABELS:
            yield _Case(title, {"algorithm": algorithm}, _in_the_mean, "resting point, in the mean",
                        quick=title in _QUICK)  # fmt: skip


_IN_THE_MEAN: Final[dict[str, dict[str, Any]]] = {
    "consume-once": {"kind": "consume_once"},
    "consume-once, steps by elapsed time": {"kind": "consume_once", "step": "elapsed"},
    "mixing on receipt": {"kind": "mix_on_receive"},
    "AD-PSGD": {"kind": "ad_psgd"},
    "AD-PSGD, steps by elapsed time": {"kind": "ad_psgd", "step": "elapsed"},
    "gossip learning": {"kind": "gossip_learning"},
    "FedAsync, alpha 0.05": {"kind": "fedasync", "alpha": 0.05},
    "FedBuff, 8 updates": {"kind": "fedbuff", "buffer_size": 8, "server_learning_rate": 0.3},
    "push-sum, plain steps": {"kind": "push_sum", "step": "x"},
    "push-sum, steps by elapsed time": {"kind": "push_sum", "step": "elapsed"},
    "push-sum, steps by mass": {"kind": "push_sum", "step": "y"},
}


_QUICK: Final = (
    "consume-once", "mixing on receipt", "AD-PSGD", "push-sum, steps by elapsed time"
)  # fmt: skip


def _bias_rows(
    cases: Iterator[_Case], nodes: int, time_s: float, *, quick: bool, tell: Tell
) -> Iterator[Row]:
    for case in cases:
        if quick and not case.quick:
            continue
        tell(case.title)
        experiment = quadratics(nodes=nodes, slow=nodes // 2, time_s=time_s, **case.tables)
        if case.expected is _in_the_mean:
            measured = settled_bias(experiment)
        else:
            measured = measured_bias(experiment, simulate(experiment))
        yield Row(what=f"bias: {case.title}", expected=case.expected(experiment, time_s),
                  measured=measured, source=case.source)  # fmt: skip


def _waiting_rows(
    nodes: int, *, bounds: tuple[float, ...], time_s: float, tell: Tell
) -> Iterator[Row]:
    """Who waits for neighbours is never more than (bound + 1) versions per hop ahead of them."""
    for bound in bounds:
        tell(f"waiting, bound {bound:g}")
        experiment = quadratics(
            nodes=nodes, slow=nodes // 2, time_s=time_s,
            staleness={"policy": "wait", "bound": bound},
        )  # fmt: skip
        rates = measured_rates(simulate(experiment))
        ahead = (bound + 1.0) * (nodes // 4) / time_s
        yield Row(what=f"updates per second, PullMix, wait for {bound:g} versions",
                  expected=float(rates.min()) + ahead, measured=float(rates.mean()),
                  must="at most", source="the slowest node's rate")  # fmt: skip


def _speed(nodes: int, *, quick: bool, tell: Tell) -> tuple[list[Row], list[Line]]:
    """Iterations per second, from how fast the distance to a common optimum shrinks."""
    rows, lines, speeds = [], [], {}
    for graph, when in _SPEEDS[:1] if quick else _SPEEDS:
        title = f"PullMix, {graph}, mixing {_WHEN[when]}"
        tell(f"speed: {title}")
        experiment = _one_optimum(nodes, topology={"kind": graph}, algorithm={"when": when})
        result = simulate(experiment)
        expected = asynchronous_speed(
            experiment.topology.matrix(), measured_rates(result), delay_s=0.1,
            cv=float(np.sqrt(np.expm1(JITTER**2))), when=when,
        )  # fmt: skip
        speeds[title] = measured = _iterations_per_s(result)
        lines.append(_line(title, result))
        rows.append(Row(what=f"speed: {title}", expected=expected, measured=measured,
                        source="speed law"))  # fmt: skip
    tell("speed: D-PSGD")
    result = simulate(_one_optimum(nodes, algorithm={"kind": "dpsgd"}))
    barrier = _iterations_per_s(result)
    rows.append(Row(what="speed: D-PSGD, ring", expected=1.0 / SLOWDOWN, measured=barrier,
                    source="the slowest node's rate"))  # fmt: skip
    rows.append(Row(what="PullMix on the ring over D-PSGD", measured=rows[0].measured / barrier,
                    expected=rows[0].expected * SLOWDOWN, source="speed law"))  # fmt: skip
    return rows, [*lines, _line("D-PSGD, ring", result)]


_SPEEDS: Final[tuple[tuple[str, When], ...]] = (
    ("ring", "both"), ("ring", "end"), ("ring", "start"),
    ("exponential", "both"), ("exponential", "start"),
)  # fmt: skip
_WHEN: Final = {"both": "twice", "end": "at the end", "start": "at the start"}


def _one_optimum(nodes: int, **tables: object) -> Experiment:
    """All want the same, so the distance falls by 1 - gamma with each iteration.

    Slow nodes take turns with fast ones: the law needs good mixing between them.
    """
    return quadratics(
        nodes=nodes, slow=0, time_s=600.0,
        data={"condition": 1.0, "spread": 0.0, "sites": [5.0]},
        compute={"slowdown": {f"n{i}": SLOWDOWN for i in range(0, nodes, 2)}},
        evaluation={"every_s": 10.0}, **tables,
    )  # fmt: skip


def _iterations_per_s(result: RunResult) -> float:
    at = np.array([point.at_s for point in result.curve])
    left = np.array([point.loss_mean for point in result.curve])
    # Float32 ends; and the first turns are those of a network that has not mixed yet.
    end = int(np.flatnonzero(left > 1e-4 * left[0])[-1])
    begin = end // 4
    slope = np.log(left[begin] / left[end]) / (at[end] - at[begin])
    return float(slope / -np.log1p(-RATE))


def _line(title: str, result: RunResult) -> Line:
    shown = [point for point in result.curve if point.loss_mean > 1e-5]  # noqa: PLR2004 - float32
    return Line(title, tuple(p.at_s for p in shown), tuple(p.loss_mean for p in shown))
