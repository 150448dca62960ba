"""The laws that every algorithm of the suite holds, each by what it claims (ALGORITHMS 1.5)."""

from functools import cache
from typing import Any

import numpy as np
import pytest
from support.claims import CLAIMS, claimed_experiment_tables, spread_of_models
from support.experiments import models, quadratic_experiment, quadratic_task

from p2pfl.config.schema import AlgorithmConfig
from p2pfl.draws import draw
from p2pfl.experiment import Experiment
from p2pfl.learning.quadratics import QuadraticTask
from p2pfl.messages import Saved
from p2pfl.results.checkpoint import Checkpoint, load_checkpoint, write_checkpoint
from p2pfl.results.record import RunResult
from p2pfl.simulation.simulate import Simulation, simulate
from p2pfl.simulation.trace import Trace
from p2pfl.theory.fixed_points import survivors_error
from p2pfl.theory.quadratics import relative_error, weighted_optimum

SURVIVING = [kind for kind in CLAIMS if CLAIMS[kind].survives is not None]
DEAD = [0, 4, 8, 12]


def claimed(kind: str, **tables: Any) -> Experiment:  # noqa: ANN401 - tables of the file
    """The experiment that an algorithm's claims are about; `tables` go over its own, key by key."""
    merged: dict[str, Any] = claimed_experiment_tables(kind)
    for name, table in tables.items():
        before = merged.get(name)
        merged[name] = {**before, **table} if isinstance(before, dict) else table
    time_s = merged.pop("time_s", CLAIMS[kind].time_s)
    return quadratic_experiment(time_s=time_s, **merged)


@cache
def run(experiment: Experiment) -> RunResult:
    return simulate(experiment)


def ends(experiment: Experiment) -> np.ndarray:
    """The final x of those who learn, `[n, d]` (one row where all data is at one place)."""
    result = run(experiment)
    return np.stack([result.public[node] for node in experiment.learners if node in result.public])


def objectives(experiment: Experiment) -> QuadraticTask:
    """Every node's own, also where all data is pooled."""
    return quadratic_task(experiment.replace(algorithm=AlgorithmConfig()))


def bias(experiment: Experiment) -> float:
    task = objectives(experiment)
    wanted = weighted_optimum(task.curvature, task.optima)
    return relative_error(ends(experiment), optimum=wanted, optima=task.optima)


def as_claimed(kind: str, experiment: Experiment) -> bool:
    """Within 15 %, or as claimed; a prediction near zero within an absolute 1e-3."""
    claim = CLAIMS[kind]
    expected = claim.bias(experiment)
    return abs(bias(experiment) - expected) <= max(claim.tolerance * expected, 1e-3)


@pytest.mark.parametrize("kind", CLAIMS)
def test_whose_data_counts_is_as_theory_says_though_half_the_nodes_are_slow(kind: str) -> None:
    experiment = claimed(kind)
    assert as_claimed(kind, experiment)


@pytest.mark.parametrize("kind", CLAIMS)
def test_nodes_with_equal_data_find_its_optimum_and_agree(kind: str) -> None:
    experiment = claimed(kind, data={"sites": [2.0], "spread": 0.0})
    x, task = ends(experiment), objectives(experiment)
    assert spread_of_models(x) < 1e-3
    assert np.abs(x - task.optima[0]).max() < 1e-3


@pytest.mark.parametrize(
    "network",
    [{"loss": 0.2}, {"duplication": 0.3}, {"reorder": 0.3, "reorder_s": 3.0}],
    ids=["a fifth lost", "some twice", "some late"],
)
@pytest.mark.parametrize("kind", [kind for kind in CLAIMS if CLAIMS[kind].unordered])
def test_what_the_network_does_to_messages_changes_nobodys_weight(
    kind: str, network: dict[str, float]
) -> None:
    experiment = claimed(kind, network=network)
    assert as_claimed(kind, experiment)


@pytest.mark.parametrize("kind", SURVIVING)
def test_a_quarter_that_dies_is_forgotten(kind: str) -> None:
    experiment = claimed(
        kind,
        slow=0,
        topology={"kind": "circulant", "nodes": 16, "offsets": [1, 2]},
        data={"sites": [4.0, 0.0, 0.0, 0.0]},
        faults={"crash": [{"node": f"n{i}", "at_s": 40.0} for i in DEAD]},
        time_s=600.0,
    )
    task, limit = quadratic_task(experiment), CLAIMS[kind].survives
    assert limit is not None
    x = models(run(experiment).public, experiment)
    assert np.isfinite(x).all()
    assert survivors_error(x, task.curvature, task.optima, dead=DEAD) < limit


# ---------------------------------------------------------------- one node for another


def small(kind: str) -> Experiment:
    return claimed(
        kind,
        nodes=4,
        slow=1,
        topology={"nodes": 4},
        network={"loss": 0.1, "reorder": 0.1, "duplication": 0.1},
        faults={"crash": [{"node": "n2", "at_s": 9.0, "restart_s": 14.0}]},
        time_s=25.0,
    )


class Surgery(Simulation):
    """Now and then, a node is exchanged for a new one that resumes from its snapshot."""

    exchanged = 0

    def operate(self) -> RunResult:
        """As `run`, with an exchange after about every third event."""
        self.faults.plan()
        self.world.start()
        self._schedule()
        k = 0
        while not self._ended and self.world.step():
            k += 1
            names = list(self.world.inhabitants)
            if draw(1, "surgery", "when", k) < 0.3:
                name = names[int(draw(1, "surgery", "who", k) * len(names))]
                one = self.world.inhabitants[name]
                fresh = self.world._make_node(name)
                fresh.resume(one.node.snapshot())
                one.node = fresh
                self.exchanged += 1
        return self._result()


@pytest.mark.parametrize("kind", CLAIMS)
def test_a_node_exchanged_for_its_snapshot_at_any_event_goes_on_the_same(kind: str) -> None:
    experiment = small(kind)
    trainer = experiment.make_trainer()
    plain = Simulation(experiment, trainer, Trace()).run()
    surgery = Surgery(experiment, trainer, Trace())
    operated = surgery.operate()
    assert surgery.exchanged >= 5
    assert operated.trace_hash == plain.trace_hash
    assert operated.public.keys() == plain.public.keys()
    for node, x in plain.public.items():
        assert np.array_equal(operated.public[node], x)
        assert np.array_equal(operated.served[node], plain.served[node])


@pytest.mark.parametrize("kind", CLAIMS)
def test_what_a_node_remembers_fits_into_a_file(kind: str, tmp_path: Any) -> None:  # noqa: ANN401
    simulation = Simulation(small(kind), small(kind).make_trainer(), Trace())
    simulation.run()
    for name, one in simulation.world.inhabitants.items():
        saved = one.node.saved()
        held = Checkpoint(node=name, digest="d", schema="s", saved=saved, momentum=None, updates=0)
        write_checkpoint(tmp_path, held)
        again = load_checkpoint(tmp_path / f"{name}.checkpoint", one.node.algorithm)
        assert again is not None
        assert isinstance(again.saved, Saved)
        fresh = simulation.world._make_node(name)
        fresh.state = again.saved.state
        assert np.array_equal(fresh.public(), one.node.public())


def test_the_suite_is_deterministic() -> None:
    assert run(small("pull_mix")).trace_hash == simulate(small("pull_mix")).trace_hash
