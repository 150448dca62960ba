"""PullMix, D-PSGD and local learning: what each does with what it may see."""

import numpy as np
import pytest

from p2pfl.algorithms.base import Local, Surroundings, VectorAlgorithm
from p2pfl.algorithms.dpsgd import DPSGD, RoundState
from p2pfl.algorithms.fedavg import FedAvgClient, FedAvgServer
from p2pfl.algorithms.local import LocalOnly
from p2pfl.algorithms.pull_mix import MixState, PullMix
from p2pfl.algorithms.suite import make_client, make_rule, make_server, parameters_of
from p2pfl.messages import Neighbour
from p2pfl.types import NodeId, Vector

HERE = Local(NodeId("n0"), version=0, samples=1, steps=0)


def vector(*values: float) -> Vector:
    return np.array(values, dtype=np.float32)


def neighbour(model: Vector, weight: float = 0.5) -> Neighbour:
    return Neighbour(
        NodeId("n1"),
        weight,
        trust=1.0,
        live=True,
        finished=False,
        version=0,
        header=None,
        vector=model,
    )


def test_pull_mix_trains_from_the_mix_and_leaves_x_alone() -> None:
    rule, state = PullMix(), MixState(vector(0.0))
    step = rule.advance(state, HERE, [neighbour(vector(1.0))])
    assert step.train is not None
    assert step.train.start == vector(0.5)
    assert step.state.x == vector(0.0)
    assert step.mixed


def test_pull_mix_puts_the_update_on_a_fresher_mix() -> None:
    rule = PullMix()
    state = MixState(vector(0.0), start=vector(0.5))
    done = rule.finish(state, HERE, [neighbour(vector(3.0))], vector(0.75))
    assert done.state.x == vector(1.75)
    assert done.outgoing[0].vector is done.state.x
    assert done.mixed


def test_pull_mix_begins_where_the_end_left_off_only_while_nothing_was_heard() -> None:
    rule = PullMix()
    heard = [neighbour(vector(3.0))]
    done = rule.finish(MixState(vector(0.0), start=vector(0.5)), HERE, heard, vector(0.75))
    same = rule.advance(done.state, HERE, heard)
    news = rule.advance(done.state, HERE, [neighbour(vector(5.0))])
    assert same.train is not None
    assert news.train is not None
    assert same.train.start == vector(2.375)
    assert news.train.start == vector(3.375)


def test_pull_mix_at_the_start_only_is_textbook_decentralized_sgd() -> None:
    rule = PullMix(when="start")
    step = rule.advance(MixState(vector(0.0)), HERE, [neighbour(vector(1.0))])
    done = rule.finish(step.state, HERE, [neighbour(vector(9.0))], vector(0.75))
    assert done.state.x == vector(0.75)
    assert not done.mixed


def test_pull_mix_at_the_end_only_trains_from_x() -> None:
    rule = PullMix(when="end")
    step = rule.advance(MixState(vector(0.0)), HERE, [neighbour(vector(1.0))])
    assert step.train is not None
    assert step.train.start == vector(0.0)
    assert not step.mixed
    done = rule.finish(step.state, HERE, [neighbour(vector(1.0))], vector(0.25))
    assert done.state.x == vector(0.75)


def test_pull_mix_serves_the_mix_and_never_the_raw_x() -> None:
    rule, state = PullMix(), MixState(vector(0.0))
    assert rule.served(state, [neighbour(vector(1.0))]) == vector(0.5)
    assert rule.public(state) == vector(0.0)
    assert rule.adopt(state, vector(4.0)).x == vector(4.0)
    assert rule.opening(state)[0].vector == vector(0.0)
    assert rule.repeat(state, HERE, []) == ()
    assert rule.capabilities.undirected


def test_dpsgd_goes_where_training_from_the_mix_ends() -> None:
    rule, state = DPSGD(), RoundState(vector(0.0))
    step = rule.advance(state, HERE, [neighbour(vector(1.0))])
    assert step.train is not None
    assert step.train.start == vector(0.5)
    done = rule.finish(step.state, HERE, [], vector(0.25))
    assert done.state.x == vector(0.25)
    assert done.outgoing[0].vector == vector(0.25)
    assert rule.served(state, [neighbour(vector(1.0))]) == vector(0.5)
    assert rule.capabilities.synchronous


def test_local_learning_hands_out_and_adopts_nothing() -> None:
    rule = LocalOnly()
    assert rule.opening(vector(1.0)) == ()
    assert rule.adopt(vector(1.0), vector(2.0)) == vector(1.0)
    step = rule.advance(vector(1.0), HERE, [neighbour(vector(9.0))])
    assert step.train is not None
    assert step.train.start == vector(1.0)
    assert rule.finish(vector(1.0), HERE, [], vector(3.0)).state == vector(3.0)
    assert rule.served(vector(1.0), [neighbour(vector(9.0))]) == vector(1.0)
    assert not rule.capabilities.undirected


@pytest.mark.parametrize("rule", [LocalOnly(), VectorAlgorithm()])
def test_an_algorithm_on_vectors_starts_from_x0(rule: VectorAlgorithm) -> None:
    x0 = vector(2.0)
    assert rule.initial(x0) is x0
    assert rule.public(x0) is x0
    assert rule.repeat(x0, HERE, []) == ()


def test_the_defaults_of_an_algorithm_on_vectors_suit_a_gossiping_one() -> None:
    rule, x = VectorAlgorithm(), vector(1.0)
    assert rule.adopt(x, vector(2.0)) == vector(2.0)
    assert rule.opening(x)[0].vector is x
    assert rule.served(x, []) is x
    assert rule.capabilities.undirected


def test_a_weighted_update_counts_by_the_nodes_own_factor() -> None:
    place = Surroundings(NodeId("n0"), scale=2.0)
    heard = [neighbour(vector(1.0))]
    pull = PullMix().at(place)
    state = MixState(vector(0.0), start=vector(0.5))
    assert pull.finish(state, HERE, heard, vector(0.75)).state.x == vector(1.0)
    start_only = PullMix(when="start").at(place)
    assert start_only.finish(state, HERE, heard, vector(0.75)).state.x == vector(1.0)
    rounds = DPSGD().at(place)
    assert (
        rounds.finish(RoundState(vector(0.0), vector(0.5)), HERE, [], vector(0.75)).state.x == 1.0
    )


def test_dpsgd_rejoins_with_its_neighbours_mean() -> None:
    state = DPSGD().adopt(RoundState(vector(0.0)), vector(2.0))
    assert DPSGD().public(state) == vector(2.0)
    assert DPSGD().opening(state)[0].vector == vector(2.0)


def test_every_name_of_the_suite_has_parameters_and_an_algorithm() -> None:
    assert parameters_of("pull_mix") == {"when"}
    assert parameters_of("local") == frozenset()
    assert parameters_of("my_module:MyClass") == frozenset()
    assert "participation" in parameters_of("fedavg")
    given = {"when": "end", "participation": 0.5}
    assert make_rule("pull_mix", given) == PullMix(when="end")
    server = make_server("fedavg", given, clients=(NodeId("n0"),), seed=1)
    assert isinstance(server, FedAvgServer)
    assert server.participation == 0.5
    assert isinstance(make_client("fedavg", given, server=NodeId("s")), FedAvgClient)
