"""Push-sum by running sums: what one node gives away, takes in and acknowledges."""

from dataclasses import replace

import numpy as np
from support.views import here, said, seen, sums, vector

from p2pfl.algorithms.base import Finish, Surroundings
from p2pfl.algorithms.push_sum import PushState, RobustPushSum
from p2pfl.types import NodeId

ONE = 1 << 20
"""A sum of 1."""
FINE = 1 << 40
"""A mass of 1."""
HEARER = [seen("n1", None)]


def rule(**parameters: object) -> RobustPushSum:
    """At n0, which n1 hears, and which hears n1 and n2."""
    neighbours = ((NodeId("n1"), 0.5), (NodeId("n2"), 0.5))
    place = Surroundings(NodeId("n0"), neighbours, (NodeId("n1"),), update_s=2.0)
    return replace(RobustPushSum(), **parameters).at(place)  # type: ignore[arg-type]  # a parameter each


def updated(
    algorithm: RobustPushSum, state: PushState, *, moved: float = 0.0, from_s: float = 0.0
) -> Finish[PushState]:
    """After an update of two seconds."""
    state = algorithm.advance(state, here(now_s=from_s), HEARER).state
    return algorithm.finish(state, here(now_s=from_s + 2.0), HEARER, state.start + vector(moved))


def test_an_update_moves_the_mass_and_half_of_it_goes_to_the_hearer() -> None:
    algorithm = rule()
    assert algorithm.opening(algorithm.initial(vector(1.0))) == ()
    done = updated(algorithm, algorithm.initial(vector(1.0)), moved=3.0)
    assert done.state.mass.tolist() == [2 * FINE, FINE // 2]
    (told,) = done.outgoing
    assert told.to == ("n1",)
    assert told.extra is not None
    assert told.extra.tolist() == [2 * ONE, ONE // 2]
    assert told.words == (1, 0, 0)
    assert told.vector == algorithm.served(done.state, []) == vector(4.0)


def test_nothing_is_pushed_before_the_last_push_has_arrived() -> None:
    algorithm = rule()
    first = updated(algorithm, algorithm.initial(vector(1.0)))
    second = updated(algorithm, first.state)
    assert np.array_equal(second.state.mass, first.state.mass)
    # What may have been lost is said again.
    assert second.outgoing[0].extra is first.outgoing[0].extra
    answer = said("n1", vector(0.0), extra=sums(0, 0), words=(0, 1, 0))
    heard = algorithm.hear(second.state, here(), answer, usable=True).state
    third = updated(algorithm, heard)
    assert third.outgoing[0].words == (2, 0, 1)
    assert third.state.mass[-1] == FINE // 4


def test_without_a_window_it_pushes_every_time() -> None:
    algorithm = rule(window=0)
    first = updated(algorithm, algorithm.initial(vector(1.0)))
    assert updated(algorithm, first.state).state.mass[-1] == FINE // 4
    by_mass = rule(step="y")
    first = updated(by_mass, by_mass.initial(vector(1.0)))
    assert updated(by_mass, first.state).state.mass[-1] == FINE // 4


def test_nothing_is_pushed_to_the_dead() -> None:
    algorithm = rule()
    state = algorithm.initial(vector(1.0))
    state = algorithm.advance(state, here(), []).state
    dead = [seen("n1", None, live=False)]
    done = algorithm.finish(state, here(), dead, vector(1.0))
    assert done.outgoing == []
    assert done.state.mass[-1] == FINE


def test_what_comes_counts_once_and_is_acknowledged_with_the_next_word() -> None:
    algorithm = rule()
    state = algorithm.initial(vector(1.0))
    push = said("n1", vector(1.0), extra=sums(3 * ONE, ONE), words=(1, 0, 0))
    heard = algorithm.hear(state, here(), push, usable=True)
    assert heard.mixed
    assert heard.state.mass.tolist() == [4 * FINE, 2 * FINE]
    again = algorithm.hear(heard.state, here(), push, usable=False)
    assert not again.mixed
    assert np.array_equal(again.state.mass, heard.state.mass)
    assert updated(algorithm, again.state).outgoing[0].words == (1, 1, 0)


def test_who_only_pushes_is_told_once_that_it_has_come() -> None:
    algorithm = rule()
    push = said("n2", vector(1.0), extra=sums(ONE, ONE), words=(1, 0, 0))
    state = algorithm.hear(algorithm.initial(vector(1.0)), here(), push, usable=True).state
    everybody = [*HEARER, seen("n2", None)]
    state = algorithm.advance(state, here(), everybody).state
    done = algorithm.finish(state, here(), everybody, state.start)
    back = done.outgoing[1]
    assert back.to == ("n2",)
    assert back.words == (0, 1, 0)
    assert back.extra is not None
    assert back.extra.tolist() == [0, 0]
    state = algorithm.advance(done.state, here(), everybody).state
    assert len(algorithm.finish(state, here(), everybody, state.start).outgoing) == 1
    # It may not have arrived: whoever says the same again is told again.
    state = algorithm.hear(done.state, here(), push, usable=True).state
    assert len(algorithm.finish(state, here(), everybody, state.start).outgoing) == 2


def test_the_sums_of_one_who_started_anew_begin_at_zero() -> None:
    algorithm = rule()
    push = said("n1", vector(1.0), extra=sums(3 * ONE, ONE), words=(1, 0, 0))
    state = algorithm.hear(algorithm.initial(vector(1.0)), here(), push, usable=True).state
    reborn = said("n1", vector(1.0), extra=sums(ONE, ONE), words=(1, 0, 0), life=2)
    state = algorithm.hear(state, here(), reborn, usable=True).state
    assert state.mass.tolist() == [5 * FINE, 3 * FINE]


def test_one_who_comes_back_takes_in_nothing_that_it_had_acknowledged() -> None:
    algorithm = rule()
    state = algorithm.adopt(algorithm.initial(vector(0.0)), vector(2.0))
    assert algorithm.public(state) == vector(2.0)
    old = said("n1", vector(1.0), extra=sums(90 * ONE, 30 * ONE), words=(31, 5, 30))
    state = algorithm.hear(state, here(), old, usable=True).state
    assert state.mass.tolist() == [2 * FINE, FINE]
    # Nor does it believe that five pushes of this life have arrived.
    new = said("n1", vector(1.0), extra=sums(91 * ONE, 31 * ONE), words=(32, 5, 31))
    state = algorithm.hear(updated(algorithm, state).state, here(), new, usable=True).state
    assert state.mass.tolist() == [2 * FINE, 3 * FINE // 2]
    assert state.out[NodeId("n1")].acknowledged == 0


def test_a_word_of_another_form_or_of_one_who_does_not_push_adds_nothing() -> None:
    algorithm = rule()
    state = algorithm.initial(vector(1.0))
    odd = said("n1", vector(1.0), extra=sums(ONE, ONE), words=(1,))
    assert algorithm.hear(state, here(), odd, usable=True).state is state
    back = said("n3", vector(1.0), extra=sums(ONE, ONE), words=(1, 1, 0))
    assert algorithm.hear(state, here(), back, usable=True).state is state


def test_steps_are_as_trained_or_by_the_time_or_by_the_mass() -> None:
    def mass_after(algorithm: RobustPushSum, y: float = 1.0) -> float:
        state = replace(
            algorithm.initial(vector(0.0)), mass=np.array([0, int(y * FINE)], dtype=np.int64)
        )
        alone = replace(algorithm, place=algorithm.place._replace(hearers=()))
        return float(updated(alone, state, moved=1.0).state.mass[0] / FINE)

    assert mass_after(rule(step="x")) == 1.0
    assert mass_after(rule(step="elapsed")) == 1.0
    assert mass_after(rule(step="elapsed", reference_s=0.5)) == 4.0
    assert mass_after(rule(step="elapsed", reference_s=0.1)) == 10.0
    assert mass_after(rule(step="elapsed", reference_s=0.1, step_max=3.0)) == 3.0
    assert mass_after(rule(step="y"), y=0.25) == 0.25
    assert mass_after(rule(step="x", step_max=2.0), y=0.25) == 0.5
    weighed = rule(step="x")
    assert mass_after(weighed.at(weighed.place._replace(scale=3.0))) == 3.0


def test_what_too_little_mass_does_not_allow_counts_at_the_next_update() -> None:
    algorithm = rule(reference_s=0.5, step_max=5.0)
    state = replace(algorithm.initial(vector(0.0)), mass=np.array([0, FINE // 4], dtype=np.int64))
    first = updated(algorithm, state).state
    assert first.owed == 4.0 - 5.0 / 4.0
    assert updated(algorithm, first, from_s=2.0).state.owed == 5.0 - 5.0 / 8.0


def test_the_time_of_an_update_reaches_from_the_end_of_the_one_before() -> None:
    algorithm = rule(step="elapsed")
    first = updated(algorithm, algorithm.initial(vector(0.0)))
    assert first.state.since_s == 2.0
    assert algorithm.advance(first.state, here(now_s=9.0), HEARER).state.since_s == 2.0


def test_more_than_a_push_can_carry_stays_where_it_is() -> None:
    algorithm = rule()
    done = updated(algorithm, algorithm.initial(vector(0.0)), moved=5000.0)
    assert done.state.mass.tolist() == [(5000 - 1024) * FINE, FINE // 2]
    far = updated(algorithm, algorithm.initial(vector(0.0)), moved=1e30)
    assert np.isfinite(algorithm.public(far.state)).all()


def test_sums_that_take_mass_away_are_not_believed() -> None:
    algorithm = rule()
    state = algorithm.initial(vector(1.0))
    lie = said("n1", vector(1.0), extra=sums(ONE, -ONE), words=(1, 0, 0))
    assert algorithm.hear(state, here(), lie, usable=True).state is state


def test_what_it_remembers_is_its_model() -> None:
    algorithm = rule()
    state = updated(algorithm, algorithm.initial(vector(1.0)), moved=1.0).state
    resumed = algorithm.resumed(state)
    assert resumed.mass.tolist() == [2 * FINE, FINE]
    assert not resumed.out
