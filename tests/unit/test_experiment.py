"""Putting an experiment together, and refusing what cannot be."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from p2pfl.algorithms.base import Advance, Finish, Local, TrainPlan, VectorAlgorithm
from p2pfl.algorithms.fedasync import FedAsyncServer
from p2pfl.algorithms.fedavg import FedAvgServer
from p2pfl.config.load import config_from_mapping
from p2pfl.config.schema import AlgorithmConfig, NetworkConfig, StopConfig, TrainingConfig
from p2pfl.errors import ConfigError, DataError
from p2pfl.experiment import CENTRE, SERVER, Experiment, load_experiment
from p2pfl.messages import Neighbour
from p2pfl.simulation.simulate import simulate
from p2pfl.types import NodeId, Vector


def make(**tables: Any) -> Experiment:  # noqa: ANN401 - tables as a user writes them
    base: dict[str, Any] = {
        "name": "test",
        "topology": {"kind": "ring", "nodes": 4},
        "data": "digits",
        "model": "softmax",
        "training": {"learning_rate": 0.1, "local_steps": 2},
        "stop": {"steps": 10},
    }
    return Experiment(config_from_mapping(base | tables, source="test"))


def test_neighbours_and_weights_come_from_the_graph() -> None:
    place = make().place("n1")
    assert [peer for peer, _ in place.neighbours] == ["n0", "n2"]
    assert [weight for _, weight in place.neighbours] == pytest.approx([1 / 3, 1 / 3])
    assert place.learns


def test_a_run_is_as_far_as_the_stop_that_it_is_nearest_to() -> None:
    both = make(stop={"steps": 10, "time_s": 4.0})
    assert both.share_done(at_s=1.0, steps=8) == pytest.approx(0.25)
    assert both.share_done(at_s=1.0, steps=20) == pytest.approx(0.5)
    assert make().share_done(at_s=1e9, steps=30) == pytest.approx(0.75)
    assert make().share_done(at_s=1.0, steps=41) == 1.0
    assert make(stop={"time_s": 4.0}).share_done(at_s=3.0, steps=1000) == pytest.approx(0.75)


def test_a_directed_graph_under_pull_mix_is_refused_with_the_reason() -> None:
    directed = {"kind": "exponential", "nodes": 8, "directed": True, "weights": "uniform"}
    with pytest.raises(ConfigError, match="undirected"):
        _ = make(topology=directed).places


@pytest.mark.parametrize("kind", ["d2", "gradient_tracking"])
def test_weights_that_differ_by_direction_are_refused_where_sums_must_hold(kind: str) -> None:
    star = {"kind": "star", "nodes": 5}
    assert make(topology=star, algorithm={"kind": kind}).topology.symmetric
    uniform = make(topology={**star, "weights": "uniform"}, algorithm={"kind": kind})
    with pytest.raises(ConfigError, match=r"w_ij = w_ji .*uniform.*metropolis"):
        _ = uniform.places
    regular = {"kind": "ring", "nodes": 5, "weights": "uniform"}
    assert make(topology=regular, algorithm={"kind": kind}).topology.symmetric


def test_one_way_rounds_are_refused_where_sums_must_hold() -> None:
    tracking = {"kind": "gradient_tracking"}
    one_way = {"kind": "one_peer_exponential", "nodes": 8}
    with pytest.raises(ConfigError, match=r"w_ij = w_ji .*one_peer_exponential.*base"):
        _ = make(topology=one_way, algorithm=tracking).places
    mutual = {"kind": "base", "nodes": 8, "degree": 1}
    assert make(topology=mutual, algorithm=tracking).topology.symmetric


def test_a_disconnected_graph_is_refused_by_name() -> None:
    edges = [["a", "b"], ["c", "d"]]
    with pytest.raises(ConfigError, match=r"connected|reach"):
        _ = make(topology={"kind": "edges", "edges": edges}).places


@pytest.mark.parametrize(
    "tables",
    [
        {"compute": {"slowdown": {"n9": 2.0}}},
        {"faults": {"crash": [{"node": "n9", "at_s": 1.0}]}},
    ],
)
def test_a_node_that_is_not_in_the_graph_is_refused_with_its_key(tables: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"(slowdown|crash).*n9"):
        _ = make(**tables).topology


def test_a_place_that_does_not_exist_is_refused_with_those_that_do() -> None:
    with pytest.raises(ConfigError, match=r"'x'.*n0, n1, n2, n3"):
        make().place("x")


def test_names_of_the_baselines_are_reserved() -> None:
    with pytest.raises(ConfigError, match="server"):
        _ = make(topology={"kind": "edges", "edges": [["server", "b"]]}).topology


def test_fedavg_runs_on_a_star_with_a_server_that_holds_no_data() -> None:
    experiment = make(algorithm={"kind": "fedavg"})
    assert list(experiment.places) == ["n0", "n1", "n2", "n3", SERVER]
    assert not experiment.place(SERVER).learns
    assert all(experiment.place(n).neighbours[0][0] == SERVER for n in experiment.learners)
    assert len(experiment.edges) == 4
    assert experiment.policy.policy == "none"


@pytest.mark.parametrize(("participation", "rounds"), [(1.0, 5), (0.5, 10)])
def test_fedavgs_rounds_do_the_work_that_was_asked_for(participation: float, rounds: int) -> None:
    experiment = make(algorithm={"kind": "fedavg", "participation": participation})
    trainer = experiment.make_trainer()
    node = experiment.make_node(SERVER, run="r", trainer=trainer, x0=trainer.initial())
    assert isinstance(node.algorithm, FedAvgServer)
    assert node.algorithm.rounds == rounds


def test_an_asynchronous_server_ends_with_the_steps_of_all_and_weighs_as_the_file_says() -> None:
    rules = []
    for weights in ({}, {"n0": 5.0}):
        training = {"learning_rate": 0.1, "local_steps": 2, "weights": weights}
        experiment = make(algorithm={"kind": "fedasync"}, training=training)
        trainer = experiment.make_trainer()
        node = experiment.make_node(SERVER, run="r", trainer=trainer, x0=trainer.initial())
        assert isinstance(node.algorithm, FedAsyncServer)
        rules.append(node.algorithm)
    assert [rule.steps_max for rule in rules] == [40, 40]
    assert rules[0].scales == {}
    assert rules[1].scales == pytest.approx({"n0": 2.5, "n1": 0.5, "n2": 0.5, "n3": 0.5})


def test_a_server_that_keeps_one_clients_data_still_counts_the_epochs_of_all() -> None:
    """A real server's process loads as little data as it can."""
    experiment = make(
        algorithm={"kind": "fedavg"},
        training={"learning_rate": 0.1, "local_epochs": 1},
        stop={"steps": 100},
    )
    rounds = []
    for only in (None, experiment.learners[:1]):
        trainer = experiment.make_trainer(only=only)
        node = experiment.make_node(SERVER, run="r", trainer=trainer, x0=trainer.initial())
        assert isinstance(node.algorithm, FedAvgServer)
        rounds.append(node.algorithm.rounds)
    assert rounds == [5, 5]


def test_centralized_learning_does_all_nodes_work_at_one() -> None:
    experiment = make(algorithm={"kind": "centralized"})
    trainer = experiment.make_trainer()
    node = experiment.make_node(CENTRE, run="r", trainer=trainer, x0=trainer.initial())
    assert node.settings.steps_max == 40
    assert node.settings.samples == sum(make().make_trainer().samples(n) for n in make().learners)


def test_whole_epochs_are_counted_over_a_nodes_own_samples() -> None:
    experiment = make(training={"learning_rate": 0.1, "local_epochs": 2, "batch_size": 100})
    trainer = experiment.make_trainer()
    n0 = NodeId("n0")
    assert experiment.local_steps(n0, trainer) == 2 * -(-trainer.samples(n0) // 100)


def test_parts_are_exchanged_by_name_and_the_rest_stays() -> None:
    rough = make().replace(network=NetworkConfig(loss=0.5))
    assert rough.config.network.loss == 0.5
    assert rough.config.training == make().config.training
    with pytest.raises(ConfigError, match="no part 'netwrk'"):
        make().replace(netwrk=NetworkConfig())


def test_the_digest_says_whether_two_nodes_run_the_same_experiment() -> None:
    assert make().digest == make().digest
    assert make().digest != make(seed=5).digest
    assert make().digest != make().replace(algorithm=AlgorithmConfig(kind="dpsgd")).digest


def test_an_empty_shard_is_a_clear_error() -> None:
    experiment = make(
        topology={"kind": "ring", "nodes": 2000},
        stop={"steps": 1},
    )
    with pytest.raises(DataError, match=r"shard|sample"):
        experiment.make_trainer()


def test_parts_can_be_built_in_code() -> None:
    experiment = make().replace(
        stop=StopConfig(time_s=3.0), training=TrainingConfig(learning_rate=0.2, local_steps=1)
    )
    assert repr(experiment) == "<Experiment test: PullMix, seed 0>"
    assert experiment.staleness_unit == "periods missed"
    assert make(algorithm={"kind": "dpsgd"}).staleness_unit == "versions"


def test_a_file_that_is_not_there_is_named() -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.toml"):
        load_experiment(Path("nowhere.toml"))


@pytest.mark.parametrize("file", sorted(Path("examples").glob("*.toml")), ids=lambda p: p.stem)
def test_every_example_can_be_put_together(file: Path) -> None:
    experiment = load_experiment(file)
    assert experiment.places
    assert len(experiment.digest) == 16


class NoAlgorithm:
    """Nothing of the kind."""


class Alone(VectorAlgorithm):
    """A user's own rule: nobody hears anybody."""

    def advance(
        self, state: Vector, local: Local, neighbours: Sequence[Neighbour]
    ) -> Advance[Vector]:
        return Advance(state, train=TrainPlan(state))

    def finish(
        self, state: Vector, local: Local, neighbours: Sequence[Neighbour], trained: Vector
    ) -> Finish[Vector]:
        return Finish(trained, outgoing=())


def test_an_algorithm_of_the_users_own_runs_as_any_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "my_rules", sys.modules[__name__])
    own = make(algorithm={"kind": "my_rules:Alone"})
    assert own.label == "Alone"
    assert own.place("n0").neighbours
    alone, together = simulate(own), simulate(make())
    assert alone.final.steps == together.final.steps
    assert alone.final.bytes_total < together.final.bytes_total


def test_a_class_that_is_no_algorithm_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "my_rules", sys.modules[__name__])
    with pytest.raises(ConfigError, match="no advance and no finish"):
        _ = make(algorithm={"kind": "my_rules:NoAlgorithm"}).places
    with pytest.raises(ConfigError, match=r"algorithm\.kind.*pull_mx.*pull_mix"):
        make(algorithm={"kind": "pull_mx"})
