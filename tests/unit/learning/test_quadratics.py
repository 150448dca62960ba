import subprocess
import sys

import numpy as np
import pytest

from p2pfl.errors import ConfigError
from p2pfl.learning.quadratics import QuadraticTask, QuadraticTrainer, build_quadratic_task
from p2pfl.learning.trainer import TrainJob
from p2pfl.types import NodeId, Vector

NODES = [NodeId(f"n{i}") for i in range(16)]


def make(**changes: object) -> QuadraticTask:
    arguments: dict[str, object] = {"nodes": NODES, "seed": 0, "learning_rate": 0.05, **changes}
    return build_quadratic_task(**arguments)  # type: ignore[arg-type] # checked by running


def job(
    trainer: QuadraticTrainer,
    *,
    node: NodeId = NODES[0],
    start: Vector | None = None,
    first_step: int = 0,
    steps: int = 1,
    momentum: Vector | None = None,
    correction: Vector | None = None,
) -> TrainJob:
    where = trainer.initial() if start is None else start
    return TrainJob(node, where, first_step, steps, momentum, correction)


def test_the_task_is_drawn_within_its_bounds() -> None:
    task = make(condition=4.0, dimension=500, spread=2.0, sites=(-3.0, 5.0))
    assert task.curvature.min() >= 1.0
    assert task.curvature.max() <= 4.0
    assert task.curvature.mean() == pytest.approx(2.5, rel=0.05)
    assert task.optima[::2].mean() == pytest.approx(-3.0, abs=0.2)
    assert task.optima[1::2].mean() == pytest.approx(5.0, abs=0.2)
    assert task.optima[0].std() == pytest.approx(2.0, rel=0.15)


def test_a_node_keeps_its_objective_when_others_join() -> None:
    few, many = make(nodes=NODES[:3]), make()
    assert np.array_equal(few.optima, many.optima[:3])
    assert not np.array_equal(many.optima, make(seed=1).optima)


def test_at_the_optimum_the_mean_gradient_is_zero() -> None:
    task = make()
    gradient = (task.curvature * (task.optimum() - task.optima)).mean(axis=0)
    assert np.abs(gradient).max() < 1e-14


def test_a_step_is_the_learning_rate_times_the_gradient() -> None:
    task = make(start=5.0)
    trainer = QuadraticTrainer(task)
    outcome = trainer.train([job(trainer, node=NODES[2])])[0]
    gradient = task.curvature[2] * (5.0 - task.optima[2])
    assert np.allclose(outcome.vector, 5.0 - 0.05 * gradient, atol=1e-6)
    assert outcome.loss == pytest.approx(0.5 * gradient @ (5.0 - task.optima[2]), rel=1e-5)
    assert outcome.vector.dtype == np.float32
    assert not outcome.vector.flags.writeable


def test_many_steps_reach_the_nodes_own_optimum() -> None:
    trainer = QuadraticTrainer(make())
    outcome = trainer.train([job(trainer, node=NODES[3], steps=800)])[0]
    assert np.allclose(outcome.vector, trainer.task.optima[3], atol=1e-5)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_two_jobs_in_a_row_are_one_long_job(momentum: float) -> None:
    trainer = QuadraticTrainer(make(momentum=momentum, weight_decay=0.1, noise=0.5))
    whole = trainer.train([job(trainer, steps=70)])[0]
    first = trainer.train([job(trainer, steps=30)])[0]
    assert (first.momentum is None) == (momentum == 0.0)
    rest = job(trainer, start=first.vector, first_step=30, steps=40, momentum=first.momentum)
    assert np.array_equal(trainer.train([rest])[0].vector, whole.vector)


def test_momentum_and_weight_decay_are_those_of_pytorch() -> None:
    trainer = QuadraticTrainer(make(momentum=0.9, weight_decay=0.1, start=1.0))
    x, v = np.full(10, 1.0), np.zeros(10)
    for _ in range(5):
        gradient = trainer.task.curvature[0] * (x - trainer.task.optima[0]) + 0.1 * x
        v = 0.9 * v + gradient
        x = x - 0.05 * v
    outcome = trainer.train([job(trainer, steps=5)])[0]
    assert np.allclose(outcome.vector, x, atol=1e-5)
    assert outcome.momentum is not None
    assert np.allclose(outcome.momentum, v, atol=1e-4)


def test_a_correction_is_added_to_every_gradient() -> None:
    trainer = QuadraticTrainer(make())
    correction = np.full(10, 2.0, np.float32)
    without = trainer.train([job(trainer)])[0].vector
    assert np.allclose(
        without - trainer.train([job(trainer, correction=correction)])[0].vector, 0.1, atol=1e-6
    )


def test_noise_is_drawn_by_counter_with_its_deviation() -> None:
    trainer, quiet = QuadraticTrainer(make(noise=2.0)), QuadraticTrainer(make())
    jobs = [job(trainer, first_step=step) for step in range(400)]
    found = np.array([outcome.vector for outcome in trainer.train(jobs)])
    backwards = np.array([outcome.vector for outcome in trainer.train(jobs[::-1])])
    assert np.array_equal(found, backwards[::-1])
    noise = (quiet.train([job(quiet)])[0].vector - found) / 0.05
    assert noise.mean() == pytest.approx(0.0, abs=0.1)
    assert noise.std() == pytest.approx(2.0, rel=0.05)


def test_the_score_is_the_distance_to_the_optimum() -> None:
    trainer = QuadraticTrainer(make())
    optimum = trainer.task.optimum()
    away = optimum.copy()
    away[0] += 3.0
    vectors = [optimum.astype(np.float32), away.astype(np.float32)]
    scores = trainer.evaluate(vectors, NODES[:2])
    assert scores[0].loss < 1e-6
    assert scores[1].loss == pytest.approx(3.0, rel=1e-6)
    assert scores[1].accuracy is None


def test_a_server_has_no_samples() -> None:
    trainer = QuadraticTrainer(make())
    assert trainer.samples(NODES[0]) == 1
    assert trainer.samples(NodeId("server")) == 0
    assert len(trainer.schema) == 16
    assert trainer.dimension == 10


def test_numbers_that_make_no_sense_are_refused_by_their_key() -> None:
    for change, key in (
        ({"dimension": 0}, "data.dimension is 0"),
        ({"condition": 0.5}, "data.condition is 0.5"),
        ({"spread": -1.0}, "data.spread -1.0"),
    ):
        with pytest.raises(ConfigError, match=key):
            make(**change)


def test_quadratics_do_not_load_torch() -> None:
    script = "import p2pfl.learning.quadratics, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
