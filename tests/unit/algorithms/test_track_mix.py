"""TrackMix: what one node pushes, absorbs, and makes of those who come and go."""

from support.views import here, seen, sums, vector

from p2pfl.algorithms.base import Surroundings
from p2pfl.algorithms.fixed_point import mass_of
from p2pfl.algorithms.track_mix import BEGUN, TrackMix
from p2pfl.types import NodeId

ONE = 1 << 20
"""A sum of 1."""


def test_it_measures_the_gradient_at_x_itself() -> None:
    rule = TrackMix()
    step = rule.advance(rule.initial(vector(1.0)), here(), [seen("n1", vector(9.0))])
    assert step.train is not None
    assert step.train.start == vector(1.0)
    assert rule.capabilities.plain_sgd


def test_what_it_pushes_it_gives_up() -> None:
    rule = TrackMix()
    neighbour = seen("n1", vector(0.0), extra=sums(0), epoch=BEGUN)
    first = rule.finish(rule.initial(vector(0.0)), here(), [neighbour], vector(-1.0))
    # Nothing had been heard yet: the whole gradient of 2 is pushed, and 1/4 of it is n1's.
    assert first.state.sums is not None
    assert first.state.sums.tolist() == [2 * ONE]
    assert (first.state.tracker == mass_of(vector(1.5))).all()
    assert first.state.x == vector(-0.75)
    (told,) = first.outgoing
    assert told.vector is first.state.x
    assert told.extra is first.state.sums
    assert told.epoch == BEGUN
    assert first.mixed


def test_what_a_neighbour_has_pushed_is_absorbed_once() -> None:
    rule = TrackMix()
    neighbour = seen("n1", vector(0.0), extra=sums(4 * ONE), epoch=BEGUN)
    state = rule.initial(vector(0.0))
    state = rule.finish(state, here(rate=0.0), [neighbour], vector(0.0)).state
    assert (state.tracker == mass_of(vector(1.0))).all()
    same = rule.finish(state, here(rate=0.0), [neighbour], vector(0.0)).state
    # It pushes what it absorbed, and the same words again add nothing.
    assert (same.tracker == mass_of(vector(0.75))).all()


def test_where_the_learning_rate_is_zero_the_gradient_stays_as_it_was() -> None:
    rule = TrackMix()
    moved = rule.finish(rule.initial(vector(0.0)), here(), [], vector(-1.0)).state
    still = rule.finish(moved, here(rate=0.0), [], moved.x).state
    assert still.gradient is moved.gradient
    assert still.x == moved.x


def test_a_slow_neighbours_sum_counts_while_it_lives_and_leaves_with_it() -> None:
    rule = TrackMix()
    told = seen("n1", vector(0.0), extra=sums(4 * ONE), epoch=BEGUN)
    state = rule.finish(rule.initial(vector(0.0)), here(rate=0.0), [told], vector(0.0)).state
    quiet = seen("n1", None)
    kept = rule.finish(state, here(rate=0.0), [quiet], vector(0.0)).state
    assert "n1" in kept.heard
    dead = seen("n1", None, live=False)
    alone = rule.finish(state, here(rate=0.0), [dead], vector(0.0)).state
    assert (alone.tracker == 0).all()


def test_one_who_rejoins_begins_at_the_mean_of_its_neighbours_sums() -> None:
    rule = TrackMix()
    state = rule.adopt(rule.initial(vector(0.0)), vector(3.0))
    (opening,) = rule.opening(state)
    assert opening.epoch == 0
    assert opening.extra is not None
    heard = [
        seen("n1", vector(3.0), extra=sums(-ONE), epoch=BEGUN),
        seen("n2", vector(3.0), extra=sums(3 * ONE), epoch=BEGUN),
        seen("n3", vector(3.0), extra=sums(0), epoch=0),
    ]
    back = rule.finish(state, here(rate=0.0), heard, vector(3.0)).state
    assert back.sums is not None
    assert back.sums.tolist() == [ONE]
    assert "n3" not in back.heard
    assert (back.tracker == 0).all()


def test_where_nobody_has_a_sum_one_who_rejoins_begins_at_zero() -> None:
    rule = TrackMix()
    state = rule.resumed(rule.initial(vector(3.0)))
    back = rule.finish(state, here(rate=0.0), [], vector(3.0)).state
    assert back.sums is not None
    assert back.sums.tolist() == [0]
    assert back.x == vector(3.0)


def test_its_gradient_counts_as_often_as_its_objective() -> None:
    rule = TrackMix().at(Surroundings(NodeId("n0"), scale=3.0))
    state = rule.finish(rule.initial(vector(0.0)), here(local_steps=2), [], vector(-1.0)).state
    # Two steps of 0.5 moved it by 1: the gradients' sum is 2, and counts three times.
    assert (state.tracker == mass_of(vector(6.0))).all()
    assert state.x == vector(-3.0)


def test_a_tracker_out_of_range_is_cut_so_that_nobody_moves_a_node_out_of_the_numbers() -> None:
    rule = TrackMix()
    done = rule.finish(rule.initial(vector(0.0)), here(), [], vector(-600.0))
    assert (done.state.tracker == mass_of(vector(1024.0))).all()
    assert done.state.x == vector(-512.0)


def test_it_serves_the_mix() -> None:
    rule = TrackMix()
    state = rule.initial(vector(0.0))
    assert rule.served(state, [seen("n1", vector(1.0))]) == vector(0.25)
    assert rule.public(state) == vector(0.0)
