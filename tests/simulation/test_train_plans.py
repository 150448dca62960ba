"""What an algorithm asks of a local training reaches the trainer, in either driver."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pytest
from support.experiments import quadratic_experiment

from p2pfl.algorithms.base import Advance, Finish, Local, TrainPlan, VectorAlgorithm
from p2pfl.experiment import Experiment
from p2pfl.learning.trainer import TrainJob
from p2pfl.messages import Neighbour, Train
from p2pfl.runtime.worker import Pace, Worker
from p2pfl.simulation.simulate import simulate
from p2pfl.types import NodeId, Vector

N0 = NodeId("n0")
TERMS = TrainPlan(
    np.zeros(10, np.float32), correction=np.linspace(-1.0, 1.0, 10, dtype=np.float32), proximal=3.0
)


@dataclass(frozen=True, slots=True)
class Drawn(VectorAlgorithm):
    """Trains with a correction and a proximal term."""

    def advance(
        self, state: Vector, local: Local, neighbours: Sequence[Neighbour]
    ) -> Advance[Vector]:
        return Advance(state, train=TERMS._replace(start=state))

    def finish(
        self, state: Vector, local: Local, neighbours: Sequence[Neighbour], trained: Vector
    ) -> Finish[Vector]:
        return Finish(trained, outgoing=())


@pytest.fixture
def experiment(monkeypatch: pytest.MonkeyPatch) -> Experiment:
    made = quadratic_experiment(
        nodes=4,
        slow=0,
        training={"local_steps": 6, "clip_norm": 0.5, "schedule": "cosine", "warmup_steps": 2},
        stop={"steps": 6},
    )
    monkeypatch.setattr(Experiment, "rule", Drawn())
    return made


async def test_correction_and_proximal_term_reach_the_trainer(experiment: Experiment) -> None:
    trainer = experiment.make_trainer()
    job = TrainJob(
        N0, trainer.initial(), 0, 6, None, correction=TERMS.correction, proximal=TERMS.proximal
    )
    (wanted,) = trainer.train([job])
    (plain,) = trainer.train([job._replace(proximal=0.0)])
    assert not np.allclose(wanted.vector, plain.vector)
    assert np.array_equal(simulate(experiment).public[N0], wanted.vector)
    worker = Worker(N0, trainer, Pace(experiment.config.compute, seed=0, node=N0))
    worker.pace = Pace(replace(experiment.config.compute, step_s=0.0), seed=0, node=N0)
    effect = Train(0, job.start, 0, 6, correction=TERMS.correction, proximal=TERMS.proximal)
    outcome = await worker.train(effect)
    worker.close()
    assert np.array_equal(outcome.vector, wanted.vector)
