"""The one thread in which a real node trains and evaluates, and the pace that it is held to."""

import asyncio
import math
import sys
from collections.abc import Callable
from time import perf_counter

from p2pfl.compute import ComputeLaw
from p2pfl.config.schema import ComputeConfig
from p2pfl.learning.trainer import Score, Trainer, TrainJob, TrainOutcome
from p2pfl.messages import Train
from p2pfl.runtime.priority import computing_thread
from p2pfl.types import NodeId, Vector


class Pace:
    """How long an update is to take at least: given seconds per step, or times the machine's own.

    `step_s` and `slowdown` of the experiment mean the same in virtual time. A node never goes
    faster than its machine; where it cannot keep the pace, `missed_s` says by how much.
    """

    def __init__(self, config: ComputeConfig, *, seed: int, node: NodeId) -> None:
        self._law = ComputeLaw(config, seed=seed)
        self._node = node
        self._given = config.step_s is not None
        self.updates = 0
        """Updates done: the counter of durations."""
        self.slept_s = 0.0
        self.missed_s = 0.0
        self._late_s = 0.0

    def rest_s(self, steps: int, elapsed_s: float) -> float:
        """Seconds to sleep after an update that took `elapsed_s`."""
        if self._given:
            wanted_s = self._law.duration_s(self._node, steps, self.updates)
        else:
            wanted_s = elapsed_s * max(1.0, self._law.factor(self._node, self.updates))
        self.updates += 1
        rest_s = wanted_s - elapsed_s
        if rest_s < 0.0:
            self.missed_s -= rest_s
            self._late_s = 0.0
            return 0.0
        # A sleep that lasted too long is made up for by the next ones.
        late_s, self._late_s = self._late_s, max(0.0, self._late_s - rest_s)
        return max(0.0, rest_s - late_s)

    def woke(self, rest_s: float, slept_s: float) -> None:
        """Count a sleep: how long it was to be, and how long it was."""
        self.slept_s += slept_s
        self._late_s = max(0.0, slept_s - rest_s)


class Worker:
    """Trains and evaluates for one node, in order of asking, off the event loop."""

    def __init__(
        self,
        node: NodeId,
        trainer: Trainer,
        pace: Pace,
        *,
        threads: Callable[[], int] = lambda: 1,
        niceness: int = 0,
    ) -> None:
        """`threads`: how many one training or evaluation may use, asked before each."""
        self.pace = pace
        self.niceness = niceness
        self.trained_s = 0.0
        """Seconds from asking to outcome, without the sleeps."""
        self.evaluated_s = 0.0
        self.loss = math.nan
        """Mean over the last update."""
        self.done_s = math.nan
        """When the last update was done, on the event loop's clock."""
        self._first_s = math.nan
        self._updates = 0
        self._node = node
        self._trainer = trainer
        self._threads = threads
        self._momentum: Vector | None = None
        self._thread = computing_thread(f"p2pfl {node} worker", niceness=niceness)

    async def train(self, effect: Train) -> TrainOutcome:
        """Do one local update and sleep the rest of its time.

        The optimizer's new state is kept on return, which is when `Trained` is delivered: a
        training that is cancelled leaves no trace.
        """
        loop = asyncio.get_running_loop()
        job = TrainJob(
            node=self._node,
            start=effect.start,
            first_step=effect.first_step,
            steps=effect.steps,
            momentum=None if effect.fresh_optimizer else self._momentum,
            correction=effect.correction,
            proximal=effect.proximal,
        )
        begun_s = loop.time()
        outcome = await loop.run_in_executor(self._thread, self._train, job)
        done_s = loop.time()
        self.trained_s += done_s - begun_s
        rest_s = self.pace.rest_s(effect.steps, done_s - begun_s)
        if rest_s > 0.0:
            await asyncio.sleep(rest_s)
            self.pace.woke(rest_s, loop.time() - done_s)
        self._momentum = outcome.momentum
        self.loss, self.done_s = outcome.loss, loop.time()
        self._first_s = self._first_s if self._updates else self.done_s
        self._updates += 1
        return outcome

    @property
    def period_s(self) -> float:
        """Mean seconds from one update to the next, waits included; 0: there were no two."""
        return (self.done_s - self._first_s) / (self._updates - 1) if self._updates > 1 else 0.0

    @property
    def memory(self) -> tuple[Vector | None, int]:
        """The optimizer's state, and how many updates were done."""
        return self._momentum, self.pace.updates

    def remember(self, momentum: Vector | None, updates: int) -> None:
        """Go on from an earlier life's memory."""
        self._momentum = momentum
        self.pace.updates = updates

    async def evaluate(self, vector: Vector) -> tuple[Score, float]:
        """Score a model, after the training that is under way; with the seconds that it took."""
        loop = asyncio.get_running_loop()
        score, took_s = await loop.run_in_executor(self._thread, self._evaluate, vector)
        self.evaluated_s += took_s
        return score, took_s

    def close(self) -> None:
        """Begin nothing more; what the thread is at ends by itself."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _train(self, job: TrainJob) -> TrainOutcome:
        self._use_threads()
        (outcome,) = self._trainer.train([job])
        return outcome

    def _use_threads(self) -> None:
        """Quadratics need no torch, and it is not loaded for them."""
        if "torch" in sys.modules:
            from p2pfl.learning.threads import use_threads

            use_threads(self._threads())

    def _evaluate(self, vector: Vector) -> tuple[Score, float]:
        self._use_threads()
        begun_s = perf_counter()
        (score,) = self._trainer.evaluate([vector], [self._node])
        return score, perf_counter() - begun_s
