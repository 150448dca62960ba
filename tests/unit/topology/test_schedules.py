from collections.abc import Callable

import numpy as np
import pytest

from p2pfl.errors import ConfigError
from p2pfl.topology import schedules
from p2pfl.topology.graph import MAX_EDGES
from p2pfl.topology.schedules import (
    Schedule,
    from_edges_per_round,
    one_peer_exponential,
    one_peer_hypercube,
)
from p2pfl.types import NodeId

A, B, C = (NodeId(name) for name in "abc")

CHAIN = Schedule(
    (A, B, C),
    (
        (((B, 0.5),), ((A, 0.5),), ()),
        ((), ((C, 0.25),), ((B, 0.25),)),
    ),
)
ONE_WAY = from_edges_per_round(3, [[(0, 1, 0.5), (1, 2, 0.5), (2, 0, 0.5)]], directed=True)


def test_a_row_says_whom_a_node_hears_in_that_round() -> None:
    assert CHAIN.row(0, B) == ((A, 0.5),)
    assert CHAIN.row(1, B) == ((C, 0.25),)
    assert CHAIN.rows(B) == (((A, 0.5),), ((C, 0.25),))
    assert CHAIN.row(1, A) == ()


def test_after_the_last_round_the_first_comes_again() -> None:
    assert CHAIN.period == 2
    assert CHAIN.row(6, A) == CHAIN.row(0, A)
    assert CHAIN.heard_by(7, C) == CHAIN.heard_by(1, C) == (B,)
    np.testing.assert_array_equal(CHAIN.matrix(3), CHAIN.matrix(1))


def test_on_one_way_links_who_hears_a_node_is_not_whom_it_hears() -> None:
    n0, n1, n2 = ONE_WAY.nodes
    assert ONE_WAY.directed
    assert ONE_WAY.row(0, n1) == ((n0, 0.5),)
    assert ONE_WAY.heard_by(0, n1) == (n2,)
    assert not CHAIN.directed


def test_what_a_row_leaves_of_one_is_the_nodes_own_weight() -> None:
    np.testing.assert_array_equal(
        CHAIN.matrix(1), [[1.0, 0.0, 0.0], [0.0, 0.75, 0.25], [0.0, 0.25, 0.75]]
    )


def test_the_product_applies_the_first_round_first() -> None:
    first, second = CHAIN.matrix(0), CHAIN.matrix(1)
    np.testing.assert_allclose(CHAIN.product(), second @ first)
    assert not np.allclose(second @ first, first @ second)


def test_mixing_without_a_matrix_is_mixing_with_it() -> None:
    x = np.random.default_rng(0).standard_normal((3, 2))
    for schedule in (CHAIN, ONE_WAY):
        matrix = schedule.matrix(0)
        np.testing.assert_allclose(schedule.mixed(0, x), matrix @ x)
        np.testing.assert_allclose(schedule.mixed(0, x, transposed=True), matrix.T @ x)


def test_a_schedule_whose_columns_do_not_sum_to_one_does_not_keep_the_mean() -> None:
    assert CHAIN.doubly_stochastic
    assert ONE_WAY.doubly_stochastic
    assert not Schedule((A, B), ((((B, 0.5),), ()),)).doubly_stochastic


def test_the_mean_rows_are_the_expected_matrix() -> None:
    mean = (CHAIN.matrix(0) + CHAIN.matrix(1)) / 2
    assert CHAIN.mean_rows() == {A: ((B, 0.25),), B: ((A, 0.25), (C, 0.125)), C: ((B, 0.125),)}
    assert mean[1, 2] == 0.125


def test_the_union_has_every_link_of_every_round() -> None:
    assert CHAIN.union().edges == ((0, 1), (1, 2))
    assert ONE_WAY.union().edges == ((0, 1), (1, 2), (2, 0))
    assert ONE_WAY.union().directed


def test_a_schedule_that_never_joins_everybody_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match="n2 cannot be reached from n0"):
        from_edges_per_round(4, [[(0, 1, 0.5), (2, 3, 0.5)]]).union()


def test_a_schedule_tells_what_it_is() -> None:
    assert repr(CHAIN) == "Schedule(3 nodes, 2 rounds, undirected)"
    assert (len(CHAIN), CHAIN.degree_max) == (3, 1)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: Schedule((A,), ()), "at least one round"),
        (lambda: Schedule((A, B), (((),),)), "needs 2 rows"),
        (lambda: Schedule((A,), ((((A, 0.5),),),)), "a cannot hear 'a'"),
        (lambda: Schedule((A,), ((((B, 0.5),),),)), "a cannot hear 'b'"),
        (lambda: Schedule((A, B), ((((B, 0.0),), ()),)), "weight 0; allowed: above 0"),
        (lambda: Schedule((A, B, C), ((((B, 0.6), (C, 0.6)), (), ()),)), "sum to more than 1"),
        (lambda: CHAIN.row(0, NodeId("d")), "no node 'd' in this schedule"),
        (lambda: one_peer_exponential(1), "nodes = 1"),
        (lambda: one_peer_hypercube(12), 'power of two; .* kind = "base"'),
    ],
)
def test_what_is_no_schedule_is_refused(make: Callable[[], object], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        make()


def test_a_schedule_has_a_largest_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schedules, "MAX_EDGES", 3)
    assert MAX_EDGES > 3
    with pytest.raises(ConfigError, match=r"2 rounds has 4 links, more than 3; take fewer rounds"):
        from_edges_per_round(2, [[(0, 1, 0.5)], [(0, 1, 0.5)]])


@pytest.mark.parametrize("nodes", [2, 4, 8, 16, 64])
def test_one_peer_exponential_averages_exactly_for_powers_of_two(nodes: int) -> None:
    schedule = one_peer_exponential(nodes)
    assert schedule.period == nodes.bit_length() - 1
    np.testing.assert_allclose(schedule.product(), 1.0 / nodes, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("nodes", "distance"), [(5, 0.306), (6, 0.354), (7, 0.306), (12, 0.354), (25, 0.351)]
)
def test_one_peer_exponential_misses_the_mean_elsewhere(nodes: int, distance: float) -> None:
    product = one_peer_exponential(nodes).product()
    assert np.linalg.norm(product - 1.0 / nodes) == pytest.approx(distance, abs=5e-4)


def test_one_peer_exponential_has_one_peer_per_round_and_keeps_the_mean() -> None:
    schedule = one_peer_exponential(12)
    assert schedule.directed
    assert schedule.doubly_stochastic
    assert schedule.degree_max == 1
    assert schedule.row(1, NodeId("n0")) == (("n10", 0.5),)


@pytest.mark.parametrize("nodes", [2, 8, 32])
def test_one_peer_hypercube_averages_exactly_in_pairs(nodes: int) -> None:
    schedule = one_peer_hypercube(nodes)
    assert schedule.period == nodes.bit_length() - 1
    assert not schedule.directed
    assert all(len(row) == 1 for rows in schedule.rounds for row in rows)
    np.testing.assert_allclose(schedule.product(), 1.0 / nodes, rtol=0, atol=1e-12)


def test_on_links_that_come_each_round_nobody_is_ahead_by_more_than_one() -> None:
    pair = from_edges_per_round(2, [[(0, 1, 0.5)]])
    assert pair.lead_max() == 1


def test_a_node_is_ahead_at_most_until_it_needs_who_waits() -> None:
    """n1 meets n0, then n2 twice: the third round is the last before it needs n0 again."""
    meets = [[(0, 1, 0.5)], [(1, 2, 0.5)], [(1, 2, 0.5)]]
    assert from_edges_per_round(3, meets).lead_max() == 3


def test_on_a_one_way_circle_the_lead_is_the_way_back() -> None:
    circle = [[(i, (i + 1) % 5, 0.5) for i in range(5)]]
    assert from_edges_per_round(5, circle, directed=True).lead_max() == 4
    assert one_peer_exponential(16).lead_max() == 4
