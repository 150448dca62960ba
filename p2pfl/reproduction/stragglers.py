"""R8: digits, sorted by label, where the slow half of the nodes holds the digits 0 to 4.

The experiment of `examples/stragglers.toml`, three seeds, the same grid of learning rates for every
algorithm. What counts is the accuracy of the models that nodes serve at equal virtual time, on all
digits and on those of the slow nodes; and what is there at equal bytes, per node and at the busiest
endpoint (behind a server, the server).
"""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any, Final, NamedTuple

from p2pfl.algorithms.suite import LABELS, STARS
from p2pfl.comparison.curves import Axis, along, quality_at
from p2pfl.comparison.slow import accuracy_on
from p2pfl.config.load import config_from_mapping
from p2pfl.experiment import Experiment
from p2pfl.learning.trainer import Trainer
from p2pfl.reproduction.target import Chart, Line, Reproduction, Row, Tell
from p2pfl.results.record import RunResult
from p2pfl.simulation.simulate import simulate

NODES: Final = 16
SLOW_CLASSES: Final = slice(0, 5)
COMMON: Final = 0.1
RATES: Final = (0.1, 0.3)
"""The grid that all algorithms share."""
SEEDS: Final = (0, 1, 2)
FORGOTTEN: Final = 0.1
"""An accuracy that guessing has."""

TABLE: Final[Mapping[str, Any]] = {
    "name": "stragglers",
    "data": "digits",
    "topology": {"kind": "exponential", "nodes": NODES},
    "model": {"kind": "mlp", "hidden": [32]},
    "partition": {"kind": "sorted"},
    "training": {"learning_rate": COMMON, "batch_size": 16, "local_steps": 1},
    "compute": {
        "step_s": 1.0,
        "distribution": "lognormal",
        "sigma": 0.3,
        "slowdown": {f"n{i}": 5.0 for i in range(NODES // 2)},
    },
    "network": {"latency_s": 0.1, "latency": "exponential"},
    "stop": {"time_s": 600.0},
    "evaluation": {"every_s": 10.0},
}

_OURS: Final = ("pull_mix", "track_mix")
_OTHERS: Final = ("fedavg", "dpsgd", "fedasync", "fedbuff", "ad_psgd", "gossip_learning")
_LAG: Final = "PullMix, drop beyond 4 versions"
_Runs = dict[str, dict[float, list[RunResult]]]
"""Title -> learning rate -> one run per seed."""


class _Numbers(NamedTuple):
    """Of one algorithm at one learning rate, means over the seeds."""

    accuracy: float
    slow: float


def reproduce(*, quick: bool, tell: Tell) -> Reproduction:
    """Accuracies after the same time, on all digits and on the slow nodes', and at equal bytes."""
    seeds, rates, time_s = ((0,), (COMMON,), 200.0) if quick else (SEEDS, RATES, 600.0)
    runs: _Runs = {}
    for seed in seeds:
        trainers: dict[float, Trainer] = {}
        for title, tables in _methods(quick=quick).items():
            # Only the rules themselves are worth a grid; what forgets classes forgets at any step.
            for rate in rates[:1] if title == _LAG else rates:
                tell(f"{title}, learning rate {rate:g}, seed {seed}")
                experiment = _experiment(tables, rate=rate, seed=seed, time_s=time_s)
                if rate not in trainers:
                    trainers[rate] = experiment.make_trainer()
                result = simulate(experiment, trainer=trainers[rate])
                runs.setdefault(title, {}).setdefault(rate, []).append(result)
    return Reproduction(
        rows=tuple(_rows(runs)), charts=tuple(_charts(runs)), notes=tuple(_notes(runs, rates))
    )


def _methods(*, quick: bool) -> dict[str, dict[str, Any]]:
    """Title -> what it changes in the file."""
    kinds = ("pull_mix", "fedavg") if quick else (*_OURS, *_OTHERS)
    known = {LABELS[kind]: {"algorithm": {"kind": kind}} for kind in kinds if kind in LABELS}
    return {**known, _LAG: {"staleness": {"metric": "lag", "bound": 4.0}}}


def _experiment(tables: Mapping[str, Any], *, rate: float, seed: int, time_s: float) -> Experiment:
    training = {**TABLE["training"], "learning_rate": rate}
    stop = {"time_s": time_s}
    table = {**TABLE, **tables, "training": training, "stop": stop, "seed": seed}
    return Experiment(config_from_mapping(table, source="R8"))


def _numbers(results: Sequence[RunResult]) -> _Numbers:
    return _Numbers(
        fmean(result.final.accuracy_mean or 0.0 for result in results),
        fmean(_slow_classes(result) for result in results),
    )


def _slow_classes(result: RunResult) -> float:
    """Mean accuracy of all nodes, at the end, on the digits that only slow nodes hold."""
    end_s = result.curve[-1].at_s
    last = [sample.per_class for sample in result.samples if sample.at_s == end_s]
    return fmean(fmean(per_class[SLOW_CLASSES]) for per_class in last)


def _best(by_rate: Mapping[float, Sequence[RunResult]]) -> float:
    """The learning rate with the highest accuracy."""
    return max(by_rate, key=lambda rate: _numbers(by_rate[rate]).accuracy)


def _rows(runs: _Runs) -> list[Row]:
    """The orderings: ours above every other, at the common step and at each one's own best."""
    ours = [LABELS[kind] for kind in _OURS if LABELS[kind] in runs]
    others = [title for title in runs if title not in (*ours, _LAG)]
    rows = []
    for title in ours:
        for words, choose in (("learning rate 0.1", lambda _: COMMON), ("its best", _best)):
            found = {t: _numbers(runs[t][choose(runs[t])]).accuracy for t in (title, *others)}
            rival = max(others, key=found.__getitem__)
            rows.append(Row(what=f"accuracy: {title}, {words}", expected=found[rival],
                            measured=found[title], must="at least",
                            source=f"above {rival}, the best of the others"))  # fmt: skip
        for other in (LABELS[kind] for kind in (*STARS, "ad_psgd") if LABELS[kind] in others):
            mine, theirs = _at_equal(runs, title, other, "busiest_bytes")
            rows.append(Row(what=f"accuracy at equal bytes of the busiest endpoint: {title}",
                            expected=theirs, measured=mine, must="at least",
                            source=f"above {other}"))  # fmt: skip
        rows.append(Row(what=f"accuracy on digits 0 to 4: {title}, learning rate 0.1",
                        expected=0.75, measured=_numbers(runs[title][COMMON]).slow,
                        must="at least", source="slow nodes' classes are learned"))  # fmt: skip
    rows.append(Row(what=f"accuracy on digits 0 to 4: {_LAG}", expected=FORGOTTEN,
                    measured=_numbers(runs[_LAG][COMMON]).slow, must="at most",
                    source="slow nodes' classes are forgotten"))  # fmt: skip
    return rows


def _at_equal(runs: _Runs, one: str, two: str, axis: Axis) -> tuple[float, float]:
    """Both accuracies where the cheaper of the two has ended, each at its best learning rate."""
    both = [runs[title][_best(runs[title])] for title in (one, two)]
    place = min(along(result, axis)[-1] for results in both for result in results)
    mine, theirs = (
        fmean(quality_at(each, axis, place, measure="accuracy") or 0.0 for each in results)
        for results in both
    )
    return mine, theirs


def _notes(runs: _Runs, rates: Sequence[float]) -> list[str]:
    lines = [
        f"{title}, learning rate {rate:g}: accuracy {numbers.accuracy:.3f}, digits 0 to 4 "
        f"{numbers.slow:.3f}"
        for title, by_rate in runs.items()
        for rate, results in by_rate.items()
        for numbers in [_numbers(results)]
    ]
    ours = [LABELS[kind] for kind in _OURS if LABELS[kind] in runs]
    for title in ours:
        for other in (each for each in runs if each not in (*ours, _LAG)):
            mine, theirs = _at_equal(runs, title, other, "node_bytes")
            lines.append(f"At equal bytes per node: {title} {mine:.3f}, {other} {theirs:.3f}.")
    lines.append("Bytes per node are what gossip pays with: every update goes to all neighbours.")
    grid = ", ".join(f"{rate:g}" for rate in rates)
    return [f"Grid of learning rates, the same for all: {grid}.", *lines]


def _charts(runs: _Runs) -> list[Chart]:
    def chart(title: str, x_label: str, axis: Axis) -> Chart:
        return Chart(
            title=title, x_label=x_label, y_label="accuracy", percent=True,
            x_bytes=axis != "seconds",
            lines=tuple(_line(each, by_rate[COMMON], axis) for each, by_rate in runs.items()),
            caption="Mean accuracy of the models that nodes serve, mean over seeds, learning rate "
            f"{COMMON:g} for all.",
        )  # fmt: skip

    return [
        chart("Accuracy over time", "virtual seconds", "seconds"),
        _slow_chart(runs),
        chart("Accuracy over bytes per node", "bytes per node", "node_bytes"),
        chart("Accuracy over the busiest endpoint's bytes", "bytes", "busiest_bytes"),
    ]


def _slow_chart(runs: _Runs) -> Chart:
    classes = range(SLOW_CLASSES.start, SLOW_CLASSES.stop)
    lines = []
    for title, by_rate in runs.items():
        curves = [accuracy_on(result, classes) for result in by_rate[COMMON]]
        at_s = tuple(place for place, _ in curves[0])
        means = tuple(
            fmean(points) for points in zip(*([y for _, y in c] for c in curves), strict=True)
        )
        lines.append(Line(title, at_s, means))
    return Chart(
        title="Accuracy on the slow nodes' digits, 0 to 4", percent=True,
        x_label="virtual seconds", y_label="accuracy", lines=tuple(lines),
        caption="The mean over all nodes, fast ones too. A line that stays low is a network that "
        "does not listen to its slow nodes.",
    )  # fmt: skip


def _line(title: str, results: Sequence[RunResult], axis: Axis) -> Line:
    places = along(results[0], axis)
    last = min(along(result, axis)[-1] for result in results)
    shown = [place for place in places if place <= last]
    means = [
        fmean(quality_at(result, axis, place, measure="accuracy") or 0.0 for result in results)
        for place in shown
    ]
    return Line(title, tuple(shown), tuple(means))
