from collections.abc import Callable

import numpy as np
import pytest

from p2pfl.errors import ConfigError
from p2pfl.theory import consensus
from p2pfl.topology import generators, random_graphs
from p2pfl.topology.base_graph import base
from p2pfl.topology.graph import Graph
from p2pfl.topology.schedules import Schedule, one_peer_exponential
from p2pfl.topology.spectrum import second_absolute_eigenvalue
from p2pfl.topology.weights import mixing_matrix

FAMILIES: list[tuple[Callable[[int], float], Callable[[int], Graph], range]] = [
    (consensus.ring, generators.ring, range(3, 40)),
    (consensus.path, generators.path, range(3, 40)),
    (consensus.star, generators.star, range(3, 40)),
    (consensus.complete, generators.complete, range(2, 40)),
]


@pytest.mark.parametrize(("formula", "build", "sizes"), FAMILIES)
def test_a_closed_form_is_the_eigenvalue_for_every_size(
    formula: Callable[[int], float], build: Callable[[int], Graph], sizes: range
) -> None:
    for nodes in sizes:
        matrix = mixing_matrix(build(nodes), weights="metropolis")
        assert formula(nodes) == pytest.approx(second_absolute_eigenvalue(matrix), abs=1e-9)


@pytest.mark.parametrize("sides", [(3, 3), (3, 8), (4, 4), (5, 4), (6, 7)])
def test_the_torus_has_its_closed_form(sides: tuple[int, int]) -> None:
    matrix = mixing_matrix(generators.torus(*sides), weights="metropolis")
    assert consensus.torus(*sides) == pytest.approx(second_absolute_eigenvalue(matrix))


@pytest.mark.parametrize("bits", range(1, 8))
def test_the_hypercube_has_its_closed_form(bits: int) -> None:
    matrix = mixing_matrix(generators.hypercube(2**bits), weights="metropolis")
    assert consensus.hypercube(2**bits) == pytest.approx(
        second_absolute_eigenvalue(matrix), abs=1e-9
    )


@pytest.mark.parametrize("nodes", [2, 4, 6, 8, 10, 12, 16, 20, 26, 32, 64])
def test_one_way_exponential_graphs_contract_by_their_closed_form(nodes: int) -> None:
    matrix = mixing_matrix(generators.exponential(nodes, directed=True), weights="uniform")
    contraction = np.linalg.norm(matrix - 1.0 / nodes, ord=2)
    assert consensus.exponential(nodes) == pytest.approx(float(contraction), abs=1e-9)


def test_odd_exponential_graphs_do_not_contract_more_slowly() -> None:
    matrix = mixing_matrix(generators.exponential(33, directed=True), weights="uniform")
    odd = float(np.linalg.norm(matrix - 1.0 / 33, ord=2))
    assert odd == pytest.approx(0.607800, abs=1e-6)
    assert odd < consensus.exponential(34)


@pytest.mark.parametrize(
    ("found", "published"),
    [
        (consensus.ring(5), 0.539345),
        (consensus.ring(8), 0.804738),
        (consensus.ring(16), 0.949253),
        (consensus.ring(32), 0.987190),
        (consensus.ring(64), 0.996790),
        (consensus.torus(4, 4), 0.6),
        (consensus.torus(5, 5), 0.723607),
        (consensus.torus(8, 8), 0.882843),
        (consensus.star(8), 0.875),
        (consensus.star(16), 0.9375),
        (consensus.exponential(4), 1 / 3),
        (consensus.exponential(8), 0.5),
        (consensus.exponential(16), 0.6),
        (consensus.exponential(32), 2 / 3),
        (consensus.exponential(64), 0.714286),
        (consensus.random_regular(4), 0.893),
        (consensus.random_regular(6), 0.782),
        (consensus.random_regular(8), 0.699),
    ],
)
def test_lambda_has_its_known_numbers(found: float, published: float) -> None:
    assert found == pytest.approx(
        published, abs=5e-4 if published in {0.893, 0.782, 0.699} else 6e-7
    )


@pytest.mark.parametrize(("nodes", "degree"), [(64, 4), (256, 8), (500, 6)])
def test_random_regular_graphs_come_near_their_estimate(nodes: int, degree: int) -> None:
    graph = random_graphs.random_regular(nodes, degree=degree, seed=0)
    found = second_absolute_eigenvalue(mixing_matrix(graph, weights="metropolis"))
    assert found == pytest.approx(consensus.random_regular(degree), rel=0.05)


def test_disagreement_falls_by_lambda_each_round() -> None:
    matrix = mixing_matrix(generators.ring(16), weights="metropolis")
    models = np.random.default_rng(0).standard_normal((16, 3))
    before = np.linalg.norm(models - models.mean(axis=0))
    for rounds in range(1, 200):
        models = matrix @ models
        distance = np.linalg.norm(models - models.mean(axis=0))
        assert distance <= consensus.ring(16) ** rounds * before * (1 + 1e-9)


@pytest.mark.parametrize(
    "ask",
    [
        lambda: consensus.ring(2),
        lambda: consensus.path(2),
        lambda: consensus.star(2),
        lambda: consensus.complete(0),
        lambda: consensus.torus(2, 3),
        lambda: consensus.torus(3, 2),
        lambda: consensus.hypercube(12),
        lambda: consensus.hypercube(1),
        lambda: consensus.exponential(7),
        lambda: consensus.exponential(0),
        lambda: consensus.random_regular(2),
    ],
)
def test_no_formula_is_stretched_beyond_its_range(ask: Callable[[], float]) -> None:
    with pytest.raises(ConfigError, match="theory: "):
        ask()


def start(nodes: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((nodes, 50))


@pytest.mark.parametrize("nodes", [16, 25, 64])
def test_consensus_curves_of_static_graphs_fall_with_lambda(nodes: int) -> None:
    """The slope in the end is lambda, and nowhere is the fall slower."""
    side = round(nodes**0.5)
    for graph, second in (
        (generators.ring(nodes), consensus.ring(nodes)),
        (generators.torus(side, side), consensus.torus(side, side)),
        (generators.path(nodes), consensus.path(nodes)),
    ):
        matrix = mixing_matrix(graph, weights="metropolis")
        curve = consensus.consensus_curve(matrix, start(nodes), rounds=4_000)
        seen = np.flatnonzero(curve > 1e-9 * curve[0])[-1]
        late = (curve[seen] / curve[seen // 2]) ** (1 / (seen - seen // 2))
        assert late == pytest.approx(second, rel=2e-3)
        assert (curve[1:seen] <= curve[: seen - 1] * second * (1 + 1e-9)).all()


@pytest.mark.parametrize("nodes", [16, 64])
def test_consensus_curves_of_one_way_exponential_graphs_fall_at_least_with_lambda(
    nodes: int,
) -> None:
    matrix = mixing_matrix(generators.exponential(nodes, directed=True), weights="uniform")
    curve = consensus.consensus_curve(matrix, start(nodes), rounds=20)
    assert (curve[1:] <= curve[:-1] * consensus.exponential(nodes) * (1 + 1e-9)).all()


@pytest.mark.parametrize(
    ("schedule", "rounds"),
    [
        (one_peer_exponential(16), 4),
        (one_peer_exponential(64), 6),
        (base(16, degree=1), 4),
        (base(25, degree=1), 9),
        (base(25, degree=2), 6),
        (base(25, degree=4), 2),
        (base(64, degree=1), 6),
        (base(64, degree=3), 3),
    ],
)
def test_exact_schedules_hit_0_at_their_last_round_and_not_before(
    schedule: Schedule, rounds: int
) -> None:
    matrices = [schedule.matrix(t) for t in range(schedule.period)]
    curve = consensus.consensus_curve(matrices, start(len(schedule)), rounds=2 * rounds)
    assert (curve[:rounds] > 1e-2).all()
    assert (curve[rounds:] < 1e-7 * curve[0]).all()


def test_one_peer_exponential_does_not_hit_0_for_25_nodes() -> None:
    schedule = one_peer_exponential(25)
    matrices = [schedule.matrix(t) for t in range(schedule.period)]
    curve = consensus.consensus_curve(matrices, start(25), rounds=10)
    assert 1e-3 < curve[5] / curve[0] < 0.2
    assert curve[10] < curve[5]


def test_the_consensus_distance_is_the_root_mean_square_distance_from_the_mean() -> None:
    assert consensus.consensus_distance(np.array([[0.0, 0.0], [6.0, 8.0]])) == 5.0
    curve = consensus.consensus_curve(np.eye(2), np.array([[0.0], [2.0]]), rounds=3)
    assert curve.tolist() == [1.0] * 4
