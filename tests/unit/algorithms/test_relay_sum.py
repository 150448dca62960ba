"""RelaySum: what each node says and counts, and that both ends of a link agree on it to the bit."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.society import Society

from p2pfl.algorithms.base import Local, Surroundings
from p2pfl.algorithms.relay_sum import RelayState, RelaySum, Sum
from p2pfl.messages import Header, Incarnation, Neighbour
from p2pfl.topology import generators
from p2pfl.topology.weights import mixing_matrix
from p2pfl.types import NodeId, Vector

N1, N2 = NodeId("n1"), NodeId("n2")
EDGES = [("n0", "n1"), ("n1", "n2"), ("n1", "n3"), ("n3", "n4"), ("n3", "n5")]
TREE = mixing_matrix(generators.from_edges(EDGES), weights="metropolis")
LINKS = [(int(i), int(j)) for i, j in np.argwhere(TREE) if i != j]
OPTIMA = np.random.default_rng(0).standard_normal((6, 3)).astype(np.float32)
HERE = Local(NodeId("n0"), version=0, samples=1, steps=0)


def vector(*values: float) -> Vector:
    return np.array(values, dtype=np.float32)


def neighbour(peer: NodeId, mean: Vector, count: int, *, epoch: int = 0) -> Neighbour:
    header = Header(
        "run", "schema", peer, Incarnation(1, 7), 1, 1, 0, 0.0, epoch=epoch, words=(count,)
    )
    return Neighbour(peer, 0.25, 1.0, True, False, 0, header, mean)


def society(rate: float = 0.05) -> Society:
    def gradient(i: int, x: Vector) -> Vector:
        return np.asarray(np.float32(1 + i) * (x - OPTIMA[i]))

    return Society(RelaySum(), TREE, gradient, dimension=3, rate=rate)


def test_a_neighbour_is_told_what_all_the_others_said_and_itself() -> None:
    rule = RelaySum()
    state = rule.initial(vector(1.0))
    step = rule.advance(state, HERE, [neighbour(N1, vector(3.0), 1), neighbour(N2, vector(5.0), 1)])
    assert step.train is not None
    assert step.train.start == vector(3.0)
    done = rule.finish(step.state, HERE, [], vector(4.0))
    (said,) = done.outgoing
    assert (said.vector, said.words) == (vector(4.0), (3,))
    # n1's next word is about itself, this node and one that lies behind: 6 + 1 + 2 = 3 x 3.
    again = rule.advance(
        done.state, HERE, [neighbour(N1, vector(3.0), 3), neighbour(N2, vector(7.0), 2)]
    )
    assert again.state.received[N1] == Sum(vector(8.0), 2)
    assert again.state.received[N2] == Sum(vector(13.0), 1)
    assert again.state.sent[N1] == Sum(vector(9.0), 2)
    assert again.train is not None
    assert again.train.start == vector((4.0 + 8.0 + 13.0) / 4.0)


def test_who_is_missed_or_in_another_epoch_counts_for_nothing() -> None:
    rule = RelaySum()
    step = rule.advance(
        rule.initial(vector(1.0)),
        HERE,
        [neighbour(N1, vector(3.0), 1), neighbour(N2, vector(9.0), 1, epoch=4)],
    )
    assert step.state.start == vector(2.0)
    assert (step.state.received, step.state.sent) == ({}, {})
    done = rule.finish(step.state, HERE, [], vector(6.0))
    assert (done.outgoing[0].vector, done.outgoing[0].words) == (vector(6.0), (1,))
    assert done.outgoing[0].epoch == 4
    back = rule.resumed(done.state)
    assert (back.mean, back.number, back.members.epoch) == (vector(6.0), 1, 4)


def test_it_serves_the_mean_that_it_knows_of() -> None:
    rule, state = RelaySum(), RelayState(vector(1.0), mean=vector(2.0), number=5)
    assert rule.served(state, []) == vector(2.0)
    assert rule.public(state) == vector(1.0)


def test_an_update_may_count_twice() -> None:
    rule = RelaySum().at(Surroundings(NodeId("n0"), scale=2.0))
    step = rule.advance(rule.initial(vector(0.0)), HERE, [])
    assert rule.finish(step.state, HERE, [], vector(1.0)).state.x == vector(2.0)


def test_after_as_many_rounds_as_the_tree_is_wide_everybody_counts_everybody() -> None:
    nodes, counts = society(), []
    for _ in range(5):
        nodes.step()
        counts.append([state.number for state in nodes.states])
    assert counts[-1] == [6] * 6
    assert counts[0] == [1 + len(heard) for heard in nodes.heard]


def test_both_ends_of_every_link_agree_to_the_bit_at_every_version() -> None:
    nodes = society()
    for _ in range(200):
        nodes.step()
        for i, j in LINKS:
            theirs = nodes.states[j].received[NodeId(f"n{i}")]
            mine = nodes.states[i].sent[NodeId(f"n{j}")]
            assert np.array_equal(theirs.models, mine.models)
            assert theirs.number == mine.number


def test_rounding_does_not_add_up_over_thousands_of_rounds() -> None:
    """Without learning all come to one mean, and stay there."""
    nodes = society(rate=0.0)
    for i, state in enumerate(nodes.states):
        x = (OPTIMA[i] * np.float32(100.0)).astype(np.float32)
        nodes.states[i] = state._replace(x=x, mean=x)
        nodes.said[i] = nodes.rules[i].opening(nodes.states[i])[0]
    means = []
    for k in range(3000):
        nodes.step()
        if k in {300, 2999}:
            means.append(np.stack([state.mean for state in nodes.states]))
    before, after = means
    np.testing.assert_allclose(after, before, rtol=1e-5)
    np.testing.assert_allclose(before, np.tile(before[0], (6, 1)), rtol=1e-5)


@given(
    history=st.lists(
        st.tuples(
            st.sets(st.sampled_from(LINKS), max_size=4),
            st.one_of(st.none(), st.integers(0, 5)),
        ),
        max_size=12,
    )
)
@settings(max_examples=40, deadline=None)
def test_after_omissions_and_restarts_everybody_counts_everybody_once_again(
    history: list[tuple[set[tuple[int, int]], int | None]],
) -> None:
    nodes = society()
    for left_out, restarted in history:
        if restarted is not None:
            nodes.restart(restarted)
        nodes.step(left_out=left_out)
    for _ in range(12):
        nodes.step()
    assert [state.number for state in nodes.states] == [6] * 6
    for i, j in LINKS:
        theirs = nodes.states[j].received[NodeId(f"n{i}")]
        assert np.array_equal(theirs.models, nodes.states[i].sent[NodeId(f"n{j}")].models)


@pytest.mark.parametrize(("dead", "pieces"), [(0, [[1, 2, 3, 4, 5]]), (3, [[0, 1, 2], [4], [5]])])
def test_the_pieces_that_a_death_leaves_go_on_to_their_own_optima(
    dead: int, pieces: list[list[int]]
) -> None:
    nodes = society()
    for _ in range(30):
        nodes.step()
    for _ in range(500):
        nodes.step(dead={dead})
    for piece in pieces:
        weights = np.array([1.0 + i for i in piece])[:, None]
        optimum = (weights * OPTIMA[piece]).sum(axis=0) / weights.sum()
        served = np.stack([nodes.states[i].mean for i in piece])
        np.testing.assert_allclose(served, np.tile(optimum, (len(piece), 1)), atol=1e-4)
