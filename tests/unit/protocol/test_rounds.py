"""Graphs that change from round to round, and reciprocal discounts."""

import pytest
from support.bench import Bench, make_bench, vector

from p2pfl.algorithms.discount import DiscountLaw
from p2pfl.algorithms.dpsgd import DPSGD
from p2pfl.algorithms.pull_mix import PullMix
from p2pfl.messages import (
    ModelMessage,
    Presence,
    PresenceState,
    Publish,
    Record,
    Send,
    Train,
    VersionRequest,
)
from p2pfl.protocol.settings import Round
from p2pfl.protocol.staleness import StalenessPolicy
from p2pfl.types import NodeId

N1, N2 = NodeId("n1"), NodeId("n2")
ALTERNATING = (Round(((N1, 0.5),), (N1,)), Round(((N2, 0.25),), (N2,)), Round((), ()))


def bench_of_rounds() -> Bench:
    bench = make_bench(algorithm=DPSGD(), rounds=ALTERNATING)
    bench.effects = bench.start()
    return bench


def receivers(bench: Bench) -> list[str]:
    return [
        e.peer for e in bench.effects if isinstance(e, Send) and isinstance(e.message, ModelMessage)
    ]


def test_a_model_goes_to_those_who_hear_it_in_its_round_and_to_nobody_else() -> None:
    bench = bench_of_rounds()
    assert receivers(bench) == ["n1"]
    bench.model("n1", 0, 0.5)
    bench.trained(1.0)
    assert receivers(bench) == ["n1", "n2"]
    bench.model("n2", 1, 1.5)
    bench.trained(2.0)
    assert receivers(bench) == ["n1", "n2"]
    published = [e.message for e in bench.effects if isinstance(e, Publish)]
    assert not any(isinstance(message, ModelMessage) for message in published)


def test_each_round_waits_for_its_own_neighbours_and_mixes_with_its_own_weights() -> None:
    bench = bench_of_rounds()
    bench.model("n2", 0, 0.1, value=9.0)
    assert not any(isinstance(e, Train) for e in bench.effects)
    bench.model("n1", 0, 0.5, value=4.0)
    assert [e.start for e in bench.effects if isinstance(e, Train)] == [vector(2.0)]
    bench.trained(1.0, 1.0)
    bench.model("n1", 1, 1.1, value=7.0)
    assert len([e for e in bench.effects if isinstance(e, Train)]) == 1
    bench.model("n2", 1, 1.5, value=5.0)
    second = [e for e in bench.effects if isinstance(e, Train)][-1]
    assert second.start == vector(2.0)
    records = [e for e in bench.effects if isinstance(e, Record)]
    assert [[(r.peer, r.weight) for r in each.readings] for each in records] == [
        [("n1", 0.5)],
        [("n2", 0.25)],
    ]


def test_a_node_that_meets_nobody_in_a_round_goes_on_at_once() -> None:
    bench = bench_of_rounds()
    bench.model("n1", 0, 0.5)
    bench.trained(1.0)
    bench.model("n2", 1, 1.5)
    bench.trained(2.0, 6.0)
    assert [e for e in bench.effects if isinstance(e, Train)][-1].start == vector(6.0)


def test_a_node_that_rejoins_asks_everybody_it_ever_meets() -> None:
    bench = make_bench(algorithm=DPSGD(), rounds=ALTERNATING)
    effects = bench.start(rejoining=True)
    asked = [e.peer for e in effects if isinstance(e, Send)]
    assert asked == ["n1", "n2"]
    assert all(isinstance(e.message, VersionRequest) for e in effects if isinstance(e, Send))


@pytest.mark.parametrize(
    ("law", "staleness", "factor"),
    [
        (DiscountLaw("polynomial", a=0.5), 3.0, 0.5),
        (DiscountLaw("hinge", a=10.0, b=4.0), 4.0, 1.0),
        (DiscountLaw("hinge", a=10.0, b=4.0), 5.0, 1.0 / 11.0),
        (DiscountLaw("exponential", b=2.0), 0.0, 1.0),
    ],
)
def test_a_discount_follows_its_law(law: DiscountLaw, staleness: float, factor: float) -> None:
    assert law(staleness) == pytest.approx(factor)


def discounting(*, reciprocal: bool = True) -> Bench:
    policy = StalenessPolicy(
        policy="discount", metric="lag", discount=DiscountLaw("polynomial"), reciprocal=reciprocal
    )
    bench = make_bench(policy, PullMix())
    bench.start()
    for _ in range(3):
        bench.trained(1.0)
    return bench


def trusts(bench: Bench) -> list[float]:
    return [n.trust for n in bench.node.neighbourhood.look(bench.node.version, 1.0).neighbours]


def test_both_ends_of_a_link_take_the_smaller_of_their_factors() -> None:
    bench = discounting()
    bench.model("n1", 0, 1.0)
    bench.model("n2", 3, 1.0, trusts=((NodeId("n0"), 0.25), (N1, 0.1)))
    assert trusts(bench) == [0.5, 0.25]
    one_sided = discounting(reciprocal=False)
    one_sided.model("n1", 0, 1.0)
    one_sided.model("n2", 3, 1.0, trusts=((NodeId("n0"), 0.25),))
    assert trusts(one_sided) == [0.5, 1.0]


def test_a_node_tells_what_it_makes_of_its_neighbours_not_what_they_agreed_on() -> None:
    bench = discounting()
    bench.model("n1", 0, 1.0, trusts=((NodeId("n0"), 0.125),))
    bench.model("n2", 3, 1.0)
    effects = bench.trained(1.0)
    (message,) = [e.message for e in effects if isinstance(e, Publish)]
    assert isinstance(message, ModelMessage)
    assert message.header.trusts == ((N1, 0.5),)
    record = next(e for e in effects if isinstance(e, Record))
    assert [r.weight for r in record.readings] == [0.25 * 0.125, 0.25]


def test_a_discount_leaves_the_dead_out() -> None:
    bench = discounting()
    bench.model("n1", 3, 1.0)
    bench.beat("n2", 1.0, state=PresenceState.LEFT)
    assert bench.mixed(1.0) == {"n1"}
    assert bench.mixed(30.0) == set()


def test_as_many_versions_are_kept_as_a_lagging_hearer_may_ask_for() -> None:
    bench = make_bench(algorithm=DPSGD(), rounds=(Round((), (N1,)),), versions_kept=3)
    bench.effects = bench.start()
    for k in range(4):
        bench.trained(1.0 + k, float(k))
    sent = [e.message for e in bench.effects if isinstance(e, Send)]
    models = [m for m in sent if isinstance(m, ModelMessage)]
    assert [(m.header.version, m.header.oldest_version) for m in models] == [
        (0, 0),
        (1, 0),
        (2, 0),
        (3, 1),
        (4, 2),
    ]


def test_a_model_for_a_few_is_no_sign_of_life_for_the_others() -> None:
    bench = bench_of_rounds()
    bench.model("n1", 0, 0.5)
    bench.trained(1.0)
    effects = bench.wake(1.25)
    (sign,) = [e.message for e in effects if isinstance(e, Publish)]
    assert isinstance(sign, Presence)
    assert sign.state is PresenceState.TRAINING


def test_what_was_said_to_a_few_is_not_repeated_at_the_next_beat() -> None:
    bench = bench_of_rounds()
    bench.model("n1", 0, 0.5)
    bench.trained(1.0)
    assert not [e for e in bench.wake(1.25) if isinstance(e, Send)]
