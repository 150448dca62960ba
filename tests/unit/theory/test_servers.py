"""Whose data an asynchronous server learns from."""

import numpy as np
import pytest

from p2pfl.errors import ConfigError
from p2pfl.theory.servers import influence, predicted_bias

A = np.array([[1.0], [1.0], [1.0]])
B = np.array([[0.0], [0.0], [3.0]])
RATES = [1.0, 1.0, 0.25]


def test_whoever_reports_more_often_counts_more() -> None:
    np.testing.assert_allclose(influence(RATES, exponent=0.0), np.array(RATES) / 2.25)


def test_a_discount_makes_it_worse_and_a_buffer_makes_versions_rarer() -> None:
    # 1.25 updates of the others come between two of a fast client, 8 between two of the slow one.
    shares = np.array([1.0 / 2.25, 1.0 / 2.25, 0.25 / 9.0])
    np.testing.assert_allclose(influence(RATES, exponent=1.0), shares / shares.sum())
    shares = np.array([1.0 / 1.3125, 1.0 / 1.3125, 0.25 / 3.0])
    found = influence(RATES, exponent=1.0, buffer=4)
    np.testing.assert_allclose(found, shares / shares.sum())


def test_the_bias_is_the_way_from_the_uniform_optimum_over_the_spread() -> None:
    found = predicted_bias(RATES, A, B, exponent=0.0)
    assert found == pytest.approx((1.0 - 3.0 * 0.25 / 2.25) / np.sqrt(2.0))
    assert predicted_bias([1.0, 1.0, 1.0], A, B) == pytest.approx(0.0)


@pytest.mark.parametrize("buffer", [0, 1])
def test_numbers_that_no_server_could_have_are_refused(buffer: int) -> None:
    with pytest.raises(ConfigError, match="theory"):
        influence([1.0, float(buffer == 0)], buffer=buffer)
