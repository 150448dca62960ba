"""Consume-once mixing and mixing on receipt: what goes into the model, and how often."""

import numpy as np
import pytest
from support.views import here, said, seen, vector

from p2pfl.algorithms.base import NOWHERE
from p2pfl.algorithms.consume_once import Consumed, ConsumeOnce
from p2pfl.algorithms.mix_on_receive import Mixed, MixOnReceive
from p2pfl.types import NodeId

N1 = NodeId("n1")


def updated(rule: ConsumeOnce, state: Consumed, *, at_s: float) -> Consumed:
    """After one update by 1 that ends then, without anything new."""
    begun = rule.advance(state, here(now_s=0.0), ()).state
    return rule.finish(begun, here(now_s=at_s), (), begun.x + vector(1.0)).state


def test_a_model_is_mixed_once_and_its_weight_is_then_the_nodes_own() -> None:
    rule, theirs = ConsumeOnce(), seen("n1", vector(4.0), weight=0.25)
    begun = rule.advance(rule.initial(vector(0.0)), here(), ()).state
    first = rule.finish(begun, here(), (theirs,), begun.x + vector(1.0))
    np.testing.assert_allclose(first.state.x, 2.0)
    assert first.mixed == frozenset({N1})
    assert first.outgoing[0].vector is first.state.x
    again = rule.finish(first.state, here(), (theirs,), first.state.x)
    np.testing.assert_allclose(again.state.x, 2.0)
    assert again.mixed == frozenset()


@pytest.mark.parametrize(("version", "life"), [(1, 1), (0, 2)])
def test_a_newer_model_or_one_of_a_new_life_is_mixed_again(version: int, life: int) -> None:
    rule = ConsumeOnce()
    old = seen("n1", vector(4.0))
    state = rule.finish(rule.initial(vector(4.0)), here(), (old,), vector(4.0)).state
    newer = seen("n1", vector(8.0), version=version, life=life)
    done = rule.finish(state, here(), (newer,), state.x)
    np.testing.assert_allclose(done.state.x, 5.0)


def test_what_is_too_old_is_not_consumed() -> None:
    rule = ConsumeOnce()
    left_out = rule.finish(rule.initial(vector(0.0)), here(), (seen("n1", None),), vector(0.0))
    assert (left_out.mixed, dict(left_out.state.seen)) == (frozenset(), {})


def test_an_update_counts_by_its_time_where_it_is_to() -> None:
    rule = ConsumeOnce(step="elapsed").at(NOWHERE._replace(update_s=2.0, scale=0.5))
    slow = updated(rule, rule.initial(vector(0.0)), at_s=6.0)
    np.testing.assert_allclose(slow.x, 1.5)
    next_one = updated(rule, slow, at_s=8.0)
    np.testing.assert_allclose(next_one.x, 2.0)
    bounded = ConsumeOnce(step="elapsed", reference_s=1.0, step_max=4.0)
    np.testing.assert_allclose(updated(bounded, Consumed(vector(0.0)), at_s=60.0).x, 4.0)


def test_a_later_life_goes_on_from_the_model_alone() -> None:
    rule, state = ConsumeOnce(), Consumed(vector(1.0), {N1: (1, 7, 3)}, 5.0)
    assert rule.resumed(state) == Consumed(state.x)
    assert rule.adopt(state, vector(2.0)).x == vector(2.0)
    assert rule.opening(state)[0].vector is rule.served(state, ()) is rule.public(state)


def test_every_model_that_comes_is_mixed_at_once_and_the_update_put_on_top() -> None:
    rule = MixOnReceive().at(NOWHERE._replace(neighbours=((N1, 0.25),), scale=2.0))
    begun = rule.advance(rule.initial(vector(0.0)), here(), ()).state
    for _ in range(2):
        heard = rule.hear(begun, here(), said("n1", vector(4.0)), usable=True)
        assert heard.mixed
        begun = heard.state
    np.testing.assert_allclose(begun.x, 1.75)
    done = rule.finish(begun, here(), (), vector(1.0))
    np.testing.assert_allclose(done.state.x, 3.75)
    assert done.outgoing[0].vector is rule.served(done.state, ()) is rule.public(done.state)


@pytest.mark.parametrize(("peer", "usable"), [("n1", False), ("n2", True)])
def test_what_is_too_old_or_from_elsewhere_is_not_mixed(peer: str, *, usable: bool) -> None:
    rule = MixOnReceive().at(NOWHERE._replace(neighbours=((N1, 0.25),)))
    heard = rule.hear(Mixed(vector(0.0)), here(), said(peer, vector(4.0)), usable=usable)
    assert (heard.state.x, heard.mixed) == (vector(0.0), False)


def test_who_mixes_on_receipt_keeps_the_model_alone_and_opens_with_nothing() -> None:
    rule, state = MixOnReceive(), Mixed(vector(1.0), vector(0.0))
    assert rule.resumed(state) == Mixed(state.x)
    assert rule.adopt(state, vector(2.0)) == Mixed(vector(2.0))
    assert rule.opening(state) == ()
