"""Delays, losses, copies and partitions of single links."""

from typing import Any

import numpy as np
import pytest

from p2pfl.config.schema import LinkConfig, NetworkConfig, NetworkPartitionConfig
from p2pfl.simulation.links import LinkLaw, Partitions
from p2pfl.types import NodeId

A, B, C, D = (NodeId(name) for name in "abcd")
MANY = 4000


def law(**values: Any) -> LinkLaw:  # noqa: ANN401 - keys of the section, as a user writes them
    return LinkLaw(NetworkConfig(**values), seed=7)


def delays_s(of: LinkLaw) -> list[float]:
    return [delay_s for k in range(MANY) for delay_s, _ in of.arrivals(A, (B,), k)]


def test_a_plain_network_delivers_to_everybody_at_once() -> None:
    assert list(law(latency_s=0.5).arrivals(A, (B, C), 1)) == [(0.5, (B, C))]
    assert list(law().arrivals(A, (), 1)) == []


@pytest.mark.parametrize("latency", ["exponential", "lognormal"])
def test_random_latency_has_the_mean_that_was_asked_for(latency: str) -> None:
    found = delays_s(law(latency_s=0.2, latency=latency))
    assert len(found) == MANY
    assert np.mean(found) == pytest.approx(0.2, rel=0.05)
    assert len(set(found)) == MANY


def test_a_lognormal_latency_has_its_sigma() -> None:
    found = np.log(delays_s(law(latency_s=0.2, latency="lognormal", latency_sigma=0.8)))
    assert np.std(found) == pytest.approx(0.8, rel=0.05)


def test_equal_questions_have_equal_answers_and_links_differ() -> None:
    first, second = (law(latency="exponential", loss=0.3, duplication=0.2) for _ in range(2))
    told = [list(first.arrivals(A, (B, C, D), k)) for k in range(50)]
    assert told == [list(second.arrivals(A, (B, C, D), k)) for k in range(50)]
    assert told != [list(first.arrivals(B, (A, C, D), k)) for k in range(50)]


def test_losses_are_as_frequent_as_asked_for() -> None:
    assert len(delays_s(law(loss=0.3))) == pytest.approx(0.7 * MANY, rel=0.05)


def test_a_duplicate_comes_second_and_as_often_as_asked_for() -> None:
    of = law(duplication=0.25, latency="exponential", latency_s=0.1)
    pairs = [list(of.arrivals(A, (B,), k)) for k in range(MANY)]
    twice = [pair for pair in pairs if len(pair) == 2]
    assert len(twice) == pytest.approx(0.25 * MANY, rel=0.1)
    assert all(first[0] < second[0] for first, second in twice)


def test_a_held_back_delivery_is_late_by_the_mean_that_was_asked_for() -> None:
    late = [s - 0.1 for s in delays_s(law(latency_s=0.1, reorder=0.5, reorder_s=3.0)) if s > 0.1]
    assert len(late) == pytest.approx(0.5 * MANY, rel=0.05)
    assert np.mean(late) == pytest.approx(3.0, rel=0.06)


def test_a_link_of_its_own_counts_in_both_directions() -> None:
    of = law(latency_s=0.1, links=(LinkConfig(between=("a", "b"), latency_s=2.0),))
    assert {r: s for s, r in of.arrivals(A, (B, C, D), 1)} == {(B,): 2.0, (C, D): 0.1}
    assert list(of.arrivals(B, (A,), 2)) == [(2.0, (A,))]
    assert (of.mean_latency_s(B, A), of.mean_latency_s(B, C)) == (2.0, 0.1)


def test_a_cut_link_loses_everything_and_the_others_nothing() -> None:
    of = law(links=(LinkConfig(between=("a", "b"), loss=1.0),))
    assert all(list(of.arrivals(A, (B, C), k)) == [(0.001, (C,))] for k in range(100))


def test_a_link_may_be_better_than_the_others() -> None:
    of = law(loss=0.9, links=(LinkConfig(between=("a", "b"), loss=0.0),))
    assert len(delays_s(of)) == MANY


def test_a_partition_keeps_its_groups_and_the_rest_apart() -> None:
    partitions = Partitions()
    partitions.begin(0, NetworkPartitionConfig(from_s=0.0, groups=(("a", "b"), ("c",))))
    assert partitions
    apart = {(x, y) for x in (A, B, C, D) for y in (A, B, C, D) if partitions.apart(x, y)}
    assert {(B, A), (A, B)}.isdisjoint(apart)
    assert {(A, C), (C, A), (A, D), (D, C)} <= apart
    partitions.heal(0)
    assert not partitions
    assert not partitions.apart(A, C)


def test_who_is_kept_apart_twice_is_together_after_both() -> None:
    partitions = Partitions()
    for key in (0, 1):
        partitions.begin(key, NetworkPartitionConfig(from_s=0.0, groups=(("a",),)))
    partitions.heal(0)
    assert partitions.apart(A, B)
    partitions.heal(1)
    assert not partitions.apart(A, B)
