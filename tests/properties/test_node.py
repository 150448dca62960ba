"""Whatever happens to a node, in whatever order, its promises hold."""

from dataclasses import dataclass

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from support.bench import Bench, make_bench

from p2pfl.algorithms.dpsgd import DPSGD
from p2pfl.algorithms.pull_mix import PullMix
from p2pfl.messages import Incarnation, PeerLost, PresenceState, Record, Train, Wake, Woken
from p2pfl.protocol.phase import Phase
from p2pfl.protocol.staleness import StalenessPolicy
from p2pfl.types import NodeId

PEERS = ("n1", "n2", "n3")


@dataclass(frozen=True)
class Step:
    """One thing that happens, `wait_s` after the one before."""

    wait_s: float
    what: str
    peer: str
    life: int
    version: int
    sequence: int
    delay_s: float
    period_s: float
    value: float


steps = st.builds(
    Step,
    wait_s=st.sampled_from([0.0, 0.01, 0.5, 2.1, 6.0, 40.0]),
    what=st.sampled_from(
        ["model", "model", "model", "retained", "beat", "finished", "left", "lost", "train", "wake"]
    ),
    peer=st.sampled_from(PEERS),
    life=st.integers(1, 3),
    version=st.integers(0, 8),
    sequence=st.integers(0, 12),
    delay_s=st.floats(-1000.0, 1000.0),
    period_s=st.sampled_from([0.0, 0.1, 3.0, 50.0]),
    value=st.floats(-1e6, 1e6, width=32),
)

policies = st.one_of(
    st.builds(
        StalenessPolicy,
        policy=st.just("drop"),
        metric=st.sampled_from(["missed", "age", "reads", "lag"]),
        bound=st.sampled_from([0.0, 1.0, 3.0]),
    ),
    st.builds(StalenessPolicy, policy=st.just("wait"), bound=st.sampled_from([0.0, 1.0, 2.0])),
    st.just(StalenessPolicy(policy="none")),
)


def play(bench: Bench, history: list[Step]) -> None:
    """Let the history happen to the node; each node has a clock of its own."""
    now = 0.0
    bench.start()
    for step in history:
        now += step.wait_s
        life = Incarnation(step.life, 7)
        sent_s = now + step.delay_s
        match step.what:
            case "model" | "retained":
                bench.model(
                    step.peer,
                    step.version,
                    now,
                    value=step.value,
                    sent_s=sent_s,
                    period_s=step.period_s,
                    sequence=step.sequence,
                    incarnation=life,
                    retained=step.what == "retained",
                )
            case "beat" | "finished" | "left":
                said = {
                    "beat": PresenceState.TRAINING,
                    "finished": PresenceState.FINISHED,
                    "left": PresenceState.LEFT,
                }
                bench.beat(
                    step.peer,
                    now,
                    state=said[step.what],
                    version=step.version,
                    period_s=step.period_s,
                    sent_s=sent_s,
                    incarnation=life,
                )
            case "lost":
                bench.tell(PeerLost(NodeId(step.peer), life), now)
            case "train" if bench.in_phase(Phase.TRAINING):
                bench.trained(now, step.value)
            case "wake":
                wakes = [e for e in bench.effects if isinstance(e, Wake)]
                bench.tell(Woken(wakes[-1].token), now)


@given(policy=policies, synchronous=st.booleans(), history=st.lists(steps, max_size=60))
@settings(max_examples=300, deadline=None)
def test_no_history_makes_a_node_mix_beyond_its_bound(
    *, policy: StalenessPolicy, synchronous: bool, history: list[Step]
) -> None:
    bench = make_bench(policy, DPSGD() if synchronous else PullMix())
    play(bench, history)
    for record in (e for e in bench.effects if isinstance(e, Record)):
        assert record.staleness <= policy.limit
        for reading in record.readings:
            assert reading.age_s >= 0.0
            if synchronous:
                assert reading.version == record.version
            elif policy.policy == "wait":
                assert reading.lag <= policy.bound
            elif policy.policy == "drop":
                measured = policy.staleness(
                    reading.lag, reading.reads, reading.age_s, reading.missed
                )
                assert measured <= policy.bound
        assert sum(r.weight for r in record.readings) < 1.0


@given(policy=policies, history=st.lists(steps, max_size=60))
@settings(max_examples=100, deadline=None)
def test_versions_only_grow_and_one_training_is_under_way_at_a_time(
    policy: StalenessPolicy, history: list[Step]
) -> None:
    bench = make_bench(policy)
    play(bench, history)
    trains = [e for e in bench.effects if isinstance(e, Train)]
    assert [t.token for t in trains] == list(range(1, len(trains) + 1))
    assert [t.first_step for t in trains] == [2 * i for i in range(len(trains))]
    assert bench.node.version == len(trains) - (1 if bench.in_phase(Phase.TRAINING) else 0)


@given(policy=policies, history=st.lists(steps, max_size=60))
@settings(max_examples=100, deadline=None)
def test_serving_changes_nothing_and_stays_finite(
    policy: StalenessPolicy, history: list[Step]
) -> None:
    asked, silent = make_bench(policy), make_bench(policy)
    play(silent, history)
    now = sum(s.wait_s for s in history)
    play(asked, history[: len(history) // 2])
    before = asked.node.served(now)
    assert np.array_equal(before, asked.node.served(now))
    assert np.isfinite(before).all()
    assert np.array_equal(silent.node.served(now), silent.node.served(now))


@given(
    history=st.lists(steps, max_size=40),
    offset_s=st.floats(-1e4, 1e4).map(lambda x: float(round(x))),
)
@settings(max_examples=100, deadline=None)
def test_a_neighbours_clock_does_not_matter(history: list[Step], offset_s: float) -> None:
    """Ages are the same to a microsecond, whatever the sender's clock shows."""
    honest, shifted = make_bench(), make_bench()
    play(honest, history)
    play(shifted, [Step(**{**vars(s), "delay_s": s.delay_s + offset_s}) for s in history])
    now = sum(s.wait_s for s in history)
    for peer, record in honest.node.neighbourhood.peers.items():
        other = shifted.node.neighbourhood.peers[peer]
        assert np.isclose(record.age_s(now), other.age_s(now), atol=1e-6)


@given(history=st.lists(steps, max_size=60), later_s=st.floats(0.0, 30.0))
@settings(max_examples=200, deadline=None)
def test_the_short_way_of_looking_sees_what_the_long_one_sees(
    history: list[Step], later_s: float
) -> None:
    bench = make_bench(StalenessPolicy())
    play(bench, history)
    now = sum(step.wait_s for step in history) + later_s
    neighbourhood = bench.node.neighbourhood
    short = neighbourhood.look(bench.node.version, now)
    neighbourhood._usual = False
    assert neighbourhood.look(bench.node.version, now) == short
