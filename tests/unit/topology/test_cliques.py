from itertools import combinations
from typing import get_args

import numpy as np
import pytest

from p2pfl.errors import ConfigError
from p2pfl.topology.cliques import Between, d_cliques, skew
from p2pfl.types import Array


def one_label_each(nodes: int, classes: int) -> Array:
    """The hardest case: every node holds a single label, in blocks."""
    counts = np.zeros((nodes, classes), dtype=np.int64)
    counts[range(nodes), np.arange(nodes) * classes // nodes] = 50
    return counts


def test_cliques_see_the_labels_in_the_proportions_of_all() -> None:
    counts = one_label_each(100, 10)
    cliques = d_cliques(counts, clique_size=10, seed=0)
    assert [skew(counts, clique) for clique in cliques.members] == pytest.approx([0.0] * 10)


def test_uneven_labels_are_spread_better_than_by_chance() -> None:
    counts = np.random.default_rng(0).dirichlet([0.1] * 10, size=60) * 1000
    cliques = d_cliques(counts, clique_size=10, seed=0)
    swapped = np.mean([skew(counts, clique) for clique in cliques.members])
    by_chance = np.mean([skew(counts, range(k, 60, 6)) for k in range(6)])
    assert swapped < 0.5 * by_chance


def test_a_node_with_more_samples_does_not_count_more() -> None:
    counts = one_label_each(20, 4)
    assert d_cliques(counts * np.arange(1, 21)[:, None], clique_size=4, seed=0) == d_cliques(
        counts, clique_size=4, seed=0
    )


@pytest.mark.parametrize("between", get_args(Between))
@pytest.mark.parametrize(("nodes", "size"), [(30, 5), (32, 5), (7, 7), (6, 1), (9, 4)])
def test_everybody_sits_in_one_clique_and_cliques_are_joined(
    nodes: int, size: int, between: Between
) -> None:
    cliques = d_cliques(one_label_each(nodes, 3), clique_size=size, between=between, seed=0)
    assert sorted(i for clique in cliques.members for i in clique) == list(range(nodes))
    sizes = {len(clique) for clique in cliques.members}
    assert max(sizes) <= size
    assert max(sizes) - min(sizes) <= 1
    inner = {pair for clique in cliques.members for pair in combinations(clique, 2)}
    assert inner <= set(cliques.graph.edges)
    assert cliques.graph.is_connected


def test_few_edges_lead_from_one_clique_to_another() -> None:
    counts, inner = one_label_each(100, 10), 10 * 45
    edges = {
        between: len(d_cliques(counts, clique_size=10, between=between, seed=0).graph.edges) - inner
        for between in get_args(Between)
    }
    assert edges["ring"] == 10
    assert edges["complete"] == 45
    assert edges["ring"] < edges["small_world"] < edges["complete"]


def test_links_between_cliques_are_shared_among_their_members() -> None:
    graph = d_cliques(one_label_each(100, 10), clique_size=10, between="complete", seed=0).graph
    assert set(graph.degrees) == {9, 10}


def test_the_seed_alone_decides() -> None:
    counts = one_label_each(30, 3)
    one, same, other = (d_cliques(counts, clique_size=5, seed=seed) for seed in (0, 0, 1))
    assert one == same != other


def test_what_makes_no_cliques_is_refused() -> None:
    counts = one_label_each(6, 3)
    with pytest.raises(ConfigError, match="clique_size = 7; allowed are 1 to 6"):
        d_cliques(counts, clique_size=7, seed=0)
    counts[4] = 0
    with pytest.raises(ConfigError, match="node n4 holds no sample"):
        d_cliques(counts, clique_size=3, seed=0)
