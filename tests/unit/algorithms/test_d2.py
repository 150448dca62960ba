"""D2: what each node does, and what holds of all corrections together."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from support.society import Society

from p2pfl.algorithms.base import Local, Surroundings
from p2pfl.algorithms.d2 import D2, CorrectedState
from p2pfl.messages import Header, Incarnation, Neighbour
from p2pfl.topology import generators
from p2pfl.topology.weights import mixing_matrix
from p2pfl.types import NodeId, Vector

RING = mixing_matrix(generators.ring(5), weights="metropolis")
OPTIMA = np.random.default_rng(0).standard_normal((5, 3)).astype(np.float32)
PAIRS = [(i, j) for i in range(5) for j in ((i - 1) % 5, (i + 1) % 5)]
HERE = Local(NodeId("n0"), version=0, samples=1, steps=0)


def vector(*values: float) -> Vector:
    return np.array(values, dtype=np.float32)


def neighbour(model: Vector, *, peer: str = "n1", epoch: int = 0, life: int = 1) -> Neighbour:
    node = NodeId(peer)
    header = Header("run", "schema", node, Incarnation(life, 7), 1, 1, 0, 0.0, epoch=epoch)
    return Neighbour(node, 0.25, 1.0, True, False, 0, header, model)


def society() -> Society:
    def gradient(i: int, x: Vector) -> Vector:
        return np.asarray(np.float32(1 + i) * (x - OPTIMA[i]))

    return Society(D2(), RING, gradient, dimension=3)


def moved(nodes: Society, *, among: tuple[int, ...] = (0, 1, 2, 3, 4)) -> np.ndarray:
    return np.asarray(np.sum([nodes.states[i].moved for i in among], axis=0, dtype=np.float64))


def test_half_of_what_mixing_moves_is_remembered_and_added_to_what_training_gives() -> None:
    rule = D2()
    step = rule.advance(rule.initial(vector(0.0)), HERE, [neighbour(vector(8.0))])
    assert step.train is not None
    assert step.train.start == vector(1.0)
    assert step.state.moved == vector(1.0)
    done = rule.finish(step.state, HERE, [], vector(0.5))
    (said,) = done.outgoing
    assert said.vector == done.state.x == vector(1.5)
    again = rule.advance(done.state, HERE, [neighbour(vector(-2.5))])
    assert again.state.moved == vector(0.5)


def test_who_is_in_another_epoch_is_mixed_and_corrects_nothing() -> None:
    rule, state = D2(), CorrectedState(vector(0.0), moved=vector(3.0))
    neighbours = [neighbour(vector(8.0)), neighbour(vector(16.0), peer="n2")]
    heard = rule.advance(state, HERE, neighbours).state
    assert (heard.start, heard.moved) == (vector(3.0), vector(6.0))
    behind = heard._replace(members=heard.members._replace(epoch=1), moved=vector(3.0))
    mixed = [neighbour(vector(8.0), epoch=1), neighbour(vector(16.0), peer="n2", epoch=0)]
    partly = rule.advance(behind, HERE, mixed).state
    assert (partly.start, partly.moved) == (vector(3.0), vector(4.0))


def test_a_new_epoch_forgets_what_mixing_has_moved() -> None:
    rule, state = D2(), CorrectedState(vector(0.0), moved=vector(3.0))
    known = rule.advance(state, HERE, [neighbour(vector(8.0))]).state
    step = rule.advance(known, HERE, [neighbour(vector(8.0), life=2)])
    assert step.state.moved == vector(0.0)
    done = rule.finish(step.state, HERE, [], vector(0.5))
    assert done.outgoing[0].epoch == 1
    back = rule.resumed(done.state)
    assert (back.x, back.moved, back.members.epoch) == (vector(0.5), vector(0.0), 1)


def test_an_update_may_count_twice() -> None:
    rule = D2().at(Surroundings(NodeId("n0"), scale=2.0))
    step = rule.advance(rule.initial(vector(0.0)), HERE, [])
    assert rule.finish(step.state, HERE, [], vector(1.0)).state.x == vector(2.0)


def test_it_serves_the_mix() -> None:
    rule = D2()
    assert rule.served(rule.initial(vector(0.0)), [neighbour(vector(8.0))]) == vector(2.0)
    assert rule.public(rule.initial(vector(3.0))) == vector(3.0)
    assert not rule.capabilities.compressible


def test_what_mixing_has_moved_cancels_over_all_nodes_at_every_version() -> None:
    nodes = society()
    for _ in range(300):
        nodes.step()
        assert np.abs(moved(nodes)).max() < 1e-5


@given(
    history=st.lists(
        st.tuples(
            st.sets(st.sampled_from(PAIRS), max_size=4),
            st.one_of(st.none(), st.integers(0, 4)),
        ),
        max_size=12,
    )
)
@settings(max_examples=40, deadline=None)
def test_after_omissions_and_restarts_it_cancels_again(
    history: list[tuple[set[tuple[int, int]], int | None]],
) -> None:
    nodes = society()
    for left_out, restarted in history:
        if restarted is not None:
            nodes.restart(restarted)
        nodes.step(left_out=left_out)
    for _ in range(6):
        nodes.step()
    assert len({said.epoch for said in nodes.said}) == 1
    assert np.abs(moved(nodes)).max() < 1e-5


def test_the_survivors_of_a_death_go_on_to_their_own_optimum() -> None:
    nodes = society()
    for _ in range(50):
        nodes.step()
    for _ in range(400):
        nodes.step(dead={2})
    alive = (0, 1, 3, 4)
    assert np.abs(moved(nodes, among=alive)).max() < 1e-5
    weights = np.array([1.0 + i for i in alive])[:, None]
    optimum = (weights * OPTIMA[list(alive)]).sum(axis=0) / weights.sum()
    np.testing.assert_allclose(nodes.public()[list(alive)], np.tile(optimum, (4, 1)), atol=1e-4)
