import math
from collections.abc import Callable

import numpy as np
import pytest

from p2pfl.errors import ConfigError
from p2pfl.topology.base_graph import base, hyper_hypercube, simple_base
from p2pfl.topology.schedules import Schedule

PUBLISHED = {
    1: "3:3 4:2 5:5 6:4/5 7:5 8:3 9:7 10:6/7 11:7 12:5/7 13:7 14:6/7 15:7 16:4 17:9 21:9 25:9 "
    "32:5 33:11 64:6 100:11/13",
    2: "5:3 6:2 7:4 9:2 12:3 25:6 27:3 100:8/9",
    3: "5:3 7:3 16:2 25:5 64:3",
    4: "5:1 7:3 25:2 100:3",
}
"""k -> nodes : rounds of the base graph / of the simple one where it is longer."""


def published() -> list[tuple[int, int, int, int]]:
    found = []
    for degree, words in PUBLISHED.items():
        for word in words.split():
            nodes, _, lengths = word.partition(":")
            short, _, long = lengths.partition("/")
            found.append((degree, int(nodes), int(short), int(long or short)))
    return found


def assert_exact(schedule: Schedule, *, degree: int) -> None:
    nodes = len(schedule)
    np.testing.assert_allclose(schedule.product(), 1.0 / nodes, rtol=0, atol=1e-12)
    assert schedule.degree_max <= degree
    assert schedule.doubly_stochastic
    assert not schedule.directed
    assert schedule.period <= 2 * math.log(nodes, degree + 1) + 2 + 1e-9


@pytest.mark.parametrize(("degree", "nodes", "length", "length_simple"), published())
def test_base_graphs_have_their_published_lengths(
    degree: int, nodes: int, length: int, length_simple: int
) -> None:
    assert base(nodes, degree=degree).period == length
    assert simple_base(nodes, degree=degree).period == length_simple


@pytest.mark.parametrize("nodes", [*range(2, 33), 50, 97])
def test_base_graphs_average_exactly_for_any_number_of_nodes_and_peers(nodes: int) -> None:
    for degree in {1, 2, 3, 4, 5, 7, nodes // 2, nodes - 1}:
        if 1 <= degree < nodes:
            assert_exact(base(nodes, degree=degree), degree=degree)
            assert_exact(simple_base(nodes, degree=degree), degree=degree)


def test_with_all_others_as_peers_one_round_is_enough() -> None:
    assert base(11, degree=10).period == 1


@pytest.mark.parametrize(("nodes", "degree", "rounds"), [(12, 2, 3), (30, 4, 3), (100, 4, 3)])
def test_a_hyper_hypercube_has_a_round_for_each_factor(
    nodes: int, degree: int, rounds: int
) -> None:
    schedule = hyper_hypercube(nodes, degree=degree)
    assert schedule.period == rounds
    assert_exact(schedule, degree=degree)


@pytest.mark.parametrize("make", [base, simple_base, hyper_hypercube])
def test_peers_out_of_range_are_refused(make: Callable[..., Schedule]) -> None:
    for degree in (0, 8):
        with pytest.raises(ConfigError, match=rf"degree = {degree}; .* of 8 nodes needs 1 to 7"):
            make(8, degree=degree)
    with pytest.raises(ConfigError, match="nodes = 1; "):
        make(1, degree=1)


def test_a_hyper_hypercube_of_a_large_prime_is_refused_with_the_way_out() -> None:
    with pytest.raises(ConfigError, match=r'prime factor above degree \+ 1 = 3.*kind = "base"'):
        hyper_hypercube(14, degree=2)
