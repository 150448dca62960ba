import numpy as np
import pytest

from p2pfl.errors import ConfigError
from p2pfl.topology import generators, matcha, random_graphs
from p2pfl.topology.graph import Graph
from p2pfl.topology.matcha import activation_probabilities, best_weight, matchings

DUMBBELL = generators.from_edges(
    [(f"{side}{i}", f"{side}{j}") for side in "ab" for i in range(5) for j in range(i)]
    + [("a0", "b0")]
)
GRAPHS = {
    "dumbbell": DUMBBELL,
    "star": generators.star(6),
    "torus": generators.torus(4, 4),
    "regular": random_graphs.random_regular(30, degree=5, seed=0),
}
every_graph = pytest.mark.parametrize("graph", GRAPHS.values(), ids=GRAPHS)


def laplacian(graph: Graph, matching: tuple[tuple[int, int], ...]) -> np.ndarray:
    found = np.zeros((len(graph), len(graph)))
    for a, b in matching:
        found[a, a] += 1
        found[b, b] += 1
        found[a, b] -= 1
        found[b, a] -= 1
    return found


def connectivity(graph: Graph, chances: np.ndarray) -> float:
    """The second smallest eigenvalue of the expected Laplacian."""
    expected = sum(
        p * laplacian(graph, matching)
        for p, matching in zip(chances, matchings(graph), strict=True)
    )
    return float(np.linalg.eigvalsh(expected)[1])


@every_graph
def test_every_link_is_in_one_matching_and_no_node_twice_in_any(graph: Graph) -> None:
    found = matchings(graph)
    assert sorted(edge for matching in found for edge in matching) == list(graph.edges)
    for matching in found:
        ends = [end for edge in matching for end in edge]
        assert len(ends) == len(set(ends))
    assert len(found) <= 2 * max(graph.degrees) - 1


@every_graph
@pytest.mark.parametrize("budget", [0.1, 0.5, 0.9])
def test_the_probabilities_keep_to_the_budget_and_connect_best(graph: Graph, budget: float) -> None:
    chances = np.array(activation_probabilities(graph, budget=budget))
    assert ((chances >= 0.0) & (chances <= 1.0)).all()
    assert chances.mean() <= budget + 1e-6
    best = connectivity(graph, chances)
    rng = np.random.default_rng(0)
    for _ in range(200):
        other = np.clip(
            chances + 10.0 ** rng.uniform(-4, 0) * rng.standard_normal(len(chances)), 0, 1
        )
        other *= min(1.0, budget * len(chances) / other.sum())
        assert connectivity(graph, other) <= best + 1e-5


def test_the_link_that_holds_all_together_is_always_used() -> None:
    chances = activation_probabilities(DUMBBELL, budget=0.5)
    bridge = (DUMBBELL.nodes.index("a0"), DUMBBELL.nodes.index("b0"))
    (number,) = [
        m for m, matching in enumerate(matchings(DUMBBELL)) if tuple(sorted(bridge)) in matching
    ]
    assert chances[number] == pytest.approx(1.0, abs=1e-3)


@every_graph
def test_the_weight_leaves_least_of_the_expected_disagreement(graph: Graph) -> None:
    chances = activation_probabilities(graph, budget=0.5)
    parts = [laplacian(graph, matching) for matching in matchings(graph)]
    p = np.array(chances)
    mean = np.tensordot(p, parts, axes=1)
    squares = mean @ mean + 2 * np.tensordot(p * (1 - p), parts, axes=1)
    rest = np.eye(len(graph)) - 1 / len(graph)

    def left(weight: float) -> float:
        return float(
            np.abs(np.linalg.eigvalsh(rest - 2 * weight * mean + weight**2 * squares)).max()
        )

    found = best_weight(graph, chances)
    largest = 1 / max(graph.degrees)
    assert 0.0 < found <= largest
    assert left(found) <= min(left(w) for w in np.linspace(0.0, largest, 300)) + 1e-5


@every_graph
def test_rounds_have_whole_matchings_as_often_as_their_probability_says(graph: Graph) -> None:
    schedule = matcha.matcha(graph, budget=0.4, rounds=600, seed=0)
    chances = activation_probabilities(graph, budget=0.4)
    assert schedule.doubly_stochastic
    assert not schedule.directed
    position = {node: i for i, node in enumerate(schedule.nodes)}
    active = [
        {(position[peer], i) for i, row in enumerate(rows) for peer, _ in row}
        for rows in schedule.rounds
    ]
    for chance, matching in zip(chances, matchings(graph), strict=True):
        seen = np.array([[edge in edges for edge in matching] for edges in active])
        assert (seen.all(axis=1) == seen.any(axis=1)).all()
        assert abs(seen[:, 0].mean() - chance) < 4 * (chance * (1 - chance) / 600) ** 0.5 + 1e-6


def test_with_the_whole_budget_every_round_is_the_whole_graph() -> None:
    schedule = matcha.matcha(generators.ring(6), budget=1.0, rounds=3, seed=0)
    assert schedule.union() == generators.ring(6)
    assert len(set(schedule.rounds)) == 1


def test_a_lonely_node_rests() -> None:
    assert (
        matcha.matcha(generators.complete(1), budget=0.5, rounds=2, seed=0).rounds == (((),),) * 2
    )


def test_the_seed_alone_decides() -> None:
    one, same, other = (
        matcha.matcha(generators.ring(8), budget=0.5, rounds=9, seed=seed) for seed in (0, 0, 1)
    )
    assert one == same != other


def test_what_cannot_be_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    ring = generators.ring(6)
    with pytest.raises(ConfigError, match="budget = 0; allowed: above 0"):
        matcha.matcha(ring, budget=0, rounds=1, seed=0)
    with pytest.raises(ConfigError, match="rounds = 0"):
        matcha.matcha(ring, budget=0.5, rounds=0, seed=0)
    with pytest.raises(ConfigError, match="needs an undirected graph"):
        matcha.matcha(generators.exponential(8, directed=True), budget=0.5, rounds=1, seed=0)
    monkeypatch.setattr(matcha, "MAX_NODES", 5)
    with pytest.raises(ConfigError, match="at most 5 nodes"):
        matcha.matcha(ring, budget=0.5, rounds=1, seed=0)
