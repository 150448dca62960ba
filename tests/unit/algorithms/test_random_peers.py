"""Gossip learning, epidemic learning, stochastic gradient push: what they do with what comes."""

from collections import Counter

import numpy as np
import pytest

from p2pfl.algorithms.base import Local, Surroundings
from p2pfl.algorithms.epidemic import Epidemic, Inbox
from p2pfl.algorithms.gossip_learning import Aged, GossipLearning
from p2pfl.algorithms.sgp import SGP, Mass
from p2pfl.messages import Header, Incarnation, ModelMessage, Neighbour
from p2pfl.types import Extra, NodeId, Vector

N0 = NodeId("n0")
PEERS = tuple(NodeId(f"n{i}") for i in range(1, 7))
PLACE = Surroundings(N0, tuple((peer, 0.1) for peer in PEERS), PEERS, seed=3)


def vector(*values: float) -> Vector:
    return np.array(values, np.float32)


def here(version: int = 0) -> Local:
    return Local(N0, version=version, samples=1, steps=version)


def message(peer: str, value: float, words: tuple[int, ...] = ()) -> ModelMessage:
    header = Header(
        run="r",
        schema="s",
        node=NodeId(peer),
        incarnation=Incarnation(1, 1),
        sequence=1,
        version=1,
        oldest_version=0,
        sent_s=0.0,
        words=words,
    )
    return ModelMessage(header, vector(value))


def neighbour(
    peer: str,
    value: float | None,
    *,
    weight: float = 0.1,
    live: bool = True,
    extra: Extra | None = None,
) -> Neighbour:
    model = None if value is None else vector(value)
    trust = 0.0 if value is None else 1.0
    return Neighbour(NodeId(peer), weight, trust, live, False, 1, None, model, extra)


def test_models_are_merged_by_age() -> None:
    rule = GossipLearning().at(PLACE)
    heard = rule.hear(Aged(vector(0.0), 1), here(), message("n1", 4.0, (3,)), usable=True)
    assert heard.state.x == vector(3.0)
    assert heard.state.age == 3
    assert heard.mixed


@pytest.mark.parametrize(("words", "usable"), [((3,), False), ((), True), ((0,), True)])
def test_a_model_too_old_or_without_any_age_is_not_merged(
    words: tuple[int, ...],
    usable: bool,  # noqa: FBT001 - as the parametrisation says it
) -> None:
    state = Aged(vector(0.0), 0)
    heard = GossipLearning().hear(state, here(), message("n1", 4.0, words), usable=usable)
    assert heard.state is state
    assert not heard.mixed


def test_an_update_is_put_on_what_has_come_in_meanwhile() -> None:
    rule = GossipLearning().at(PLACE)
    begun = rule.advance(Aged(vector(1.0), 1), here(), ()).state
    heard = rule.hear(begun, here(), message("n1", 3.0, (1,)), usable=True).state
    done = rule.finish(heard, here(), (), vector(1.5))
    assert done.state.x == vector(2.5)
    assert done.state.age == 2
    (sent,) = done.outgoing
    assert sent.words == (2,)
    assert len(sent.to) == 1
    alone = rule.finish(begun, here(), (), vector(1.5))
    assert alone.state.x == vector(1.5)


def test_every_hearer_has_its_turn() -> None:
    rule = GossipLearning().at(PLACE)
    begun = Aged(vector(0.0), 0, vector(0.0))
    chosen = Counter(
        rule.finish(begun, here(k), (), vector(0.0)).outgoing[0].to[0] for k in range(300)
    )
    assert set(chosen) == set(PEERS)
    assert max(chosen.values()) < 3 * min(chosen.values())


def test_who_is_heard_by_nobody_sends_nothing() -> None:
    begun = Aged(vector(0.0), 0, vector(0.0))
    assert GossipLearning().finish(begun, here(), (), vector(1.0)).outgoing == ()
    assert Epidemic().finish(Inbox(vector(0.0)), here(), (), vector(1.0)).outgoing == ()


def test_what_a_gossiping_learner_keeps_and_shows() -> None:
    rule = GossipLearning()
    state = Aged(vector(2.0), 5, vector(1.0))
    assert rule.resumed(state) == Aged(vector(2.0), 5)
    assert rule.adopt(state, vector(9.0)) == Aged(vector(9.0))
    assert rule.served(state, ()) == rule.public(state) == vector(2.0)
    assert rule.opening(state) == ()


def test_each_model_is_averaged_once() -> None:
    rule = Epidemic(fanout=2).at(PLACE)
    state = Inbox(vector(0.0))
    for value in (1.0, 3.0):
        state = rule.hear(state, here(), message("n1", value), usable=True).state
    state = rule.hear(state, here(), message("n2", 6.0), usable=True).state
    assert state.fresh == ("n1", "n2")
    seen = [neighbour("n1", 3.0), neighbour("n2", 6.0), neighbour("n3", 100.0)]
    begun = rule.advance(state, here(), seen)
    assert begun.state.x == pytest.approx(3.0)
    assert begun.mixed == frozenset(PEERS[:2])
    assert begun.state.fresh == ()
    again = rule.advance(begun.state, here(), seen)
    assert again.state.x is begun.state.x
    assert not again.mixed


def test_what_the_policy_leaves_out_is_not_averaged() -> None:
    state = Inbox(vector(1.0), (NodeId("n1"),))
    begun = Epidemic().advance(state, here(), [neighbour("n1", None)])
    assert begun.state == Inbox(vector(1.0))


def test_each_update_goes_to_other_random_nodes() -> None:
    rule = Epidemic(fanout=2).at(PLACE)
    sent = [
        rule.finish(Inbox(vector(0.0)), here(k), (), vector(2.0)).outgoing[0] for k in range(50)
    ]
    assert all(len(out.to) == len(set(out.to)) == 2 for out in sent)
    assert {peer for out in sent for peer in out.to} == set(PEERS)


def test_what_an_epidemic_learner_keeps_and_shows() -> None:
    rule = Epidemic()
    state = Inbox(vector(2.0), (NodeId("n1"),))
    assert rule.resumed(state) == Inbox(vector(2.0))
    assert rule.adopt(state, vector(9.0)) == Inbox(vector(9.0))
    assert rule.served(state, ()) == rule.public(state) == vector(2.0)
    assert rule.opening(state) == ()


def pushed(y: float, share: float) -> Extra:
    return np.array([y, share], np.float32)


def test_pushed_mass_is_taken_by_the_share_that_its_sender_says() -> None:
    rule = SGP().at(PLACE._replace(hearers=PEERS[:1]))
    state = rule.initial(vector(2.0))
    assert (state.y, state.share) == (1.0, 0.5)
    begun = rule.advance(state, here(), [neighbour("n1", 4.0, extra=pushed(0.5, 0.25))])
    assert begun.train is not None
    # x = 2 / 2 + 4 / 4, y = 1 / 2 + 0.5 / 4
    assert begun.train.start == pytest.approx(2.0 / 0.625)
    done = rule.finish(begun.state, here(), (), begun.train.start + vector(1.0))
    assert done.state.x == pytest.approx(3.0)
    assert done.state.y == 0.625
    assert done.outgoing[0].extra is not None
    assert done.outgoing[0].extra.tolist() == [0.625, 0.5]


def test_no_share_is_pushed_to_the_dead() -> None:
    rule = SGP().at(PLACE)
    begun = rule.advance(rule.initial(vector(2.0)), here(), ()).state
    dead = [neighbour("n1", None, live=False), neighbour("n2", None)]
    assert rule.finish(begun, here(), dead, vector(1.0)).state.share == pytest.approx(1 / 6)


def test_mass_that_cannot_be_is_not_taken() -> None:
    rule = SGP().at(PLACE)
    state = rule.initial(vector(2.0))
    for extra in (pushed(0.0, 0.5), pushed(-1.0, 0.5), None):
        begun = rule.advance(state, here(), [neighbour("n1", 4.0, extra=extra)])
        assert begun.train is not None
        assert begun.train.start == pytest.approx(2.0)


def test_what_a_pushing_node_keeps_and_shows() -> None:
    rule = SGP().at(PLACE)
    state = rule.advance(Mass(vector(2.0), 0.5, 0.25), here(), ()).state
    assert rule.resumed(state) == Mass(vector(2.0), 0.5, 0.25)
    assert rule.served(state, ()) == rule.public(state) == vector(4.0)
    assert rule.adopt(state, vector(9.0)).y == 1.0
    assert rule.opening(state)[0].vector == vector(2.0)
