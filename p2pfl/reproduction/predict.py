"""What theory expects of an experiment, next to what a short simulation of a stand-in gives."""

from typing import Final

import numpy as np

from p2pfl.algorithms.suite import STARS, make_rule
from p2pfl.errors import ConfigError
from p2pfl.experiment import Experiment
from p2pfl.learning.quadratics import QuadraticTrainer
from p2pfl.reproduction.expectations import expected_bias
from p2pfl.reproduction.quadratics import measured_bias, measured_rates, settled_bias
from p2pfl.reproduction.standin import stand_in, update_s, with_rate
from p2pfl.reproduction.target import Reproduction, Row, Tell, tell_nobody
from p2pfl.results.record import RunResult
from p2pfl.simulation.simulate import simulate
from p2pfl.theory.speed import asynchronous_speed
from p2pfl.topology.spectrum import mixing_time_rounds, second_absolute_eigenvalue

UPDATES: Final = 600
"""The stand-in runs for as many updates of the median node, unless told otherwise."""

NODES_MAX: Final = 256
"""Dense matrices and short simulations are for experiments up to this size."""

_MARCHING: Final = 1e-4
_ROUNDING: Final = 1e-12
_STEPS_TRIED: Final = (1.0, 1.15, 1.3, 1.5, 1.75, 2.0, 2.5, 3.0)


def predict(
    experiment: Experiment, *, seconds: float | None = None, tell: Tell = tell_nobody
) -> Reproduction:
    """Consensus rate, bias, speed and largest safe step, as far as theory knows them.

    Raises:
        ConfigError: the experiment is too large, or runs without a graph.
    """
    config = experiment.config
    if len(experiment.topology.graph) > NODES_MAX:
        raise ConfigError(
            f"predict: {len(experiment.topology.graph)} nodes; allowed: at most {NODES_MAX} "
            "(set topology.nodes to less; laws change slowly with it)"
        )
    if config.algorithm.kind in {"local", "centralized"}:
        raise ConfigError(
            f'predict: algorithm.kind = "{config.algorithm.kind}" combines no models; name another'
        )
    own_s = update_s(experiment)
    time_s = UPDATES * float(np.median(own_s)) if seconds is None else seconds
    rows: list[Row] = []
    notes = _stand_in_notes(experiment, time_s)
    if config.algorithm.kind not in STARS:
        rows += _consensus(experiment, notes)
    tell("bias")
    rows += _bias(experiment, time_s, notes)
    tell("speed")
    rows += _speed(experiment, time_s, notes)
    tell("largest safe step")
    rows += _safe_step(experiment, notes)
    return Reproduction(rows=tuple(rows), notes=tuple(notes))


def _stand_in_notes(experiment: Experiment, time_s: float) -> list[str]:
    kind = experiment.config.data.kind
    ran = f"Measured in {time_s:g} virtual seconds, without faults, by plain SGD of constant step."
    if kind == "quadratic":
        return [ran]
    stands = (
        f"A quadratic stand-in takes the place of {kind}: the same graph, network, speeds and"
        " algorithm, with the slower nodes around another optimum. Orders and causes carry over;"
        " sizes of errors are those of the stand-in."
    )
    return [stands, ran]


# ------------------------------------------------------------ consensus


def _consensus(experiment: Experiment, notes: list[str]) -> list[Row]:
    """The spectrum, next to how fast the matrix really averages."""
    schedule = experiment.topology.schedule
    if schedule is not None:
        x = np.random.default_rng(0).standard_normal((len(schedule), 20))
        first = float(np.linalg.norm(x - x.mean(axis=0)))
        for t in range(schedule.period):
            x = schedule.mixed(t, x)
        left = float(np.linalg.norm(x - x.mean(axis=0))) / first
        notes.append(
            f"Consensus: one period of {schedule.period} rounds leaves {left:.2g} of disagreement."
        )
        return []
    w = experiment.topology.matrix()
    expected = second_absolute_eigenvalue(w)
    x = np.random.default_rng(0).standard_normal((len(w), 20))
    curve = []
    # In half of these rounds the other eigenvalues have died out.
    rounds = int(min(2000, max(20, 4 * mixing_time_rounds(min(expected, 0.9999)))))
    for _ in range(rounds):
        away = float(np.linalg.norm(x - x.mean(axis=0)))
        curve.append(away)
        if away < 1e-9 * curve[0]:
            break
        x = w @ x
    half = len(curve) // 2
    exact = curve[half] <= _ROUNDING * curve[0]
    measured = 0.0 if exact else (curve[-1] / curve[half]) ** (1.0 / max(1, len(curve) - 1 - half))
    undirected = bool(np.allclose(w, w.T))
    return [
        Row(what="consensus: factor per synchronous round", expected=expected,
            measured=measured,
            relative=0.0, absolute=max(0.1 * (1.0 - expected), 1e-3),
            must="near" if undirected else "at most",
            source=f"lambda; spectral gap {1 - expected:.3g}, mixing time "
            f"{mixing_time_rounds(expected):g} rounds"),
    ]  # fmt: skip


# ------------------------------------------------------------ bias


def _bias(experiment: Experiment, time_s: float, notes: list[str]) -> list[Row]:
    """Where the stand-in ends, of the spread of the optima."""
    instance = stand_in(experiment, time_s=time_s)
    found = expected_bias(instance, time_s)
    if found is not None and found.in_the_mean:
        measured = settled_bias(instance)
    else:
        measured = measured_bias(instance, simulate(instance))
    if found is None:
        notes.append(
            f"Theory has no bias for {experiment.label} here; measured on the stand-in: "
            f"{measured:.3g} of the optima's spread."
        )
        return []
    return [Row(what="bias, of the spread of the nodes' optima", expected=found.value,
                measured=measured, source=found.source)]  # fmt: skip


# ------------------------------------------------------------ speed


def _speed(experiment: Experiment, time_s: float, notes: list[str]) -> list[Row]:
    """Updates per second, and what they are worth in synchronous iterations."""
    instance = stand_in(experiment, time_s=time_s, one_optimum=True)
    result = simulate(instance)
    rates = measured_rates(result)
    slowest = 1.0 / float(update_s(experiment).max())
    if _waits(experiment):
        return [Row(what="rounds per second", expected=slowest,
                    measured=float(rates.mean()), must="at most", relative=0.0,
                    source="the slowest node's rate")]  # fmt: skip
    steps = instance.config.training.local_steps
    if experiment.config.algorithm.kind != "pull_mix" or steps != 1 or not _constant(experiment):
        notes.append(
            f"Speed: {float(rates.sum()):.3g} updates per second of all nodes; the slowest node "
            f"alone makes {slowest:.3g}. The speed law is that of PullMix with one local step and "
            "constant weights."
        )
        return []
    when = experiment.config.algorithm.when or "both"
    expected = asynchronous_speed(
        experiment.topology.matrix(), rates, delay_s=experiment.config.network.latency_s,
        cv=_variation(experiment), when=when,
    )  # fmt: skip
    rate = instance.config.training.learning_rate
    measured = _iterations_per_s(result, rate)
    return [
        Row(what="speed, in synchronous iterations per second", expected=expected,
            measured=measured, source="speed law"),
        Row(what="speed, over that of waiting for the slowest", expected=expected / slowest,
            measured=measured / slowest, source="speed law"),
    ]  # fmt: skip


def _waits(experiment: Experiment) -> bool:
    kind = experiment.config.algorithm.kind
    if kind in STARS:
        return "async" not in kind and "buff" not in kind
    if experiment.config.staleness.policy == "wait":
        return True
    return ":" not in kind and make_rule(kind, {}).capabilities.synchronous


def _constant(experiment: Experiment) -> bool:
    """Whether a living neighbour's weight never changes."""
    policy = experiment.config.staleness
    return policy.policy in {"none", "wait"} or (
        policy.policy == "drop" and policy.metric in {"missed", "age"}
    )


def _variation(experiment: Experiment) -> float:
    """Standard deviation over mean of one update's time."""
    compute = experiment.config.compute
    if compute.distribution == "lognormal":
        return float(np.sqrt(np.expm1(compute.sigma**2)))
    return 0.0


def _iterations_per_s(result: RunResult, rate: float) -> float:
    at = np.array([point.at_s for point in result.curve])
    left = np.array([point.loss_mean for point in result.curve])
    end = int(np.flatnonzero(left > _MARCHING * left[0])[-1])
    begin = end // 4
    if end == begin:
        return float("nan")
    return float(np.log(left[begin] / left[end]) / (at[end] - at[begin]) / -np.log1p(-rate))


# ------------------------------------------------------------ the largest safe step


def _safe_step(experiment: Experiment, notes: list[str]) -> list[Row]:
    """2 / L for gradients at mixed models, whatever the delays; less where they are at own ones."""
    config = experiment.config
    steps = stand_in(experiment, time_s=1.0).config.training.local_steps
    known = config.algorithm.kind in {"pull_mix", "dpsgd"} and _constant(experiment)
    if not known or steps != 1:
        notes.append(f"Largest safe step: theory has none for {experiment.label} here.")
        return []
    time_s = 150.0 * float(update_s(experiment).max())
    instance = stand_in(experiment, time_s=time_s)
    trainer = instance.make_trainer()
    assert isinstance(trainer, QuadraticTrainer)
    largest = float(np.max(trainer.task.curvature))
    at_own = config.algorithm.when == "end"
    lowest = float(np.linalg.eigvals(experiment.topology.matrix()).real.min())
    expected = (1.0 + lowest if at_own else 2.0) / largest
    measured = 0.0
    for factor in _STEPS_TRIED:
        rate = 0.98 * factor * expected
        if not _settles(with_rate(instance, rate)):
            break
        measured = rate / 0.98
    return [Row(what=f"largest safe learning rate, L = {largest:.3g}", expected=expected,
                measured=measured, must="at least", relative=0.0,
                source="(1 + lambda_min) / L" if at_own else "2 / L")]  # fmt: skip


def _settles(experiment: Experiment) -> bool:
    """Whether the run does not go on growing: a long step may end far away and yet be stable."""
    result = simulate(experiment)
    losses = [point.loss_mean for point in result.curve]
    if any(node.outcome.startswith("diverged") for node in result.nodes):
        return False
    return bool(np.isfinite(losses).all()) and losses[-1] <= 4.0 * max(losses[: len(losses) // 2])
