"""Newcomers where models go to single receivers: they ask, are told, and start from the mean."""

from typing import Any

import pytest
from support.bench import Bench, make_bench, vector

from p2pfl.algorithms.ad_psgd import ADPSGD
from p2pfl.algorithms.base import Algorithm
from p2pfl.algorithms.dpsgd import DPSGD
from p2pfl.algorithms.epidemic import Epidemic
from p2pfl.algorithms.gossip_learning import GossipLearning
from p2pfl.algorithms.pull_mix import PullMix
from p2pfl.messages import ModelMessage, Received, Send, VersionRequest
from p2pfl.types import NodeId

TO_SINGLE_RECEIVERS = [ADPSGD(), Epidemic(), GossipLearning()]


def name(algorithm: object) -> str:
    return type(algorithm).__name__


def ask(bench: Bench, now: float) -> list[ModelMessage]:
    request = Received(VersionRequest("run", NodeId("n1"), 0), retained=False)
    sent = [effect for effect in bench.tell(request, now) if isinstance(effect, Send)]
    assert all(effect.peer == "n1" for effect in sent)
    return [effect.message for effect in sent if isinstance(effect.message, ModelMessage)]


@pytest.mark.parametrize("algorithm", TO_SINGLE_RECEIVERS, ids=name)
def test_a_newcomer_asks_everybody_and_starts_from_the_mean_of_what_it_is_told(
    algorithm: Algorithm[Any],
) -> None:
    host, newcomer = make_bench(algorithm=algorithm), make_bench(algorithm=algorithm)
    host.start()
    host.trained(1.0, 8.0)
    (greeting,) = ask(host, 1.5)
    effects = newcomer.start(2.0, rejoining=True)
    assert [e.peer for e in effects if isinstance(e, Send)] == ["n1", "n2"]
    for peer in ("n1", "n2"):
        header = greeting.header._replace(node=NodeId(peer))
        told = ModelMessage(header, greeting.vector, greeting.extra)
        newcomer.tell(Received(told, retained=False), 2.1)
    assert newcomer.node.public() == vector(8.0)
    assert newcomer.node.version == greeting.header.version == 1
    assert not newcomer.node.refused


@pytest.mark.parametrize("algorithm", TO_SINGLE_RECEIVERS, ids=name)
def test_a_greeting_in_the_middle_of_a_run_changes_no_model(algorithm: Algorithm[Any]) -> None:
    host, other = make_bench(algorithm=algorithm), make_bench(algorithm=algorithm)
    host.start()
    host.trained(1.0, 8.0)
    other.start()
    other.trained(1.0, 3.0)
    (greeting,) = ask(host, 1.5)
    header = greeting.header._replace(node=NodeId("n2"))
    before = other.node.public().copy()
    other.tell(Received(ModelMessage(header, greeting.vector, greeting.extra), retained=False), 1.6)
    assert other.node.public() == before


@pytest.mark.parametrize("algorithm", [PullMix(), DPSGD()], ids=name)
def test_where_models_are_kept_for_newcomers_nobody_is_greeted_apart(
    algorithm: Algorithm[Any],
) -> None:
    host, newcomer = make_bench(algorithm=algorithm), make_bench(algorithm=algorithm)
    host.start()
    (newest,) = ask(host, 0.5)
    assert newest.header.version == 0
    assert not [e for e in newcomer.start(2.0, rejoining=True) if isinstance(e, Send)]
