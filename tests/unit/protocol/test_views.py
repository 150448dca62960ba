"""What a node holds of its neighbours, and when it may use it."""

import pytest
from support.bench import Bench, make_bench, vector

from p2pfl.messages import Incarnation, PeerLost, PresenceState
from p2pfl.protocol.staleness import StalenessPolicy
from p2pfl.types import NodeId

SECOND = Incarnation(2, 3)
N1 = NodeId("n1")


@pytest.fixture
def bench() -> Bench:
    made = make_bench()
    made.start()
    return made


def held_version(bench: Bench, peer: str = "n1") -> int:
    newest = bench.node.neighbourhood.peers[NodeId(peer)].newest
    assert newest is not None
    return newest.header.version


def test_a_late_model_never_replaces_a_newer_one(bench: Bench) -> None:
    bench.model("n1", 5, 1.0, sequence=5)
    bench.model("n1", 4, 2.0, sequence=4)
    assert held_version(bench) == 5
    assert bench.node.refused[("n1", "old")] == 1


def test_a_duplicate_changes_nothing(bench: Bench) -> None:
    bench.model("n1", 5, 1.0, sequence=5, value=1.0)
    bench.model("n1", 5, 2.0, sequence=5, value=2.0)
    newest = bench.node.neighbourhood.peers[N1].newest
    assert newest is not None
    assert newest.vector == vector(1.0)


def test_a_new_incarnation_replaces_the_old_one_and_never_the_other_way_round(
    bench: Bench,
) -> None:
    bench.model("n1", 50, 1.0)
    bench.model("n1", 2, 2.0, incarnation=SECOND)
    assert held_version(bench) == 2
    bench.model("n1", 51, 3.0)
    assert held_version(bench) == 2


def test_a_node_that_never_spoke_is_not_mixed(bench: Bench) -> None:
    assert bench.mixed(0.0) == set()
    bench.model("n1", 0, 1.0)
    assert bench.mixed(1.0) == {"n1"}


def test_an_unknown_period_means_the_floor(bench: Bench) -> None:
    bench.model("n1", 1, 10.0)
    assert bench.mixed(14.9) == {"n1"}
    assert bench.mixed(15.1) == set()


def test_a_live_slow_node_keeps_its_weight_for_three_of_its_own_periods(bench: Bench) -> None:
    bench.model("n1", 1, 10.0, period_s=100.0)
    assert bench.mixed(309.0) == {"n1"}
    assert bench.mixed(311.0) == set()


def test_a_beat_says_how_rarely_its_sender_publishes(bench: Bench) -> None:
    bench.model("n1", 1, 10.0, period_s=1.0)
    assert bench.mixed(20.0) == set()
    bench.beat("n1", 20.0, version=1, period_s=10.0)
    assert bench.mixed(20.0) == {"n1"}
    assert bench.mixed(39.0) == {"n1"}
    assert bench.mixed(41.0) == set()


def test_constant_latency_and_foreign_clocks_cancel_but_queueing_counts(bench: Bench) -> None:
    bench.model("n1", 1, 1.0, sent_s=-1000.0)
    peer = bench.node.neighbourhood.peers[N1]
    assert peer.age_s(1.0) == 0.0
    bench.model("n1", 2, 5.0, sent_s=-998.0)
    assert peer.age_s(5.0) == 2.0


def test_a_backlog_that_comes_late_is_as_old_as_it_is(bench: Bench) -> None:
    bench.model("n1", 1, 0.0, sent_s=0.0)
    bench.model("n1", 2, 30.0, sent_s=1.0)
    assert bench.mixed(30.0) == set()


def test_the_first_message_of_a_new_life_sets_a_new_clock_offset(bench: Bench) -> None:
    bench.model("n1", 1, 1.0, sent_s=1.0)
    bench.model("n1", 1, 2.0, sent_s=900.0, incarnation=SECOND)
    assert bench.node.neighbourhood.peers[N1].age_s(2.0) == 0.0


def test_a_retained_model_is_not_mixed_until_its_sender_shows_life(bench: Bench) -> None:
    bench.model("n1", 3, 1.0, sent_s=-50.0, retained=True)
    assert bench.mixed(1.0) == set()
    bench.beat("n1", 2.0, version=4, sent_s=2.0)
    assert bench.mixed(2.0) == set()
    bench.model("n1", 4, 3.0, sent_s=3.0)
    assert bench.mixed(3.0) == {"n1"}


def test_a_beat_of_the_same_version_makes_a_retained_model_usable_at_its_true_age(
    bench: Bench,
) -> None:
    bench.model("n1", 3, 1.0, sent_s=-2.0, retained=True)
    bench.beat("n1", 2.0, version=3, sent_s=2.0)
    assert bench.mixed(2.0) == {"n1"}
    assert bench.node.neighbourhood.peers[N1].age_s(2.0) == 4.0


def test_a_finished_node_keeps_its_weight_until_it_leaves(bench: Bench) -> None:
    bench.model("n1", 3, 1.0)
    bench.beat("n1", 2.0, version=3, state=PresenceState.FINISHED)
    assert bench.mixed(1000.0) == {"n1"}
    assert bench.node.neighbourhood.peers[N1].age_s(1000.0) == 1.0
    bench.beat("n1", 1000.0, version=3, state=PresenceState.LEFT)
    assert bench.mixed(1000.0) == set()


def test_a_node_that_leaves_in_the_middle_is_left_out_at_once(bench: Bench) -> None:
    bench.model("n1", 3, 1.0)
    assert bench.mixed(2.0) == {"n1"}
    bench.beat("n1", 2.0, version=3, state=PresenceState.LEFT)
    assert bench.mixed(2.0) == set()


def test_a_finished_nodes_retained_model_is_its_last_and_may_be_used(bench: Bench) -> None:
    bench.model("n1", 3, 1.0, sent_s=-700.0, retained=True)
    bench.beat("n1", 1.0, version=3, state=PresenceState.FINISHED, retained=True)
    assert bench.mixed(100.0) == {"n1"}


def test_a_lost_peer_is_only_suspect_until_the_grace_period_is_over(bench: Bench) -> None:
    bench.model("n1", 3, 1.0, period_s=100.0)
    bench.tell(PeerLost(N1, Incarnation(1, 7)), 2.0)
    assert bench.mixed(3.9) == {"n1"}
    assert bench.mixed(4.1) == set()


def test_a_suspect_that_speaks_again_is_no_longer_one(bench: Bench) -> None:
    bench.model("n1", 3, 1.0)
    bench.tell(PeerLost(N1, Incarnation(1, 7)), 2.0)
    bench.model("n1", 4, 3.0)
    assert bench.mixed(5.0) == {"n1"}


def test_the_will_of_an_earlier_life_changes_nothing(bench: Bench) -> None:
    bench.model("n1", 3, 1.0, incarnation=SECOND)
    bench.tell(PeerLost(N1, Incarnation(1, 7)), 2.0)
    assert bench.mixed(4.5) == {"n1"}
    bench.tell(PeerLost(NodeId("nobody"), SECOND), 2.0)


def test_an_old_presence_changes_nothing(bench: Bench) -> None:
    bench.model("n1", 3, 1.0, incarnation=SECOND)
    bench.beat("n1", 2.0, state=PresenceState.LEFT)
    bench.beat("n1", 2.0, state=PresenceState.FINISHED, incarnation=SECOND, version=3)
    bench.beat("n1", 3.0, sent_s=1.0, incarnation=SECOND)
    assert bench.node.neighbourhood.peers[N1].state is PresenceState.FINISHED


def test_without_a_bound_even_a_ghost_is_mixed() -> None:
    bench = make_bench(StalenessPolicy(policy="none"))
    bench.start()
    bench.model("n1", 3, 1.0)
    bench.tell(PeerLost(N1, Incarnation(1, 7)), 2.0)
    assert bench.mixed(1e6) == {"n1"}


def test_dropping_by_lag_silently_leaves_a_live_slow_node_out() -> None:
    bench = make_bench(StalenessPolicy(metric="lag", bound=4.0))
    bench.start()
    bench.model("n1", 1, 1.0)
    bench.node.version = 5
    assert bench.mixed(1.0) == {"n1"}
    bench.node.version = 6
    assert bench.mixed(1.0) == set()


def test_reads_are_counted_since_the_view_was_refreshed() -> None:
    bench = make_bench(StalenessPolicy(metric="reads", bound=2.0))
    bench.start()
    bench.model("n1", 1, 0.1)
    for i in range(2):
        assert bench.mixed(0.2) == {"n1"}
        bench.trained(0.2 + i)
    assert bench.node.neighbourhood.peers[N1].reads > 2
    assert bench.mixed(2.0) == set()
    bench.model("n1", 2, 3.0)
    assert bench.mixed(3.0) == {"n1"}


def test_losing_a_peer_twice_is_losing_it_once(bench: Bench) -> None:
    bench.model("n1", 3, 1.0, period_s=100.0)
    bench.tell(PeerLost(N1, Incarnation(1, 7)), 2.0)
    assert bench.tell(PeerLost(N1, Incarnation(1, 7)), 3.9) == []
    assert bench.mixed(4.1) == set()


def test_a_retained_presence_is_no_sign_of_life(bench: Bench) -> None:
    bench.model("n1", 3, 1.0, retained=True)
    bench.beat("n1", 1.0, version=3, retained=True)
    assert bench.mixed(1.0) == set()


def test_a_peer_that_said_nothing_yet_is_infinitely_old(bench: Bench) -> None:
    assert bench.node.neighbourhood.peers[N1].age_s(0.0) == float("inf")


def test_a_late_beat_does_not_revive_one_who_has_left(bench: Bench) -> None:
    bench.model("n1", 3, 1.0)
    bench.beat("n1", 2.0, state=PresenceState.LEFT)
    bench.beat("n1", 3.0, version=3)
    assert bench.mixed(3.0) == set()
    assert bench.node.refused[("n1", "old")] == 1
