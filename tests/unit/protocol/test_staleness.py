"""Metrics and the bound."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pfl.protocol.staleness import Metric, StalenessPolicy

seconds = st.floats(0.0, 1e6)


@given(age_s=seconds, period_s=seconds, bound=st.floats(0.1, 100.0), floor_s=st.floats(0.1, 100.0))
def test_missed_within_its_bound_is_exactly_the_liveness_rule(
    age_s: float, period_s: float, bound: float, floor_s: float
) -> None:
    policy = StalenessPolicy(bound=bound, liveness_floor_s=floor_s)
    limit_s = max(bound * period_s, floor_s)
    if math.isclose(age_s, limit_s, rel_tol=1e-9):
        return
    assert (policy.missed(age_s, period_s) <= bound) == (age_s <= limit_s)


@pytest.mark.parametrize(
    ("metric", "value"), [("missed", 4.0), ("age", 3.0), ("reads", 2.0), ("lag", 1.0)]
)
def test_drop_measures_in_the_metric_that_was_chosen(metric: Metric, value: float) -> None:
    policy = StalenessPolicy(metric=metric)
    assert policy.staleness(1, 2, 3.0, 4.0) == value
    assert policy.limit == 3.0


def test_wait_bounds_lag_and_none_bounds_nothing() -> None:
    wait = StalenessPolicy(policy="wait", bound=2.0)
    assert wait.staleness(1, 2, 3.0, 4.0) == 1.0
    assert wait.limit == 2.0
    free = StalenessPolicy(policy="none")
    assert free.staleness(1, 2, 3.0, 4.0) == 4.0
    assert free.limit == math.inf


def test_a_bound_of_zero_still_has_a_liveness_rule() -> None:
    policy = StalenessPolicy(policy="wait", bound=0.0, liveness_floor_s=6.0)
    assert policy.missed(2.0, 0.0) == 1.0
    assert not policy.silent_too_long(5.9, 1.0)
    assert policy.silent_too_long(6.1, 1.0)
    assert not policy.silent_too_long(29.0, 10.0)
    assert policy.silent_too_long(31.0, 10.0)
