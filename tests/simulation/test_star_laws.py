"""Where servers rest on quadratics, as theory predicts, and what losses and deaths do to them."""

from functools import cache
from typing import Any

import numpy as np
import pytest
from support.experiments import quadratic_experiment

from p2pfl.experiment import SERVER, Experiment
from p2pfl.learning.quadratics import QuadraticTask, QuadraticTrainer
from p2pfl.simulation.simulate import Simulation
from p2pfl.simulation.trace import Trace
from p2pfl.theory.client_drift import client_drift, star_fixed_point
from p2pfl.theory.quadratics import relative_error, weighted_optimum
from p2pfl.theory.servers import influence
from p2pfl.types import NodeId, Vector

NODES = 8
RATE = 0.05
H = 8
ROUGH = {"loss": 0.2, "duplication": 0.1, "reorder": 0.2, "reorder_s": 0.3}
ROUNDS = ["fedavg", "fedprox", "fedavgm", "fedadam", "scaffold"]
UPDATES = ["fedasync", "fedbuff"]
SLOW = {f"n{i}": 5.0 for i in range(NODES // 2)}


def star(algorithm: str | dict[str, Any], *, steps: int = H, **tables: Any) -> Experiment:  # noqa: ANN401 - tables as a user writes them
    """A round of everybody takes a virtual second, and beats are rare."""
    kind = {"kind": algorithm} if isinstance(algorithm, str) else algorithm
    base: dict[str, Any] = {
        "nodes": NODES,
        "slow": NODES // 2,
        "time_s": 150.0,
        "algorithm": kind,
        "training": {"learning_rate": RATE, "local_steps": steps},
        "compute": {"step_s": 0.5 / steps, "slowdown": {}},
        "network": {"latency_s": 0.1},
    }
    for name, table in tables.items():
        merges = isinstance(table, dict) and isinstance(base.get(name), dict)
        base[name] = {**base[name], **table} if merges else table
    return quadratic_experiment(**base)


@cache
def end(experiment: Experiment) -> tuple[Vector, QuadraticTask]:
    """The server's model in the end, and the task."""
    trainer = experiment.make_trainer()
    assert isinstance(trainer, QuadraticTrainer)
    simulation = Simulation(experiment, trainer, Trace())
    simulation.run()
    return simulation.world.inhabitants[SERVER].node.public(), trainer.task


def error(experiment: Experiment, *, dead: int = 0) -> float:
    """Distance of the server's model to the optimum of all but the first `dead` clients."""
    x, task = end(experiment)
    a, b = task.curvature[dead:], task.optima[dead:]
    return relative_error(x, optimum=weighted_optimum(a, b), optima=task.optima)


def drift(experiment: Experiment, **parameters: Any) -> float:  # noqa: ANN401 - as `client_drift` takes them
    _, task = end(experiment)
    return client_drift(task.curvature, task.optima, learning_rate=RATE, **parameters)


def close(measured: float, expected: float) -> bool:
    """Within 15 %; a prediction near zero within an absolute 1e-3."""
    return abs(measured - expected) <= max(0.15 * expected, 1e-3)


@pytest.mark.parametrize("kind", ROUNDS)
def test_with_one_local_step_every_server_reaches_the_optimum(kind: str) -> None:
    assert error(star(kind, steps=1)) < 1e-3


@pytest.mark.parametrize("kind", ["fedavg", "fedavgm", "fedadam"])
def test_more_local_steps_drift_as_predicted_whatever_the_servers_step(kind: str) -> None:
    experiment = star(kind)
    expected = drift(experiment, local_steps=H)
    assert expected > 0.03
    assert close(error(experiment), expected)


def test_fedprox_drifts_less_by_as_much_as_its_formula_says() -> None:
    experiment = star({"kind": "fedprox", "proximal": 10.0})
    expected = drift(experiment, local_steps=H, proximal=10.0)
    assert close(error(experiment), expected)
    assert error(experiment) < 0.8 * error(star("fedavg"))


@pytest.mark.parametrize("participation", [1.0, 0.25])
def test_scaffold_does_not_drift_whoever_takes_part(participation: float) -> None:
    kind = {"kind": "scaffold", "participation": participation}
    assert error(star(kind, time_s=400.0)) < 1e-3


@pytest.mark.parametrize("normalise", [False, True])
def test_unequal_local_steps_skew_the_objective_unless_they_are_normalised(
    normalise: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    steps = [8, 1, 2, 1, 4, 1, 2, 1]
    experiment = star(
        {"kind": "fedavg", "normalise": normalise},
        training={"local_steps_of": {f"n{i}": h for i, h in enumerate(steps)}},
    )
    expected = drift(experiment, local_steps=np.array(steps), normalise=normalise)
    assert close(error(experiment), expected)
    assert (expected < 0.1) == normalise


@pytest.mark.parametrize("kind", ROUNDS)
def test_loss_duplicates_and_reordering_change_nothing_of_where_it_rests(kind: str) -> None:
    calm, rough = star(kind), star(kind, network=ROUGH, time_s=600.0)
    assert abs(error(rough) - error(calm)) < 1e-3


@pytest.mark.parametrize("kind", ROUNDS)
@pytest.mark.parametrize("participation", [1.0, 0.5])
def test_while_nobody_is_held_for_dead_loss_changes_no_bit_of_any_round(
    kind: str, participation: float
) -> None:
    """Each answer counts once, and nobody goes on without it: the same rounds, only later."""
    calm, rough = (
        star(
            {"kind": kind, "participation": participation},
            network=network,
            stop={"steps": 40 * H, "time_s": 4000.0},
            staleness={"liveness_floor_s": 20.0},
        )
        for network in ({}, ROUGH | {"loss": 0.1})
    )
    assert np.array_equal(end(rough)[0], end(calm)[0])


@pytest.mark.parametrize("kind", ROUNDS)
@pytest.mark.parametrize("participation", [1.0, 0.25])
def test_the_survivors_of_a_crash_reach_their_own_optimum(kind: str, participation: float) -> None:
    """A quarter dies; with a quarter in each round, a whole cohort may be dead."""
    experiment = star(
        {"kind": kind, "participation": participation},
        steps=1,
        faults={"crash": [{"node": f"n{i}", "at_s": 10.0} for i in range(2)]},
        time_s=300.0,
    )
    if participation == 1.0 or kind == "scaffold":
        assert error(experiment, dead=2) < 1e-3
        assert error(experiment) > 0.05
    else:
        # Momentum over cohorts that change: noise, not drift.
        assert error(experiment, dead=2) < 0.5


@pytest.mark.parametrize(
    ("algorithm", "versions"),
    [
        ({"kind": "fedasync", "alpha": 0.05, "discount": "constant"}, 1),
        ({"kind": "fedasync", "alpha": 0.05}, 1),
        ({"kind": "fedbuff", "buffer_size": 4, "server_learning_rate": 0.2}, 4),
    ],
    ids=["constant", "polynomial", "buffered"],
)
@pytest.mark.parametrize("steps", [1, H])
def test_an_asynchronous_server_weighs_clients_by_rate_and_staleness(
    algorithm: dict[str, Any], versions: int, steps: int
) -> None:
    """The optimum is the slow clients' as much as the fast ones'; the server's is not."""
    latency_s = 0.02
    experiment = star(
        algorithm,
        steps=steps,
        compute={"slowdown": SLOW},
        network={"latency_s": latency_s, "latency": "constant"},
        time_s=600.0,
    )
    x, task = end(experiment)
    cycles = [0.5 * SLOW.get(node, 1.0) + 2.0 * latency_s for node in experiment.learners]
    exponent = 0.0 if algorithm.get("discount") == "constant" else 0.5
    weights = influence(1.0 / np.array(cycles), exponent=exponent, buffer=versions)
    wanted = star_fixed_point(
        task.curvature, task.optima, learning_rate=RATE, local_steps=steps, weights=weights
    )
    optimum = weighted_optimum(task.curvature, task.optima)
    expected = relative_error(wanted, optimum=optimum, optima=task.optima)
    assert expected > 0.4
    assert close(error(experiment), expected)
    assert relative_error(x, optimum=wanted, optima=task.optima) < 0.15 * expected


@pytest.mark.parametrize("kind", UPDATES)
def test_under_loss_and_duplicates_every_update_counts_once(kind: str) -> None:
    experiment = star({"kind": kind, "alpha": 0.1} if kind == "fedasync" else kind, network=ROUGH)
    simulation = Simulation(experiment, experiment.make_trainer(), Trace())
    simulation.run()
    world = simulation.world
    counted = world.inhabitants[SERVER].node.state.steps
    done = sum(one.node.steps for one in world.inhabitants.values())
    assert done - NODES * H <= counted <= done
    assert counted > 60 * H


@pytest.mark.parametrize("kind", UPDATES)
@pytest.mark.parametrize("network", [{}, ROUGH], ids=["calm", "rough"])
def test_equally_fast_clients_count_alike_and_the_dead_are_forgotten(
    kind: str, network: dict[str, float]
) -> None:
    """Rough networks slow everybody down alike, up to chance."""
    algorithm = {"fedasync": {"alpha": 0.02}, "fedbuff": {"server_learning_rate": 0.2}}[kind]
    experiment = star(
        {"kind": kind, "discount": "constant", **algorithm},
        steps=1,
        network=network,
        faults={"crash": [{"node": f"n{i}", "at_s": 10.0} for i in range(2)]},
        time_s=700.0,
    )
    assert error(experiment, dead=2) < (0.05 if network else 0.02)


@pytest.mark.parametrize("kind", UPDATES)
def test_asynchronous_clients_do_the_steps_that_were_asked_for_and_end_with_one_model(
    kind: str,
) -> None:
    experiment = star(kind, stop={"steps": 20 * H, "time_s": 4000.0}, network=ROUGH)
    simulation = Simulation(experiment, experiment.make_trainer(), Trace())
    result = simulation.run()
    server = simulation.world.inhabitants[SERVER].node
    assert server.state.steps == 20 * H * NODES
    assert {one.outcome for one in result.nodes} == {"finished"}
    assert result.duration_s < 4000.0
    assert all(np.array_equal(x, server.public()) for x in result.public.values())


@pytest.mark.parametrize("kind", ROUNDS)
def test_a_finished_server_leaves_everybody_with_its_last_model(kind: str) -> None:
    experiment = star(
        {"kind": kind, "participation": 0.25},
        stop={"steps": 5 * H, "time_s": 4000.0},
        network=ROUGH,
    )
    simulation = Simulation(experiment, experiment.make_trainer(), Trace())
    result = simulation.run()
    server = simulation.world.inhabitants[SERVER].node
    assert {one.outcome for one in result.nodes} == {"finished"}
    assert all(np.array_equal(x, server.public()) for x in result.public.values())


@pytest.mark.parametrize("kind", [*ROUNDS, *UPDATES])
def test_a_star_resumed_from_snapshots_goes_on_as_if_nothing_had_happened(kind: str) -> None:
    half = {} if kind in UPDATES else {"participation": 0.5}
    experiment = star({"kind": kind, **half}, network=ROUGH, time_s=40.0)
    hashes = []
    for resumes in (False, True):
        trainer = experiment.make_trainer()
        trace = Trace()
        world = Simulation(experiment, trainer, trace).world
        world.start()
        goes_on = not resumes
        while world.next_s < 40.0:
            if not goes_on and world.now_s > 13.0:
                goes_on = True
                for name, one in world.inhabitants.items():
                    was = one.node.snapshot()
                    x0 = trainer.initial()
                    run = one.node.settings.run
                    one.node = experiment.make_node(name, run=run, trainer=trainer, x0=x0)
                    one.node.resume(was)
            world.step()
        x = world.inhabitants[SERVER].node.public()
        hashes.append((trace.digest(), x.tobytes()))
    assert hashes[0] == hashes[1]


@pytest.mark.parametrize("kind", [*ROUNDS, *UPDATES])
@pytest.mark.parametrize("dies", ["n3", "server"])
def test_a_star_goes_on_when_one_of_it_comes_back_from_its_checkpoint(kind: str, dies: str) -> None:
    half = {} if kind in UPDATES else {"participation": 0.5}
    experiment = star({"kind": kind, **half}, steps=1, time_s=200.0, checkpoint={"every_s": 3.0})
    simulation = Simulation(experiment, experiment.make_trainer(), Trace())
    world = simulation.world
    simulation.faults.plan()
    world.start()
    reached = []
    for at_s, change in ((50.0, world.crash), (60.0, world.restart), (200.0, None)):
        while world.next_s < at_s:
            world.step()
        client = world.inhabitants[NodeId("n3")].node
        reached.append((world.inhabitants[SERVER].node.version, client.steps))
        if change is not None:
            change(NodeId(dies))
    assert reached[2][0] > reached[1][0] + 80
    assert reached[2][1] > reached[1][1] + 40
