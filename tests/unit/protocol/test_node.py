"""The state machine: what it does about each event."""

import math

import pytest
from support.bench import beat_of, make_bench, only_train, published, vector

from p2pfl.algorithms.dpsgd import DPSGD
from p2pfl.messages import (
    Effect,
    Ended,
    Incarnation,
    ModelMessage,
    PeerLost,
    Presence,
    PresenceState,
    Publish,
    Received,
    Record,
    Rewired,
    Send,
    Stop,
    Train,
    Trained,
    VersionRequest,
    Woken,
)
from p2pfl.protocol.phase import Phase
from p2pfl.protocol.staleness import StalenessPolicy
from p2pfl.types import NodeId

N1, N2 = NodeId("n1"), NodeId("n2")


def signed(effects: list[Effect]) -> list[Presence]:
    return [
        e.message for e in effects if isinstance(e, Publish) and isinstance(e.message, Presence)
    ]


def test_a_node_starts_by_showing_life_and_its_first_model_and_trains_at_once() -> None:
    bench = make_bench()
    effects = bench.start()
    assert signed(effects)[0].state is PresenceState.TRAINING
    (first,) = published(effects)
    assert first.header.version == 0
    assert first.header.samples == 3
    assert first.header.degree == 2
    train = only_train(effects)
    assert (train.first_step, train.steps) == (0, 2)


def test_each_update_is_published_as_the_next_version() -> None:
    bench = make_bench()
    bench.start()
    effects = bench.trained(1.0)
    (message,) = published(effects)
    assert (message.header.version, message.header.sequence) == (1, 2)
    assert only_train(effects).first_step == 2
    assert bench.node.steps == 2


def test_the_announced_period_follows_the_time_between_models() -> None:
    bench = make_bench()
    bench.start()
    assert published(bench.trained(2.0))[0].header.period_s == pytest.approx(2.0)
    assert published(bench.trained(6.0))[0].header.period_s == pytest.approx(0.7 * 2 + 0.3 * 4)


def test_every_mix_is_recorded_with_the_staleness_of_all_that_went_in() -> None:
    bench = make_bench()
    bench.start()
    bench.model("n1", 4, 0.5, period_s=2.0)
    records = [e for e in bench.trained(2.5) if isinstance(e, Record)]
    assert len(records) == 2
    (reading,) = records[0].readings
    assert (reading.peer, reading.version, reading.age_s) == ("n1", 4, 2.0)
    assert reading.missed == records[0].staleness == 1.0
    assert bench.node.staleness_max == 1.0


def test_a_dead_neighbours_model_is_left_out_and_the_record_names_it() -> None:
    bench = make_bench()
    bench.start()
    bench.model("n1", 1, 0.0, value=100.0)
    records = [e for e in bench.trained(60.0, 0.0) if isinstance(e, Record)]
    assert all(r.left_out == ("n1",) and not r.readings for r in records)
    assert abs(float(bench.node.public()[0])) < 30.0


def test_the_result_of_a_training_that_nobody_awaits_is_ignored() -> None:
    bench = make_bench()
    bench.start()
    assert bench.tell(Trained(99, vector(1.0), 0.0), 1.0) == []
    assert bench.node.version == 0


@pytest.mark.parametrize(("value", "loss"), [(math.nan, 1.0), (math.inf, 1.0), (1.0, math.nan)])
def test_a_node_that_diverges_stops_with_the_reason_and_publishes_nothing(
    value: float, loss: float
) -> None:
    bench = make_bench()
    bench.start()
    effects = bench.trained(1.0, value, loss=loss)
    assert published(effects) == []
    (stop,) = [e for e in effects if isinstance(e, Stop)]
    assert "learning rate" in stop.reason


def test_a_node_finishes_at_its_steps_and_goes_on_hearing() -> None:
    bench = make_bench(steps_max=4)
    bench.start()
    bench.trained(1.0)
    effects = bench.trained(2.0)
    assert Stop("steps") in effects
    assert signed(effects)[-1].state is PresenceState.FINISHED
    assert not any(isinstance(e, Train) for e in effects)
    bench.model("n1", 9, 3.0, value=8.0)
    assert bench.mixed(3.0) == {"n1"}
    assert bench.tell(Ended("time"), 4.0) == []


def test_the_end_stops_a_node_that_is_under_way() -> None:
    bench = make_bench()
    beat = beat_of(bench.start())
    assert bench.tell(Ended("time"), 1.0) == [Stop("time")]
    assert bench.in_phase(Phase.ENDED)
    assert bench.trained(2.0) == []
    assert bench.tell(Woken(beat.token), 3.0) == []


def test_a_node_that_is_silent_for_long_beats_with_its_silence_as_period() -> None:
    bench = make_bench()
    beat = beat_of(bench.start())
    assert beat.at_s == 1.25
    effects = bench.tell(Woken(beat.token), 1.25)
    assert signed(effects)[0].period_s == 1.25
    assert beat_of(effects).at_s == 2.5


def test_a_node_that_publishes_often_does_not_beat() -> None:
    bench = make_bench()
    beat = beat_of(bench.start())
    bench.trained(1.0)
    effects = bench.tell(Woken(beat.token), 1.25)
    assert signed(effects) == []
    assert beat_of(effects).at_s == 2.25
    assert bench.tell(Woken(beat.token), 2.6) == []


def test_a_finished_node_beats_as_finished() -> None:
    bench = make_bench(steps_max=2)
    beat = beat_of(bench.start())
    bench.trained(0.1)
    later = beat_of(bench.tell(Woken(beat.token), 1.25))
    effects = bench.tell(Woken(later.token), later.at_s)
    assert signed(effects)[0].state is PresenceState.FINISHED


def test_messages_that_a_node_may_not_take_are_counted_by_reason() -> None:
    bench = make_bench()
    bench.start()
    bench.model("n9", 1, 1.0)
    bench.model("n1", 1, 1.0, run="yesterday")
    bench.model("n1", 1, 1.0, schema="other")
    bench.model("n1", 1, 1.0, dimension=2)
    bench.beat("n1", 1.0, digest="another experiment")
    bench.beat("n2", 1.0, run="yesterday")
    assert dict(bench.node.refused) == {
        ("n9", "stranger"): 1,
        ("n1", "run"): 1,
        ("n1", "schema"): 1,
        ("n1", "dimension"): 1,
        ("n1", "digest"): 1,
        ("n2", "run"): 1,
    }
    assert bench.mixed(1.0) == set()


def test_a_neighbour_that_asks_gets_one_of_the_last_two_versions_or_learns_what_is_left() -> None:
    bench = make_bench(algorithm=DPSGD())
    bench.start()
    for version in (0, 1):
        bench.model("n1", version, version + 0.5)
        bench.model("n2", version, version + 0.5)
        bench.trained(version + 1.0)
    for version in (1, 2):
        (send,) = bench.tell(Received(VersionRequest("run", N1, version)), 3.0)
        assert isinstance(send, Send)
        assert isinstance(send.message, ModelMessage)
        assert send.message.header.version == version
    (send,) = bench.tell(Received(VersionRequest("run", N1, 0)), 3.0)
    assert isinstance(send, Send)
    assert isinstance(send.message, ModelMessage)
    assert send.message.header.oldest_version == 1


def test_where_versions_are_not_matched_only_the_newest_model_is_kept() -> None:
    bench = make_bench()
    bench.start()
    bench.trained(1.0)
    (send,) = bench.tell(Received(VersionRequest("run", N1, 0)), 2.0)
    assert isinstance(send, Send)
    assert isinstance(send.message, ModelMessage)
    assert (send.message.header.version, send.message.header.oldest_version) == (1, 1)
    bench.model("n1", 4, 3.0)
    bench.model("n1", 5, 4.0)
    peer = bench.node.neighbourhood.peers[N1]
    assert peer.held == 5
    assert peer.previous is None


def test_a_rejoining_node_adopts_the_mean_of_its_neighbours_and_their_version() -> None:
    bench = make_bench()
    effects = bench.start(rejoining=True)
    assert published(effects) == []
    bench.model("n1", 7, 0.1, value=1.0, retained=True)
    effects = bench.model("n2", 9, 0.2, value=3.0, retained=True)
    (message,) = published(effects)
    assert message.vector == vector(2.0)
    assert message.header.version == 9
    assert bench.in_phase(Phase.TRAINING)


def test_a_rejoining_node_does_not_wait_for_ever() -> None:
    bench = make_bench()
    bench.start(rejoining=True)
    bench.model("n1", 7, 0.1, value=1.0, retained=True)
    assert bench.in_phase(Phase.REJOINING)
    effects = bench.tell(Woken(-1), 2.0)
    assert published(effects)[0].vector == vector(1.0)


def test_a_rejoining_node_that_finds_nobody_starts_from_the_beginning() -> None:
    bench = make_bench()
    bench.start(rejoining=True)
    assert published(bench.tell(Woken(-1), 2.0))[0].header.version == 0


def test_a_rewired_node_hears_its_new_neighbours_and_keeps_what_it_has_of_the_old() -> None:
    bench = make_bench()
    bench.start()
    bench.model("n1", 3, 0.1, value=1.0)
    bench.model("n2", 3, 0.2, value=9.0)
    n3 = NodeId("n3")
    assert bench.tell(Rewired(((N1, 0.5), (n3, 0.25))), 0.3) == []
    peers = bench.node.neighbourhood.peers
    assert list(peers) == [N1, n3]
    bench.model("n2", 4, 0.4, value=9.0)
    assert bench.node.refused[N2, "stranger"] == 1
    records = [e for e in bench.trained(1.0) if isinstance(e, Record)]
    assert {(r.peer, r.weight) for record in records for r in record.readings} == {(N1, 0.5)}
    assert bench.node.served(1.0) == bench.node.public() + 0.5 * (1.0 - bench.node.public())


def test_wait_holds_training_back_at_the_bound_and_no_earlier() -> None:
    bench = make_bench(StalenessPolicy(policy="wait", bound=1.0))
    bench.start()
    for peer in ("n1", "n2"):
        bench.model(peer, 0, 0.0)
    assert any(isinstance(e, Train) for e in bench.trained(1.0))
    assert not any(isinstance(e, Train) for e in bench.trained(2.0))
    assert not any(isinstance(e, Train) for e in bench.model("n1", 1, 2.1))
    assert any(isinstance(e, Train) for e in bench.model("n2", 1, 2.2))


def test_wait_never_waits_for_the_dead_nor_the_finished() -> None:
    bench = make_bench(StalenessPolicy(policy="wait", bound=0.0 + 1.0))
    bench.start()
    bench.model("n1", 0, 0.0)
    bench.model("n2", 0, 0.0)
    bench.beat("n2", 0.1, state=PresenceState.FINISHED)
    bench.trained(1.0)
    bench.trained(2.0)
    assert bench.in_phase(Phase.WAITING)
    bench.tell(PeerLost(N1, Incarnation(1, 7)), 2.0)
    assert bench.in_phase(Phase.WAITING)
    assert any(isinstance(e, Train) for e in bench.tell(Woken(-1), 4.1))


def test_wait_leaves_out_a_live_model_that_is_beyond_the_bound() -> None:
    """A beat may tell of a version whose model was lost: the old one must not be used."""
    bench = make_bench(StalenessPolicy(policy="wait", bound=1.0))
    bench.start()
    bench.model("n1", 0, 0.0)
    bench.beat("n1", 0.2, version=5)
    bench.node.version = 5
    assert bench.mixed(0.3) == set()


def test_a_synchronous_node_mixes_its_neighbours_at_exactly_its_own_version() -> None:
    bench = make_bench(algorithm=DPSGD())
    bench.start()
    assert bench.in_phase(Phase.WAITING)
    bench.model("n1", 0, 0.1, value=4.0)
    bench.model("n1", 1, 0.2, value=100.0)
    train = only_train(bench.model("n2", 0, 0.3, value=4.0))
    assert train.start == vector(2.0)
    records = [e for e in bench.effects if isinstance(e, Record)]
    assert [r.version for r in records[0].readings] == [0, 0]


def test_a_synchronous_node_asks_once_for_a_version_that_it_missed_and_again_after_a_beat() -> None:
    bench = make_bench(algorithm=DPSGD())
    beat = beat_of(bench.start())
    bench.model("n1", 0, 0.1)
    effects = bench.model("n2", 1, 0.2, oldest_version=0)
    assert Send(N2, VersionRequest("run", NodeId("n0"), 0)) in effects
    assert bench.model("n1", 1, 0.3) == []
    effects = bench.tell(Woken(beat.token), 1.25)
    assert Send(N2, VersionRequest("run", NodeId("n0"), 0)) in effects
    assert not any(isinstance(e, Send) for e in bench.beat("n2", 2.55, version=1))
    effects = bench.model("n2", 0, 2.6, sequence=0, value=8.0)
    assert only_train(effects).start == vector(2.0)
    assert bench.model("n2", 0, 2.7, sequence=0) == []


def test_a_version_that_can_no_longer_be_had_is_left_out() -> None:
    bench = make_bench(algorithm=DPSGD())
    bench.start()
    bench.model("n1", 0, 0.1, value=4.0)
    train = only_train(bench.model("n2", 9, 0.2, oldest_version=8, value=50.0))
    assert train.start == vector(1.0)
    records = [e for e in bench.effects if isinstance(e, Record)]
    assert records[0].left_out == ("n2",)


def test_a_synchronous_node_does_not_wait_for_one_that_finished_before() -> None:
    bench = make_bench(algorithm=DPSGD())
    bench.start()
    bench.node.version = 3
    bench.model("n1", 3, 0.1)
    bench.model("n2", 1, 0.1)
    assert bench.in_phase(Phase.WAITING)
    bench.beat("n2", 0.2, version=1, state=PresenceState.FINISHED)
    assert bench.in_phase(Phase.TRAINING)


def test_a_synchronous_node_waits_the_floor_for_one_it_never_heard_of() -> None:
    bench = make_bench(algorithm=DPSGD())
    bench.start()
    bench.model("n1", 0, 0.1)
    bench.tell(Woken(-1), 4.9)
    assert bench.in_phase(Phase.WAITING)
    bench.beat("n1", 4.9)
    bench.tell(Woken(-1), 5.1)
    assert bench.in_phase(Phase.TRAINING)


def test_an_ended_node_stays_ended() -> None:
    bench = make_bench()
    bench.start()
    bench.tell(Ended("time"), 1.0)
    assert bench.tell(Ended("again"), 2.0) == []
    assert bench.model("n1", 1, 3.0) == []


def test_a_node_tells_its_story_in_its_repr() -> None:
    bench = make_bench()
    bench.start()
    bench.model("n1", 0, 0.1)
    assert repr(bench.node) == "<Node n0 training version=0 steps=0 held=1/2>"


def test_large_finite_numbers_are_no_divergence() -> None:
    bench = make_bench()
    bench.start()
    assert published(bench.trained(1.0, 1e30)) != []
