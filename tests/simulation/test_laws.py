"""What theory says of asynchronous mixing holds in the simulator (ALGORITHMS 1.5)."""

from functools import cache

import numpy as np
import pytest
from support.experiments import (
    mixing_matrix,
    models,
    quadratic_experiment,
    quadratic_task,
    rates,
)

from p2pfl.experiment import Experiment
from p2pfl.results.record import RunResult
from p2pfl.simulation.simulate import simulate
from p2pfl.theory.bias import predicted_bias, pull_dropping_by_lag
from p2pfl.theory.fixed_points import ghost_fixed_point, steady_bias, survivors_error
from p2pfl.theory.quadratics import relative_error, weighted_optimum
from p2pfl.types import Matrix

RATE = 0.05
PULL_MIX = quadratic_experiment(time_s=2000.0)
D_PSGD = quadratic_experiment(algorithm={"kind": "dpsgd"}, time_s=3000.0)
DROP_LAG = quadratic_experiment(staleness={"metric": "lag", "bound": 4.0}, time_s=2000.0)


@cache
def run(experiment: Experiment) -> RunResult:
    return simulate(experiment)


def measured_bias(experiment: Experiment) -> float:
    task = quadratic_task(experiment)
    wanted = weighted_optimum(task.curvature, task.optima)
    x = models(run(experiment).public, experiment)
    return relative_error(x, optimum=wanted, optima=task.optima)


def predicted(experiment: Experiment, mixing: Matrix | None = None) -> float:
    """Bias of the exact fixed point, by default of the experiment's own mixing matrix."""
    task = quadratic_task(experiment)
    w = mixing_matrix(experiment) if mixing is None else mixing
    rate = experiment.config.training.learning_rate
    return steady_bias(w, task.curvature, task.optima, learning_rate=rate)


def cut_by_lag(experiment: Experiment) -> Matrix:
    """The mixing matrix that dropping by lag leaves: nobody hears a slower one any more."""
    w, r = mixing_matrix(experiment), np.array(rates(experiment))
    kept = w * (r[None, :] >= r[:, None])
    return np.asarray(kept + np.diag(1.0 - kept.sum(axis=1)))


def close(measured: float, expected: float) -> bool:
    """Within 15 %; a prediction near zero within an absolute 1e-3."""
    return abs(measured - expected) <= max(0.15 * expected, 1e-3)


def test_slow_nodes_do_not_bias_pull_mix() -> None:
    assert close(measured_bias(PULL_MIX), predicted(PULL_MIX))


def test_synchronous_sgd_ends_at_the_same_fixed_point() -> None:
    assert close(measured_bias(D_PSGD), predicted(D_PSGD))


def test_dropping_by_lag_forgets_the_slow_nodes_data() -> None:
    assert close(measured_bias(DROP_LAG), predicted(DROP_LAG, cut_by_lag(DROP_LAG)))


def test_the_bias_law_holds_where_steps_are_small_and_mixing_is_good() -> None:
    experiment = quadratic_experiment(
        topology={"kind": "circulant", "offsets": [1, 2, 4]},
        training={"learning_rate": 0.005},
        staleness={"metric": "lag", "bound": 4.0},
        time_s=3000.0,
    )
    task = quadratic_task(experiment)
    scheme = pull_dropping_by_lag(mixing_matrix(experiment), rates(experiment))
    expected = predicted_bias(scheme, task.curvature, task.optima)
    assert expected > 0.5
    assert close(measured_bias(experiment), expected)


def test_the_order_of_the_table_holds() -> None:
    pull, barrier, lag = (measured_bias(e) for e in (PULL_MIX, D_PSGD, DROP_LAG))
    assert abs(pull - barrier) < 2e-3
    assert lag > 3.0 * pull


@pytest.mark.parametrize("loss", [0.2])
def test_loss_adds_staleness_and_no_bias(loss: float) -> None:
    experiment = quadratic_experiment(network={"loss": loss})
    assert close(measured_bias(experiment), predicted(experiment))


def test_pull_mix_is_several_times_faster_than_the_barrier() -> None:
    fast = run(PULL_MIX).nodes
    barrier = run(D_PSGD).nodes
    pulls = sum(n.versions for n in fast) / run(PULL_MIX).duration_s
    rounds = sum(n.versions for n in barrier) / run(D_PSGD).duration_s
    assert pulls > 3.0 * rounds


def crashed(policy: dict[str, object]) -> Experiment:
    """A quarter of the nodes die early, far from the survivors' optimum."""
    return quadratic_experiment(
        slow=0,
        data={"sites": [4.0, 0.0, 0.0, 0.0]},
        faults={"crash": [{"node": f"n{i}", "at_s": 40.0} for i in (0, 4, 8, 12)]},
        topology={"kind": "circulant", "nodes": 16, "offsets": [1, 2]},
        staleness=policy,
        time_s=800.0,
    )


def crash_error(experiment: Experiment) -> float:
    task = quadratic_task(experiment)
    x = models(run(experiment).public, experiment)
    return survivors_error(x, task.curvature, task.optima, dead=[0, 4, 8, 12])


def test_a_dead_neighbours_model_anchors_everyone_unless_it_is_left_out() -> None:
    bounded = crash_error(crashed({}))
    unbounded = crash_error(crashed({"policy": "none"}))
    assert unbounded > 10.0 * bounded
    assert run(crashed({})).staleness_max <= 3.0


def test_the_ghosts_pull_as_theory_says() -> None:
    experiment = crashed({"policy": "none"})
    task = quadratic_task(experiment)
    at_death = simulate(experiment.replace(stop=type(experiment.config.stop)(time_s=39.99)))
    dead = [0, 4, 8, 12]
    ghosts = np.stack([at_death.public[experiment.learners[i]] for i in dead])
    x = ghost_fixed_point(
        mixing_matrix(experiment),
        task.curvature,
        task.optima,
        learning_rate=RATE,
        dead=dead,
        frozen=ghosts,
    )
    expected = survivors_error(x, task.curvature, task.optima, dead=dead)
    assert close(crash_error(experiment), expected)
