from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest

from p2pfl.errors import ConfigError
from p2pfl.topology import epidemic
from p2pfl.topology.epidemic import el_local, el_oracle
from p2pfl.topology.schedules import Schedule

SIZES = [(n, s) for n in (2, 3, 5, 8, 11) for s in range(1, n)]


@pytest.mark.parametrize(("nodes", "degree"), SIZES)
def test_an_oracle_lets_everybody_send_to_and_hear_equally_many(nodes: int, degree: int) -> None:
    schedule = el_oracle(nodes, degree=degree, rounds=6, seed=0)
    for t in range(6):
        for node in schedule.nodes:
            row = schedule.row(t, node)
            assert len({peer for peer, _ in row}) == degree
            assert {weight for _, weight in row} == {1.0 / (1 + degree)}
            assert len(schedule.heard_by(t, node)) == degree
    assert schedule.doubly_stochastic


@pytest.mark.parametrize(("nodes", "degree"), SIZES)
def test_without_an_oracle_everybody_sends_equally_but_hears_by_chance(
    nodes: int, degree: int
) -> None:
    schedule = el_local(nodes, degree=degree, rounds=6, seed=0)
    for t in range(6):
        assert all(len(set(schedule.heard_by(t, node))) == degree for node in schedule.nodes)
        for row in schedule.rounds[t]:
            assert {weight for _, weight in row} <= {1.0 / (1 + len(row))}


def test_local_choices_do_not_keep_the_mean_of_one_round() -> None:
    schedule = el_local(20, degree=2, rounds=200, seed=0)
    assert not schedule.doubly_stochastic
    assert {len(row) for rows in schedule.rounds for row in rows} > {0, 2, 4}
    mean = np.mean([schedule.matrix(t) for t in range(200)], axis=0)
    np.testing.assert_allclose(mean.sum(axis=0), 1.0, atol=0.1)


@pytest.mark.parametrize("make", [el_oracle, el_local])
def test_every_pair_meets_equally_often(make: Callable[..., Schedule]) -> None:
    rounds, nodes, degree = 800, 8, 2
    schedule = make(nodes, degree=degree, rounds=rounds, seed=0)
    met = Counter(
        (node, peer) for t in range(rounds) for node in schedule.nodes
        for peer, _ in schedule.row(t, node)
    )  # fmt: skip
    assert len(met) == nodes * (nodes - 1)
    expected = rounds * degree / (nodes - 1)
    assert all(abs(count - expected) < 5 * expected**0.5 for count in met.values())


@pytest.mark.parametrize("make", [el_oracle, el_local])
def test_the_seed_alone_decides(make: Callable[..., Schedule]) -> None:
    one, same, other = (make(9, degree=3, rounds=4, seed=seed) for seed in (1, 1, 2))
    assert one == same != other
    assert one.directed
    assert one.rounds[0] != one.rounds[1]


@pytest.mark.parametrize("make", [el_oracle, el_local])
def test_what_cannot_be_is_refused(make: Callable[..., Schedule]) -> None:
    with pytest.raises(ConfigError, match=r"degree = 8; .* of 8 nodes each sends to 1 to 7"):
        make(8, degree=8, rounds=1, seed=0)
    with pytest.raises(ConfigError, match="rounds = 0; a schedule needs at least one"):
        make(8, degree=2, rounds=0, seed=0)
    with pytest.raises(ConfigError, match="nodes = 1"):
        make(1, degree=1, rounds=1, seed=0)


def test_a_pairing_that_cannot_be_mended_is_drawn_again() -> None:
    loops = [(0, 0), (1, 1), (2, 2)]
    assert not epidemic._swap_clashes_away(loops, seed=0, name="stuck")
    assert el_oracle(3, degree=1, rounds=20, seed=0).doubly_stochastic
