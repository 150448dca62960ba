"""Mixing all nodes at once gives the same bits as mixing one node after the other."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pfl.algorithms.base import Local
from p2pfl.algorithms.dpsgd import DPSGD
from p2pfl.algorithms.mixing import mix
from p2pfl.algorithms.pull_mix import PullMix
from p2pfl.algorithms.rounds import Held, Turn
from p2pfl.algorithms.rows import Links, RowMix, Spread, links_of
from p2pfl.messages import Neighbour
from p2pfl.types import NodeId, Rows


def heard_by(links: Links, receiver: int, heard: Rows) -> list[Neighbour]:
    mine = slice(links.first[receiver], links.first[receiver + 1])
    return [
        Neighbour(NodeId(f"n{j}"), float(w), 1.0, True, False, 0, None, heard[j])
        for j, w in zip(links.sender[mine].tolist(), links.weight[mine], strict=True)
    ]


def drawn_links(rng: np.random.Generator, nodes: int, degree_max: int) -> Links:
    return links_of(
        [
            [
                (int(j), float(rng.uniform(0.0, 0.5)))
                for j in rng.permutation(nodes)[: rng.integers(0, degree_max + 1)]
                if j != i
            ]
            for i in range(nodes)
        ]
    )


def bits(array: Rows) -> bytes:
    """Zeros of either sign count as different."""
    return array.tobytes()


@pytest.mark.parametrize("dimension", [1, 7, 20_000, 70_000])
@given(seed=st.integers(0, 1000), nodes=st.integers(1, 12), degree_max=st.integers(0, 5))
@settings(max_examples=15, deadline=None)
def test_every_row_has_the_bits_of_the_one_node_mix(
    dimension: int, seed: int, nodes: int, degree_max: int
) -> None:
    rng = np.random.default_rng(seed)
    links = drawn_links(rng, nodes, degree_max)
    own = rng.standard_normal((nodes, dimension)).astype(np.float32)
    own[rng.random(own.shape) < 0.1] = -0.0
    heard = rng.standard_normal((nodes, dimension)).astype(np.float32)
    mixed = RowMix(links, dimension)(own, heard)
    for i in range(nodes):
        assert bits(mixed[i]) == bits(mix(own[i], heard_by(links, i, heard)))


def last_part_first(work: Callable[[int], None]) -> None:
    work(1)
    work(0)


def test_many_rows_go_in_blocks() -> None:
    rng = np.random.default_rng(3)
    links = drawn_links(rng, 300, 6)
    own = rng.standard_normal((300, 1000)).astype(np.float32)
    room = np.empty_like(own)
    mix_all = RowMix(links, 1000)
    mixed = mix_all(own, own, room)
    assert mixed is room
    mix_all.spread = Spread(2, last_part_first)
    assert bits(mix_all(own, own)) == bits(room)
    for i in range(300):
        assert bits(mixed[i]) == bits(mix(own[i], heard_by(links, i, own)))


def test_links_of_some_receivers_keep_their_order_and_leave_out_the_absent() -> None:
    links = links_of([[(1, 0.1), (2, 0.2)], [], [(0, 0.3), (1, 0.4), (3, 0.5)], [(2, 0.6)]])
    assert links.degree.tolist() == [2, 0, 3, 1]
    assert links.receiver.tolist() == [0, 0, 2, 2, 2, 3]
    present = np.array([True, True, True, False, True, False])
    some = links.among(np.array([2, 1, 3]), present)
    assert some.first.tolist() == [0, 2, 2, 2]
    assert some.sender.tolist() == [0, 3]
    assert np.array_equal(some.weight, [0.3, 0.5])


def test_an_algorithm_goes_event_by_event_unless_it_says_otherwise() -> None:
    assert PullMix().in_rounds(np.zeros(3, np.float32), {NodeId("n0"): PullMix()}) is None


@given(seed=st.integers(0, 1000))
@settings(max_examples=20, deadline=None)
def test_dpsgd_in_rounds_has_the_bits_of_dpsgd_node_by_node(seed: int) -> None:
    rng = np.random.default_rng(seed)
    links = drawn_links(rng, 6, 4)
    x0 = rng.standard_normal(11).astype(np.float32)
    rules = [DPSGD(scale=scale) for scale in (1.0, 2.0, 1.0, 0.5, 1.0, 1.0)]
    states = [rule.initial(x0) for rule in rules]
    rounds = DPSGD().in_rounds(x0, {NodeId(f"n{i}"): rule for i, rule in enumerate(rules)})
    turn = Turn(0, np.ones(6, np.int64), np.zeros(6))
    for _ in range(4):
        (x,) = rounds.handed_out()
        held = Held((x,), links, None, RowMix(links, 11))
        moves = rng.standard_normal((6, 11)).astype(np.float32)
        before = x.copy()
        there = np.ones(len(links.sender), np.bool_)
        some = RowMix(links.among(np.array([4, 1]), there), 11)
        served = rounds.served(np.array([4, 1]), Held((x,), links, there, some))
        trained = rounds.begin(held, turn).start
        trained += moves
        rounds.end(trained, turn)
        for i, rule in enumerate(rules):
            local, seen = Local(NodeId(f"n{i}"), 0, 1, 0), heard_by(links, i, before)
            if i in (4, 1):
                assert bits(served[(4, 1).index(i)]) == bits(rule.served(states[i], seen))
            begun = rule.advance(states[i], local, seen)
            assert begun.train is not None
            ended = rule.finish(begun.state, local, seen, begun.train.start + moves[i])
            states[i] = ended.state
        assert bits(rounds.public()) == bits(np.stack([state.x for state in states]))
