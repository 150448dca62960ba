"""R2: what unequal data cost synchronous algorithms, on three graphs and for halving steps.

Every node has a quadratic of its own. D-PSGD with a constant step ends beside the optimum, the
farther the longer the step and the worse the graph; gradient tracking and D2 do not.

Sources: X. Lian et al., "Can Decentralized Algorithms Outperform Centralized Algorithms?", 2017;
T. Lin et al., "Quasi-global momentum", 2021; S. Pu, A. Nedic, "Distributed stochastic gradient
tracking methods", 2021; H. Tang et al., "D2: Decentralized Training over Decentralized Data", 2018.
"""

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from p2pfl.algorithms.suite import LABELS
from p2pfl.experiment import Experiment
from p2pfl.reproduction.quadratics import measured_bias, quadratics, task_of
from p2pfl.reproduction.target import Chart, Line, Reproduction, Row, Tell
from p2pfl.simulation.simulate import simulate
from p2pfl.theory.fixed_points import steady_bias

RATES: Final = (0.2, 0.1, 0.05, 0.025)
GRAPHS: Final = ("ring", "exponential", "complete")
BETA: Final = 0.8
FLOAT32: Final = 1e-5
"""Models of size 1 in float32, after some hundred rounds: what "no bias" means here."""


class _Rule(NamedTuple):
    title: str
    algorithm: dict[str, Any]
    slower: float = 1.0
    """By what the table's learning rate is divided: with momentum a step counts 1 / (1 - beta)."""
    momentum: float = 0.0
    """Of its fixed point."""
    exact: bool = False
    rounds_least: int = 0
    rate_max: float = 1.0
    """Stable up to here, of the table's rates."""


_RULES: Final = (
    _Rule("D-PSGD", {"kind": "dpsgd"}),
    _Rule("SGP", {"kind": "sgp"}),
    _Rule("DSGDm", {"kind": "dsgdm", "beta": BETA}, 1.0 / (1.0 - BETA), BETA),
    _Rule("QG-DSGDm", {"kind": "qg_dsgdm", "beta": BETA}, 1.0 / (1.0 - BETA), rounds_least=500),
    _Rule("gradient tracking", {"kind": "gradient_tracking"}, exact=True, rounds_least=2500,
          rate_max=0.1),
    _Rule("D2", {"kind": "d2"}, exact=True, rounds_least=600, rate_max=0.1),
)  # fmt: skip


_NOTE: Final = (
    f"Momentum {BETA:g} at a learning rate {1 - BETA:g} times that of the table, so that all move "
    "equally fast. Models are float32, so no bias means at most 1e-5."
)


def reproduce(*, quick: bool, tell: Tell) -> Reproduction:
    """The bias of each algorithm, against its fixed point."""
    nodes = 8 if quick else 16
    rows: list[Row] = []
    lines: dict[str, list[tuple[float, float]]] = {}
    for graph in GRAPHS[:1] if quick else GRAPHS:
        for rule in (each for each in _RULES if each.algorithm["kind"] in LABELS):
            rates = [rate for rate in RATES if rate <= rule.rate_max]
            # Between the graphs' ends one rate tells enough.
            for rate in rates[:1] if quick else rates if graph == "ring" else rates[-2:-1]:
                tell(f"{rule.title}, {graph}, step {rate:g}")
                row = _row(rule, graph, rate, nodes)
                rows.append(row)
                if graph == "ring":
                    lines.setdefault(rule.title, []).append((rate, row.measured))
    rows += _orders(rows)
    return Reproduction(
        rows=tuple(rows),
        charts=(_chart(lines),),
        notes=(_NOTE,),
    )


def _row(rule: _Rule, graph: str, rate: float, nodes: int) -> Row:
    experiment = _instance(rule, graph, rate, nodes)
    measured = measured_bias(experiment, simulate(experiment))
    what = f"bias: {rule.title}, {graph}, step {rate:g}"
    if rule.exact or graph == "complete":
        return Row(what=what, expected=FLOAT32, measured=measured, must="at most",
                   source="no bias")  # fmt: skip
    task = task_of(experiment)
    expected = steady_bias(
        experiment.topology.matrix(), task.curvature, task.optima,
        learning_rate=experiment.config.training.learning_rate, momentum=rule.momentum,
    )  # fmt: skip
    return Row(what=what, expected=expected, measured=measured, source="fixed point",
               absolute=1e-4)  # fmt: skip


def _instance(rule: _Rule, graph: str, rate: float, nodes: int) -> Experiment:
    """Until the start is forgotten to 1e-6."""
    return quadratics(
        nodes=nodes, slow=0, time_s=1e6,
        topology={"kind": graph},
        algorithm=rule.algorithm,
        data={"sites": []},
        training={"learning_rate": rate / rule.slower},
        compute={"distribution": "constant", "sigma": 0.0},
        network={"latency_s": 0.0},
        stop={"steps": max(rule.rounds_least, round(14 / rate)), "time_s": 1e6},
    )  # fmt: skip


def _orders(rows: list[Row]) -> Iterator[Row]:
    """What the table must show whatever its numbers: shorter steps and better memories help."""
    found = {row.what: row.measured for row in rows}
    first, second = (f"bias: D-PSGD, ring, step {rate:g}" for rate in RATES[-2:])
    if second in found:
        yield Row(what="ring: D-PSGD at half the step, of its bias", expected=0.8,
                  measured=found[second] / found[first], must="at most")  # fmt: skip
    for rate in RATES[:3]:
        own, mixed = (f"bias: {title}, ring, step {rate:g}" for title in ("DSGDm", "QG-DSGDm"))
        if own in found and mixed in found:
            yield Row(what=f"ring, step {rate:g}: QG-DSGDm, of DSGDm's bias", expected=0.8,
                      measured=found[mixed] / found[own], must="at most")  # fmt: skip


def _chart(lines: dict[str, list[tuple[float, float]]]) -> Chart:
    return Chart(
        title="Bias of unequal data on a ring",
        lines=tuple(
            Line(title, *(tuple(part) for part in zip(*points, strict=True)))
            for title, points in lines.items()
        ),
        x_label="step",
        y_label="bias, of the optima's spread",
        caption="Each dot is where an algorithm with a constant step has come to rest. D-PSGD, SGP "
        "and DSGDm rest at the same place.",
    )
