"""The virtual time: what happens when, and in which order."""

from functools import partial
from math import inf

from hypothesis import given
from hypothesis import strategies as st

from p2pfl.simulation.calendar import Calendar

PLANS = st.lists(st.tuples(st.integers(0, 9), st.booleans()), max_size=40)


@given(PLANS)
def test_things_happen_by_their_times_and_those_of_one_time_as_they_were_planned(
    plans: list[tuple[int, bool]],
) -> None:
    calendar = Calendar()
    happened: list[tuple[float, int]] = []
    for number, (at_s, delivery) in enumerate(plans):
        calendar.at(at_s, partial(happened.append, (at_s, number)), delivery=delivery)
    while True:
        next_s = calendar.next_s
        if not calendar.step():
            break
        assert calendar.now_s == next_s == happened[-1][0]
    assert next_s == inf
    assert happened == sorted((at_s, number) for number, (at_s, _) in enumerate(plans))


def test_what_is_planned_while_things_happen_takes_its_place() -> None:
    calendar = Calendar()
    happened: list[str] = []

    def plan() -> None:
        happened.append("plan")
        calendar.at(2.0, partial(happened.append, "late"), delivery=True)
        calendar.at(1.5, partial(happened.append, "soon"), delivery=True)
        calendar.at(2.0, partial(happened.append, "later"))

    calendar.at(1.0, plan)
    calendar.at(1.8, partial(happened.append, "between"))
    while calendar.step():
        pass
    assert happened == ["plan", "soon", "between", "late", "later"]


@given(PLANS)
def test_at_the_end_only_deliveries_still_happen(plans: list[tuple[int, bool]]) -> None:
    calendar = Calendar()
    happened: list[tuple[float, int]] = []
    for number, (at_s, delivery) in enumerate(plans):
        calendar.at(at_s, partial(happened.append, (at_s, number)), delivery=delivery)
    calendar.deliver_the_rest()
    wanted = sorted((at_s, number) for number, (at_s, delivery) in enumerate(plans) if delivery)
    assert happened == wanted
