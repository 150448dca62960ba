"""Flower's clients: what they are told, what they answer, and with which algorithms they go."""

import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest

from p2pfl.adapters.numpy_client import ClientTrainer, client_maker
from p2pfl.config.load import config_from_mapping
from p2pfl.errors import ConfigError
from p2pfl.experiment import Experiment
from p2pfl.learning.trainer import TrainJob
from p2pfl.learning_rate import LearningRate
from p2pfl.simulation.simulate import simulate
from p2pfl.types import NodeId

NODES = (NodeId("n0"), NodeId("n1"))


class Client:
    """Moves its model towards its own number, by a step of the rate that it is told."""

    told: ClassVar[list[dict[str, Any]]] = []
    num_examples = 7

    def __init__(self, number: float) -> None:
        self.number = number

    def get_parameters(self, config: dict[str, Any]) -> list[Any]:
        return [np.zeros((2, 2)), np.array(3), np.zeros(2, np.float16)]

    def fit(self, parameters: list[Any], config: dict[str, Any]) -> tuple[Any, int, dict[str, Any]]:
        self.told.append(config)
        weight, count, bias = parameters
        assert (weight.dtype, count.dtype, bias.dtype) == (np.float64, np.int64, np.float16)
        moved = weight + config["learning_rate"] * (self.number - weight)
        # Whatever it draws comes from the experiment's seed.
        moved = moved + 0.0 * random.random() + 1e-3 * np.random.rand()  # noqa: NPY002 - as clients do
        return [moved, count + 1, bias], 7, {"loss": abs(self.number - float(moved[0, 0]))}

    def evaluate(
        self, parameters: list[Any], config: dict[str, Any]
    ) -> tuple[float, int, dict[str, Any]]:
        loss = abs(self.number - float(parameters[0][0, 0]))
        return loss, 7, {"accuracy": 1.0 - loss}


def client_fn(context: Any) -> object:  # noqa: ANN401 - as Flower's users write it
    client = Client(float(context.node_config["partition-id"]))
    # As `NumPyClient.to_client()` wraps it.
    return SimpleNamespace(numpy_client=client)


def trainer(make: Any = None) -> ClientTrainer:  # noqa: ANN401 - a function
    maker = client_maker(f"{__name__}:client_fn", nodes=NODES, seed=0) if make is None else make
    return ClientTrainer(maker, nodes=NODES, seed=0, learning_rate=LearningRate.of(0.5))


def job(one: ClientTrainer, node: NodeId, **changes: Any) -> TrainJob:  # noqa: ANN401 - its fields
    return TrainJob(node, one.initial(), 4, 2, None)._replace(**changes)


def experiment(**tables: Any) -> Experiment:  # noqa: ANN401 - tables as a user writes them
    base: dict[str, Any] = {
        "name": "clients",
        "topology": {"kind": "path", "nodes": 2},
        "data": "client",
        "model": f"{__name__}:client_fn",
        "training": {"learning_rate": 0.5, "local_steps": 2},
        "stop": {"steps": 20},
        "comparison": {"algorithms": []},
    }
    return Experiment(
        config_from_mapping(base | tables, source="test"), folder=Path(__file__).parent
    )


def test_a_fit_is_told_its_round_its_steps_and_its_learning_rate() -> None:
    one = trainer()
    Client.told.clear()
    outcome = one.train([job(one, NODES[1])])[0]
    assert Client.told == [{"server_round": 3, "local_steps": 2, "learning_rate": 0.5}]
    assert outcome.vector.shape == (6,)
    assert outcome.vector[:4] == pytest.approx([0.5] * 4, abs=2e-3)
    assert outcome.loss == pytest.approx(0.5, abs=2e-3)
    assert one.evaluate([outcome.vector], [NODES[1]])[0].accuracy == pytest.approx(0.5, abs=2e-3)


def test_the_same_job_has_the_same_outcome_whatever_ran_before() -> None:
    one, other = trainer(), trainer()
    one.train([job(one, NODES[0])])
    first, again = (t.train([job(t, NODES[1])])[0] for t in (one, other))
    assert np.array_equal(first.vector, again.vector)
    assert not np.array_equal(one.train([job(one, NODES[1], first_step=6)])[0].vector, again.vector)


def test_who_lives_elsewhere_is_never_made() -> None:
    maker = client_maker(f"{__name__}:client_fn", nodes=NODES, seed=0)
    one = ClientTrainer(maker, nodes=NODES[1:], seed=0, learning_rate=LearningRate.of(0.5))
    assert [one.samples(node) for node in NODES] == [0, 7]
    assert one.notes == ()
    assert len(one.evaluate([one.initial()], [NodeId("server")])) == 1


@pytest.mark.parametrize("algorithm", ["pull_mix", "dpsgd", "fedavg", "push_sum"])
def test_clients_agree_under_an_algorithm_that_only_mixes(algorithm: str) -> None:
    result = simulate(experiment(algorithm={"kind": algorithm}))
    again = simulate(experiment(algorithm={"kind": algorithm}))
    assert result.trace_hash == again.trace_hash
    assert all(0.0 < float(model[0]) < 1.0 for model in result.served.values())


@pytest.mark.parametrize(
    ("tables", "words"),
    [
        ({"algorithm": {"kind": "scaffold"}}, 'algorithm.kind is "scaffold", which adds to every'),
        ({"algorithm": {"kind": "gradient_tracking"}}, "training loop of its own"),
        ({"algorithm": {"kind": "track_mix"}}, "training loop of its own"),
        ({"algorithm": {"kind": "fedprox"}}, "training loop of its own"),
        ({"algorithm": {"kind": "fedbuff", "proximal": 0.1}}, "training loop of its own"),
        ({"algorithm": {"kind": "centralized"}}, "never leaves its client"),
        ({"algorithm": {"kind": "fedavg", "selection": "loss"}}, "cannot be relied on"),
        ({"model": "mlp"}, "model.kind is .mlp. and data.kind is .client."),
        ({"partition": {"kind": "halves"}}, "partition.kind is given, but"),
        ({"data": {"kind": "client", "samples": 9}}, "data.samples is given, but"),
        ({"evaluation": {"samples": 9}}, "evaluates by itself"),
        ({"training": {"learning_rate": 0.5, "local_epochs": 1}}, "say how many steps"),
        (
            {"training": {"learning_rate": 0.5, "local_steps": 1, "momentum": 0.9}},
            "training.momentum is given, but .* steps by itself",
        ),
        (
            {"training": {"learning_rate": 0.5, "local_steps": 1, "weighting": "samples"}},
            "only its owner knows",
        ),
    ],
)
def test_what_a_client_cannot_be_given_is_refused_with_the_reason(
    tables: dict[str, Any], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        experiment(**tables)


def test_a_correction_from_an_algorithm_of_the_users_is_refused_too() -> None:
    one = trainer()
    with pytest.raises(ConfigError, match="cannot be given that"):
        one.train([job(one, NODES[0], correction=one.initial())])


def test_labels_that_a_client_does_not_show_lead_no_topology() -> None:
    with pytest.raises(ConfigError, match="d_cliques"):
        _ = experiment(topology={"kind": "d_cliques", "nodes": 4, "clique_size": 2}).topology


def test_what_is_no_client_is_refused() -> None:
    maker = client_maker("uuid:uuid4", nodes=NODES, seed=0)
    with pytest.raises(ConfigError, match="has no get_parameters and no fit and no evaluate"):
        trainer(maker)


class Two(Client):
    def fit(self, parameters: list[Any], config: dict[str, Any]) -> Any:  # noqa: ANN401 - wrong
        return parameters, 7


class Other(Client):
    def fit(self, parameters: list[Any], config: dict[str, Any]) -> tuple[Any, int, dict[str, Any]]:
        return parameters[:1], 7, {}


class Empty(Client):
    def get_parameters(self, config: dict[str, Any]) -> list[Any]:
        return [np.array(3)]


@pytest.mark.parametrize(
    ("client", "words"),
    [
        (Two, "Two.fit returned tuple; expected three"),
        (Other, "Other.fit gives 1 arrays of other shapes than at first"),
        (Empty, "Empty.get_parameters gives no arrays of floats"),
    ],
)
def test_a_client_that_does_not_keep_to_the_interface_is_refused(
    client: type[Client], words: str
) -> None:
    def use() -> None:
        one = trainer(lambda _node: client(1.0))
        one.train([job(one, NODES[0])])

    with pytest.raises(ConfigError, match=words):
        use()


def test_clients_that_do_not_count_their_examples_are_told_of() -> None:
    class Uncounted(Client):
        num_examples = 1

    assert "num_examples" in trainer(lambda _node: Uncounted(1.0)).notes[0]
