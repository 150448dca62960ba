"""The pace that a real node is held to, and its one thread."""

import asyncio
import math

import numpy as np
import pytest
import torch

from p2pfl.config.schema import ComputeConfig
from p2pfl.learning.trainer import Score, TrainJob, TrainOutcome
from p2pfl.messages import Train
from p2pfl.runtime.worker import Pace, Worker
from p2pfl.types import NodeId, Vector

N0 = NodeId("n0")


def pace(**values: object) -> Pace:
    return Pace(ComputeConfig(**values), seed=0, node=N0)  # type: ignore[arg-type]  # a test's numbers


def test_the_rest_of_a_given_step_time_is_slept() -> None:
    assert pace(step_s=0.01, slowdown={"n0": 3.0}).rest_s(4, 0.02) == pytest.approx(0.10)


def test_an_update_that_took_too_long_is_told_and_not_slept() -> None:
    slow = pace(step_s=0.01)
    assert slow.rest_s(1, 0.5) == 0.0
    assert slow.missed_s == pytest.approx(0.49)


def test_without_a_step_time_a_slow_node_is_slowed_by_its_factor() -> None:
    assert pace(slowdown={"n0": 4.0}).rest_s(1, 0.1) == pytest.approx(0.3)
    assert pace(slowdown={"n1": 4.0}).rest_s(1, 0.1) == 0.0


def test_a_sleep_that_lasted_too_long_is_made_up_for_once() -> None:
    held = pace(step_s=0.01)
    rest_s = held.rest_s(1, 0.0)
    held.woke(rest_s, rest_s + 0.015)
    assert held.rest_s(1, 0.0) == 0.0
    assert held.rest_s(1, 0.0) == pytest.approx(0.005)
    held.woke(0.005, 0.005)
    assert held.rest_s(1, 0.0) == pytest.approx(0.01)


class Counting:
    """A trainer that adds one, and counts in its momentum."""

    dimension, schema = 2, "schema"
    notes: tuple[str, ...] = ()

    def initial(self) -> Vector:
        return np.zeros(2, np.float32)

    def samples(self, node: NodeId) -> int:
        return 1

    def labels(self, node: NodeId) -> tuple[int, ...]:
        return ()

    def train(self, jobs: object) -> list[TrainOutcome]:
        (job,) = list(jobs)  # type: ignore[call-overload]  # jobs
        assert isinstance(job, TrainJob)
        before = 0.0 if job.momentum is None else float(job.momentum[0])
        state = np.full(2, before + 1.0, np.float32)
        return [TrainOutcome(job.start + 1.0, state, 0.5)]

    def evaluate(self, vectors: object, nodes: object) -> list[Score]:
        return [Score(math.pi)]


def effect(token: int, *, fresh: bool = False) -> Train:
    return Train(token, np.zeros(2, np.float32), 0, 1, fresh_optimizer=fresh)


async def test_the_optimizer_goes_on_from_the_last_update_or_begins_anew() -> None:
    worker = Worker(N0, Counting(), pace())
    counts = []
    for token, fresh in enumerate([False, False, True, False]):
        outcome = await worker.train(effect(token, fresh=fresh))
        assert outcome.momentum is not None
        counts.append(float(outcome.momentum[0]))
    worker.close()
    assert counts == [1.0, 2.0, 1.0, 2.0]


async def test_a_cancelled_training_leaves_no_trace_in_the_optimizer() -> None:
    worker = Worker(N0, Counting(), pace(step_s=60.0))
    task = asyncio.create_task(worker.train(effect(1)))
    await asyncio.sleep(0.05)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    worker.pace = pace()
    outcome = await worker.train(effect(2))
    worker.close()
    assert outcome.momentum is not None
    assert float(outcome.momentum[0]) == 1.0


async def test_an_evaluation_tells_what_it_took() -> None:
    worker = Worker(N0, Counting(), pace())
    score, took_s = await worker.evaluate(np.zeros(2, np.float32))
    worker.close()
    assert score == Score(math.pi)
    assert 0.0 <= took_s == worker.evaluated_s


async def test_each_training_and_evaluation_asks_how_many_threads_it_may_use() -> None:
    asked = iter([2, 3])
    found = []

    class Looking(Counting):
        def train(self, jobs: object) -> list[TrainOutcome]:
            found.append(torch.get_num_threads())
            return super().train(jobs)

        def evaluate(self, vectors: object, nodes: object) -> list[Score]:
            found.append(torch.get_num_threads())
            return super().evaluate(vectors, nodes)

    before = torch.get_num_threads()
    worker = Worker(N0, Looking(), pace(), threads=lambda: next(asked))
    await worker.train(effect(1))
    await worker.evaluate(np.zeros(2, np.float32))
    worker.close()
    torch.set_num_threads(before)
    assert found == [2, 3]
