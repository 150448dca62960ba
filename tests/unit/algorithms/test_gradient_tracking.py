"""Gradient tracking: what each node does, and what holds of all trackers together."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.society import Society

from p2pfl.algorithms.base import Local, Surroundings
from p2pfl.algorithms.gradient_tracking import GradientTracking, TrackState
from p2pfl.messages import Header, Incarnation, Neighbour
from p2pfl.topology import generators
from p2pfl.topology.weights import mixing_matrix
from p2pfl.types import NodeId, Vector

RING = mixing_matrix(generators.ring(5), weights="metropolis")
OPTIMA = np.random.default_rng(0).standard_normal((5, 3)).astype(np.float32)
PAIRS = [(i, j) for i in range(5) for j in ((i - 1) % 5, (i + 1) % 5)]


def here(local_steps: int = 1, rate: float = 0.5) -> Local:
    return Local(
        NodeId("n0"),
        version=0,
        samples=1,
        steps=0,
        local_steps=local_steps,
        step_sizes=lambda _, count: rate * count,
    )


def vector(*values: float) -> Vector:
    return np.array(values, dtype=np.float32)


def neighbour(model: Vector, tracker: Vector, *, epoch: int = 0) -> Neighbour:
    node = NodeId("n1")
    header = Header("run", "schema", node, Incarnation(1, 7), 1, 1, 0, 0.0, epoch=epoch)
    return Neighbour(node, 0.5, 1.0, True, False, 0, header, model, tracker)


def society(**changes: int) -> Society:
    def gradient(i: int, x: Vector) -> Vector:
        return np.asarray(np.float32(1 + i) * (x - OPTIMA[i]))

    return Society(GradientTracking(), RING, gradient, dimension=3, **changes)


def test_what_is_added_to_the_gradients_is_what_the_others_follow() -> None:
    rule = GradientTracking()
    state = TrackState(vector(0.0), tracker=vector(1.0), gradient=vector(4.0))
    step = rule.advance(state, here(2), [neighbour(vector(2.0), vector(3.0))])
    assert step.train is not None
    assert step.train.start == vector(1.0)
    # W y - g = 2 - 4, over two steps.
    assert step.train.correction == vector(-1.0)
    # The two gradients 3 and 5, each less 1, at 0.5 a step: from 1 to -2.
    done = rule.finish(step.state, here(2), [], vector(-2.0))
    assert done.state.gradient == vector(8.0)
    assert done.state.tracker == vector(2.0 + 8.0 - 4.0)
    (said,) = done.outgoing
    assert said.vector == vector(-2.0)
    assert said.extra is done.state.tracker


def test_an_update_that_counts_twice_is_tracked_twice() -> None:
    rule = GradientTracking().at(Surroundings(NodeId("n0"), scale=2.0))
    step = rule.advance(rule.initial(vector(0.0)), here(), [])
    done = rule.finish(step.state, here(), [], vector(-0.5))
    assert done.state.x == vector(-1.0)
    assert done.state.tracker == done.state.gradient == vector(2.0)


def test_steps_of_no_length_leave_the_gradient_as_it_is() -> None:
    rule = GradientTracking()
    state = TrackState(vector(0.0), tracker=vector(1.0), gradient=vector(4.0))
    begun = rule.advance(state, here(), [neighbour(vector(0.0), vector(3.0))])
    done = rule.finish(begun.state, here(rate=0.0), [], vector(0.0))
    assert done.state.gradient == vector(4.0)
    assert done.state.tracker == vector(2.0)


def test_trackers_of_another_epoch_are_not_mixed_and_models_are() -> None:
    rule = GradientTracking()
    state = TrackState(vector(0.0), tracker=vector(1.0), gradient=vector(4.0))
    step = rule.advance(state, here(), [neighbour(vector(2.0), vector(3.0), epoch=2)])
    assert step.state.start == vector(1.0)
    assert step.state.members.epoch == 2
    assert step.state.correction == vector(0.0)
    done = rule.finish(step.state, here(), [], vector(0.5))
    assert done.state.tracker == vector(1.0)
    assert done.outgoing[0].epoch == 2
    back = rule.resumed(done.state)
    assert (back.x, back.tracker, back.members.epoch) == (vector(0.5), vector(0.0), 2)


def test_it_serves_the_mix() -> None:
    rule, heard = GradientTracking(), [neighbour(vector(2.0), vector(0.0))]
    assert rule.served(rule.initial(vector(0.0)), heard) == vector(1.0)
    assert rule.public(rule.initial(vector(3.0))) == vector(3.0)


@pytest.mark.parametrize("local_steps", [1, 3])
def test_the_trackers_sum_to_the_gradients_at_every_version(local_steps: int) -> None:
    nodes = society(local_steps=local_steps)
    for _ in range(300):
        nodes.step()
        trackers = np.sum([s.tracker for s in nodes.states], axis=0, dtype=np.float64)
        gradients = np.sum([s.gradient for s in nodes.states], axis=0, dtype=np.float64)
        np.testing.assert_allclose(trackers, gradients, atol=1e-4)
    assert np.abs(trackers).max() < 1e-4


OMISSIONS = st.lists(
    st.tuples(
        st.sets(st.sampled_from(PAIRS), max_size=4),
        st.one_of(st.none(), st.integers(0, 4)),
    ),
    max_size=12,
)


@given(history=OMISSIONS)
@settings(max_examples=40, deadline=None)
def test_after_omissions_and_restarts_the_trackers_sum_to_the_gradients_again(
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
    trackers = np.sum([s.tracker for s in nodes.states], axis=0, dtype=np.float64)
    gradients = np.sum([s.gradient for s in nodes.states], axis=0, dtype=np.float64)
    np.testing.assert_allclose(trackers, gradients, atol=1e-4)


def test_the_survivors_of_a_death_go_on_to_their_own_optimum() -> None:
    nodes = society()
    for _ in range(50):
        nodes.step()
    for _ in range(400):
        nodes.step(dead={2})
    alive = [0, 1, 3, 4]
    weights = np.array([1.0 + i for i in alive])[:, None]
    optimum = (weights * OPTIMA[alive]).sum(axis=0) / weights.sum()
    np.testing.assert_allclose(nodes.public()[alive], np.tile(optimum, (4, 1)), atol=1e-4)
