"""Schedules: against PyTorch's own, at their edges, and their sums."""

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, LRScheduler, MultiStepLR

from p2pfl.learning_rate import LearningRate


def rates(rate: LearningRate, steps: int) -> list[float]:
    return [rate.at(step) for step in range(steps)]


def theirs(make: Any, steps: int, **options: Any) -> list[float]:  # noqa: ANN401 - any scheduler
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.4)
    scheduler: LRScheduler = make(optimizer, **options)
    found = []
    for _ in range(steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return found


def test_each_schedule_is_that_of_pytorch() -> None:
    step = LearningRate(base=0.4, schedule="step", decay_at=(3, 7), decay=0.5)
    assert rates(step, 12) == pytest.approx(theirs(MultiStepLR, 12, milestones=[3, 7], gamma=0.5))
    cosine = LearningRate(base=0.4, schedule="cosine", length=10, floor=0.1)
    assert rates(cosine, 11) == pytest.approx(theirs(CosineAnnealingLR, 11, T_max=10, eta_min=0.1))
    linear = LearningRate(base=0.4, schedule="linear", length=10, floor=0.1)
    options = {"start_factor": 1.0, "end_factor": 0.25, "total_iters": 10}
    assert rates(linear, 15) == pytest.approx(theirs(LinearLR, 15, **options))


def test_the_rate_grows_over_the_warmup_and_is_never_zero_in_it() -> None:
    assert rates(LearningRate(base=0.4, warmup=4), 6) == pytest.approx(
        [0.1, 0.2, 0.3, 0.4, 0.4, 0.4]
    )
    cosine = LearningRate(base=0.4, schedule="cosine", warmup=2, length=6)
    half = [0.2 * (1 + math.cos(math.pi * k / 4)) for k in range(5)]
    assert rates(cosine, 8) == pytest.approx([0.2, 0.4, *half, 0.0])
    early = LearningRate(base=0.4, schedule="step", decay_at=(1,), warmup=2)
    assert rates(early, 3) == pytest.approx([0.2, 0.04, 0.04])


def test_a_schedule_stays_where_it_ended() -> None:
    for schedule in ("cosine", "linear"):
        rate = LearningRate(base=0.4, schedule=schedule, length=10, floor=0.05)
        assert rates(rate, 30)[10:] == pytest.approx([0.05] * 20)
        assert min(rates(rate, 10)) > 0.05


@given(
    st.builds(
        LearningRate,
        base=st.floats(1e-6, 10.0),
        schedule=st.sampled_from(["constant", "step", "cosine", "linear"]),
        warmup=st.integers(0, 20),
        decay_at=st.lists(st.integers(1, 50), max_size=3, unique=True).map(lambda s: (*sorted(s),)),
        decay=st.floats(0.01, 1.0),
        length=st.integers(0, 60),
        floor=st.floats(0.0, 1e-6),
    ),
    st.integers(0, 80),
    st.integers(0, 30),
)
def test_a_sum_of_step_sizes_is_that_of_its_steps(
    rate: LearningRate, first: int, steps: int
) -> None:
    wanted = math.fsum(rate.at(step) for step in range(first, first + steps))
    assert rate.step_size_sum(first, steps) == pytest.approx(wanted, rel=1e-9, abs=1e-12)
    most = rate.base * (1.0 + 1e-12)
    assert all(0.0 <= rate.at(step) <= most for step in range(first, first + steps))


def test_a_number_is_the_constant_rate() -> None:
    assert LearningRate.of(0.3) == LearningRate(base=0.3)
    assert LearningRate.of(0.3).constant
    assert not LearningRate(base=0.3, warmup=1).constant
    assert LearningRate.of(LearningRate(base=0.3, warmup=1)) == LearningRate(base=0.3, warmup=1)
