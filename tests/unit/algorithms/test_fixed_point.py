"""Whole steps: what is added and taken away again leaves nothing behind."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pfl.algorithms.fixed_point import (
    BITS,
    added,
    difference,
    in_wire_steps,
    mass_of,
    no_sums,
    share_of,
    vector_of,
)

numbers = st.floats(-2000.0, 2000.0, width=32)


@given(number=numbers)
def test_a_number_comes_back_as_it_went(number: float) -> None:
    vector = np.array([number], dtype=np.float32)
    assert vector_of(mass_of(vector)) == pytest.approx(vector, rel=1e-7, abs=2.0**-41)


def test_numbers_beyond_the_range_saturate() -> None:
    far = np.array([1e30, -1e30], dtype=np.float32)
    assert vector_of(mass_of(far)).tolist() == [2.0**22, -(2.0**22)]


@given(steps=st.lists(st.integers(-(2**31), 2**31 - 1), min_size=2, max_size=20))
def test_the_difference_of_running_sums_is_exact_however_often_they_wrap(steps: list[int]) -> None:
    sums = no_sums(1)
    for step in steps:
        before, sums = sums, added(sums, np.array([step], dtype=np.int64))
        assert difference(sums, before).tolist() == [step]


@given(number=numbers)
def test_what_is_pushed_in_wire_steps_leaves_less_than_a_step(number: float) -> None:
    mass = mass_of(np.array([number], dtype=np.float32))
    left = mass - (in_wire_steps(mass) << BITS)
    assert abs(int(left[0])) <= 2 ** (BITS - 1)


def test_shares_never_exceed_the_whole() -> None:
    assert 3 * share_of(1.0 / 3.0) <= share_of(1.0) == 1 << BITS


def test_sums_are_shared_and_hence_read_only() -> None:
    assert not no_sums(2).flags.writeable
    assert not added(no_sums(2), np.zeros(2, np.int64)).flags.writeable
    assert not vector_of(np.zeros(2, np.int64)).flags.writeable
