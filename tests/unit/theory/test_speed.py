import numpy as np
import pytest

from p2pfl.errors import ConfigError
from p2pfl.theory import speed
from p2pfl.topology import generators
from p2pfl.topology.weights import mixing_matrix

RING = mixing_matrix(generators.ring(16), weights="metropolis")
EXPONENTIAL = mixing_matrix(generators.exponential(16), weights="metropolis")
RATES = np.repeat([1.0, 0.2], 8)


def test_the_law_gives_its_known_numbers() -> None:
    """Sixteen nodes, half of them five times slower, delay 0.1, jitter 0.3."""
    ring_end = speed.asynchronous_speed(RING, RATES, delay_s=0.1, cv=0.3, when="end")
    ring_start = speed.asynchronous_speed(RING, RATES, delay_s=0.1, cv=0.3, when="start")
    exponential_end = speed.asynchronous_speed(EXPONENTIAL, RATES, delay_s=0.1, cv=0.3)
    assert ring_end == pytest.approx(0.463, abs=1e-3)
    assert ring_start == pytest.approx(0.240, abs=1e-3)
    assert exponential_end == pytest.approx(0.528, abs=1e-3)


def test_mixing_at_both_times_moves_like_mixing_at_the_end() -> None:
    ends = [
        speed.asynchronous_speed(RING, RATES, delay_s=0.1, when=when) for when in ("end", "both")
    ]
    assert ends[0] == ends[1]


def test_information_is_half_a_period_old_and_jitter_makes_it_older() -> None:
    np.testing.assert_allclose(speed.information_age_s([1.0, 0.2]), [0.5, 2.5])
    np.testing.assert_allclose(speed.information_age_s([1.0, 0.2], cv=1.0), [1.0, 5.0])
    np.testing.assert_allclose(speed.information_age_s([1.0], delay_s=[3.0]), [3.5])


@pytest.mark.parametrize("cv", [0.0, 0.3, 1.0])
def test_the_age_is_what_a_random_reader_measures(cv: float) -> None:
    rng = np.random.default_rng(0)
    shape = 1 / cv**2 if cv else 1.0
    periods = rng.gamma(shape, 2.0 / shape, 40_000) if cv else np.full(40_000, 2.0)
    published = np.cumsum(periods)
    reads = rng.uniform(published[0], published[-1], 40_000)
    ages = reads - published[np.searchsorted(published, reads) - 1]
    assert ages.mean() == pytest.approx(speed.information_age_s([0.5], cv=cv)[0], rel=0.03)


def test_equal_nodes_without_delay_lose_nothing_to_a_barrier_but_fresh_news_wins() -> None:
    even = np.ones(16)
    assert speed.asynchronous_speed(np.eye(16), even) == 1.0
    assert speed.asynchronous_speed(RING, even) > speed.synchronous_speed(1 / even) == 1.0


def test_a_barrier_waits_for_the_slowest() -> None:
    assert speed.synchronous_speed(1 / RATES) == pytest.approx(0.2)
    assert speed.synchronous_speed([[1.0, 3.0], [5.0, 1.0]], delay_s=1.0) == pytest.approx(0.2)
    pulled = speed.asynchronous_speed(RING, RATES, delay_s=0.1, cv=0.3)
    assert pulled > 2 * speed.synchronous_speed(1 / RATES, delay_s=0.1)


def test_rates_must_be_positive_and_fit() -> None:
    with pytest.raises(ConfigError, match="one number above zero for each node"):
        speed.information_age_s([1.0, 0.0])
    with pytest.raises(ConfigError, match="one number above zero"):
        speed.information_age_s([[1.0]])
    with pytest.raises(ConfigError, match=r"mixing \[16, 16\] does not fit rates \[2\]"):
        speed.asynchronous_speed(RING, [1.0, 1.0])
