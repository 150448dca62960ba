"""The law of compute times: means, tails, and that a duration depends on its counters alone."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pfl.compute import ComputeLaw, lognormal_factor, pareto_factor
from p2pfl.config.schema import ComputeConfig
from p2pfl.types import NodeId

A, B = NodeId("a"), NodeId("b")


def law(**values: Any) -> ComputeLaw:  # noqa: ANN401 - keys of the section, as a user writes them
    return ComputeLaw(ComputeConfig(step_s=0.5, **values), seed=3)


def test_a_constant_law_counts_steps_and_slowdown() -> None:
    assert law(slowdown={"b": 4.0}).duration_s(A, 3, 0) == 1.5
    assert law(slowdown={"b": 4.0}).duration_s(B, 3, 7) == 6.0


@pytest.mark.parametrize(
    "values", [{"distribution": "lognormal", "sigma": 0.5}, {"distribution": "pareto", "alpha": 3}]
)
def test_a_random_law_has_the_mean_of_the_constant_one(values: dict[str, Any]) -> None:
    durations = [law(**values).duration_s(A, 2, k) for k in range(20_000)]
    assert np.mean(durations) == pytest.approx(1.0, rel=0.02)
    assert len(set(durations)) == len(durations)


def test_pareto_stragglers_have_the_tail_of_their_shape() -> None:
    """The survival function at x, as the docstring says it."""
    alpha, x = 1.5, 4.0
    of = law(distribution="pareto", alpha=alpha)
    share = np.mean([of.factor(A, k) > x for k in range(20_000)])
    assert share == pytest.approx(((alpha - 1.0) / (alpha * x)) ** alpha, rel=0.1)


@given(st.floats(1.01, 20.0), st.floats(0.0, 1.0, exclude_max=True))
def test_a_pareto_factor_is_bounded_below_and_finite(alpha: float, uniform: float) -> None:
    factor = pareto_factor(alpha, uniform)
    assert (alpha - 1.0) / alpha <= factor < float("inf")


def test_no_spread_is_a_factor_of_one() -> None:
    assert lognormal_factor(0.0, 2.0) == 1.0


def test_a_nodes_pace_persists_and_differs_from_anothers() -> None:
    of = law(node_sigma=0.5)
    assert of.duration_s(A, 1, 0) == of.duration_s(A, 1, 9)
    assert of.duration_s(A, 1, 0) != of.duration_s(B, 1, 0)


@pytest.mark.parametrize("distribution", ["lognormal", "pareto"])
def test_a_duration_depends_on_its_counters_alone(distribution: str) -> None:
    """Not on what was asked before: the k-th update takes as long under every algorithm."""
    values = {"distribution": distribution, "sigma": 0.5}
    forth, back = law(**values), law(**values)
    there = [forth.duration_s(A, 1, k) for k in range(9)]
    assert [back.duration_s(A, 1, k) for k in reversed(range(9))][::-1] == there


@pytest.mark.parametrize("distribution", ["constant", "lognormal", "pareto"])
def test_durations_of_many_nodes_are_those_of_each(distribution: str) -> None:
    values: dict[str, Any] = {"distribution": distribution, "node_sigma": 0.5}
    if distribution == "lognormal":
        values["sigma"] = 0.7
    law = ComputeLaw(ComputeConfig(slowdown={"b": 3.0}, **values), seed=4)
    nodes = [NodeId(name) for name in "abc"]
    found = law.durations_s(nodes, [1, 2, 5], 9)
    assert found == [law.duration_s(n, h, 9) for n, h in zip(nodes, (1, 2, 5), strict=True)]
