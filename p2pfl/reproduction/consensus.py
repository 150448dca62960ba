"""R1: how fast plain averaging agrees, on static graphs and in schedules that average exactly.

Static graphs run D-PSGD in the simulator: one gradient step drives the nodes apart, the learning
rate is zero from then on, and what is left is x(t+1) = W x(t). One-way links and schedules are
applied as matrices.

Source: B. Ying et al., "Exponential Graph is Provably Efficient for Decentralized Deep Training",
2021 (exponential graphs); Y. Takezawa et al., "Beyond Exponential Graph", 2023 (base graphs); L.
Xiao, S. Boyd, "Fast linear iterations for distributed averaging", 2004 (the rate lambda).
"""

from collections.abc import Iterator
from math import ceil, isqrt, log
from typing import Any, Final, NamedTuple

import numpy as np

from p2pfl.config.load import config_from_mapping
from p2pfl.experiment import Experiment
from p2pfl.reproduction.target import Chart, Line, Reproduction, Row, Tell
from p2pfl.simulation.simulate import simulate
from p2pfl.theory import consensus
from p2pfl.topology.base_graph import base
from p2pfl.topology.build import build_topology
from p2pfl.topology.schedules import Schedule, one_peer_exponential, one_peer_hypercube

FULL: Final = (16, 25, 64)
QUICK: Final = (16,)

ROUNDS_MAX: Final = 400
"""Long enough for the second eigenvalue alone to be seen on a ring of 64."""

LEFT: Final = 1e-4
"""Float32 models of size 1 agree no better than to some 1e-7; rates are read above this."""

GAP_SHARE: Final = 0.05
"""How far a rate may be off, as a share of its distance to 1."""

AGREED: Final = 1e-7
"""Disagreement that is left, as a share of the first, where a schedule is called exact."""

BASE: Final = ((1, 16, 4), (1, 25, 9), (1, 64, 6), (1, 7, 5), (1, 12, 5), (1, 100, 11), (2, 25, 6),
               (3, 25, 5), (4, 25, 2), (3, 64, 3))  # fmt: skip
"""(degree k, nodes, rounds) of base-(k+1) graphs: computed with the authors' own code."""


class _Graph(NamedTuple):
    title: str
    topology: dict[str, Any]
    rate: float
    """Lambda in closed form."""


def reproduce(*, quick: bool, tell: Tell) -> Reproduction:
    """Rates of rings, tori, exponential and complete graphs; rounds of exact schedules."""
    sizes = QUICK if quick else FULL
    rows: list[Row] = []
    charts: list[Chart] = []
    for nodes in sizes:
        lines = []
        for graph in _graphs(nodes):
            tell(f"{graph.title}, {nodes} nodes")
            rounds = _rounds(graph.rate)
            left = _left(graph, rounds)
            lines.append(_line(graph.title, left))
            rows.append(_rate_row(graph, nodes, left))
        tell(f"schedules, {nodes} nodes")
        for title, schedule in _schedules(nodes):
            lines.append(_line(title, of_schedule(schedule, rounds=3 * schedule.period)))
        charts.append(_chart(nodes, lines))
    rows += _exact_rows(sizes)
    rows += _simulated_rows(sizes, tell)
    return Reproduction(rows=tuple(rows), charts=tuple(charts))


def disagreement(topology: dict[str, Any], *, rounds: int) -> np.ndarray:
    """Consensus distance after round 0 (one gradient step), 1, ... `rounds`, over the first."""
    table = {
        "name": "consensus",
        "topology": topology,
        "data": {"kind": "quadratic", "dimension": 50},
        "model": "quadratic",
        "algorithm": {"kind": "dpsgd"},
        # Linear from 0.3 to nothing within the first step: later rounds only average.
        "training": {
            "learning_rate": 0.3,
            "local_steps": 1,
            "schedule": "linear",
            "schedule_steps": 1,
        },
        "compute": {"step_s": 1.0},
        # In a schedule a peer is heard once a period, which may take longer than the usual floor.
        "staleness": {"liveness_floor_s": 1e4},
        "stop": {"steps": rounds + 1},
        "evaluation": {"every_s": 1.0},
    }
    curve = simulate(Experiment(config_from_mapping(table, source="R1"))).curve
    found = np.array([point.consensus_distance or 0.0 for point in curve])
    start = int(np.argmax(found > 0.0))
    return np.asarray(found[start : start + rounds] / found[start])


def _left(graph: _Graph, rounds: int) -> np.ndarray:
    if not graph.topology.get("directed"):
        return disagreement(graph.topology, rounds=rounds)
    # D-PSGD needs undirected links; averaging on these one-way ones is applied as a matrix.
    row = build_topology(**graph.topology, weights="uniform").rows()
    return of_schedule(Schedule(tuple(row), (tuple(row.values()),)), rounds=rounds)


def of_schedule(schedule: Schedule, *, rounds: int) -> np.ndarray:
    """The same for x(t+1) = W(t) x(t), from models drawn at random."""
    x = np.random.default_rng(0).standard_normal((len(schedule), 50))
    found = []
    for t in range(rounds + 1):
        found.append(float(np.sqrt(np.mean(np.sum((x - x.mean(axis=0)) ** 2, axis=1)))))
        x = schedule.mixed(t, x)
    return np.array(found) / found[0]


def rounds_to_agree(schedule: Schedule) -> int:
    """The first round after which disagreement is gone; 0: it is not, after two periods."""
    left = of_schedule(schedule, rounds=2 * schedule.period)
    return int(np.argmax(left <= AGREED))


def observed_rate(left: np.ndarray) -> float:
    """The factor per round, over the later half of what float32 can tell."""
    end = int(np.argmax(left < LEFT)) or len(left) - 1
    begin = end // 2
    return float((left[end] / left[begin]) ** (1.0 / (end - begin)))


def _graphs(nodes: int) -> Iterator[_Graph]:
    yield _Graph("ring", {"kind": "ring", "nodes": nodes}, consensus.ring(nodes))
    side = isqrt(nodes)
    if side * side == nodes:
        yield _Graph("torus", {"kind": "torus", "rows": side}, consensus.torus(side, side))
    if nodes % 2 == 0:
        one_way = {"kind": "exponential", "nodes": nodes, "directed": True}
        yield _Graph("exponential", one_way, consensus.exponential(nodes))
    if nodes & (nodes - 1) == 0:
        yield _Graph("hypercube", {"kind": "hypercube", "nodes": nodes}, consensus.hypercube(nodes))
    yield _Graph("complete", {"kind": "complete", "nodes": nodes}, consensus.complete(nodes))


def _schedules(nodes: int) -> Iterator[tuple[str, Schedule]]:
    yield "one-peer exponential", one_peer_exponential(nodes)
    yield "base-2", base(nodes, degree=1)


def _rounds(rate: float) -> int:
    return ROUNDS_MAX if rate >= 1.0 else min(ROUNDS_MAX, ceil(log(LEFT) / log(max(rate, 0.1))) + 4)


def _rate_row(graph: _Graph, nodes: int, left: np.ndarray) -> Row:
    if graph.rate == 0.0:
        return Row(
            what=f"{graph.title}, {nodes} nodes: disagreement after one round", expected=1e-6,
            measured=float(left[1]), must="at most", source="lambda = 0",
        )  # fmt: skip
    return Row(
        what=f"{graph.title}, {nodes} nodes: factor per round", expected=graph.rate,
        measured=observed_rate(left), relative=0.0,
        absolute=GAP_SHARE * (1.0 - graph.rate), source="lambda, closed form",
    )  # fmt: skip


def _exact_rows(sizes: tuple[int, ...]) -> Iterator[Row]:
    for nodes in sizes:
        schedule = one_peer_exponential(nodes)
        power = nodes & (nodes - 1) == 0
        if power:
            exact = nodes.bit_length() - 1
            yield _rounds_row(f"one-peer exponential, {nodes} nodes", schedule, exact)
            hypercube = one_peer_hypercube(nodes)
            yield _rounds_row(f"one-peer hypercube, {nodes} nodes", hypercube, exact)
        else:
            away = np.linalg.norm(schedule.product() - 1.0 / nodes)
            yield Row(
                what=f"one-peer exponential, {nodes} nodes: |product - J| (not a power of two)",
                expected=0.351, measured=float(away), relative=0.01, source="independent code",
            )  # fmt: skip
    for degree, nodes, rounds in BASE:
        title = f"base-{degree + 1}, {nodes} nodes"
        yield _rounds_row(title, base(nodes, degree=degree), rounds)


def _simulated_rows(sizes: tuple[int, ...], tell: Tell) -> Iterator[Row]:
    """The same schedules under D-PSGD: float32, over as many messages as there are links.

    The first gradient step takes the place of one round, so a whole period ends within two.
    """
    for nodes in sizes:
        kinds: dict[str, tuple[dict[str, Any], int]] = {
            "base-2": ({"kind": "base", "degree": 1}, base(nodes, degree=1).period)
        }
        if nodes & (nodes - 1) == 0:
            period = nodes.bit_length() - 1
            kinds["one-peer exponential"] = ({"kind": "one_peer_exponential"}, period)
        for title, (topology, period) in kinds.items():
            tell(f"{title}, {nodes} nodes, in the simulator")
            left = disagreement({**topology, "nodes": nodes}, rounds=2 * period + 1)
            yield Row(what=f"{title}, {nodes} nodes, D-PSGD: left after two periods",
                      expected=1e-6, measured=float(left[-1]), must="at most",
                      source="exact in one period")  # fmt: skip


def _rounds_row(title: str, schedule: Schedule, rounds: int) -> Row:
    return Row(
        what=f"{title}: rounds to 1e-7", expected=float(rounds),
        measured=float(rounds_to_agree(schedule)), relative=0.0, absolute=0.0,
        source="exact after log2 n rounds" if title.startswith("one") else "the authors' code",
    )  # fmt: skip


def _line(title: str, left: np.ndarray) -> Line:
    shown = left[: int(np.argmax(left <= AGREED)) + 1] if (left <= AGREED).any() else left
    shown = np.maximum(shown, AGREED / 10)
    return Line(title, tuple(map(float, range(len(shown)))), tuple(map(float, shown)))


def _chart(nodes: int, lines: list[Line]) -> Chart:
    return Chart(
        title=f"Consensus, {nodes} nodes",
        lines=tuple(lines),
        x_label="rounds",
        y_label="consensus distance, of the first",
        caption="Undirected static graphs in the simulator, float32; one-way links and schedules "
        "as matrices. Curves end where 1e-7 is reached.",
    )
