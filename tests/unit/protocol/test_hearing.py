"""Algorithms that react to each model at once, and what may travel beside a model."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from support.bench import Bench, make_bench, vector

from p2pfl.algorithms.base import (
    Advance,
    Beside,
    Capabilities,
    Finish,
    Heard,
    Local,
    Outgoing,
    Surroundings,
    TrainPlan,
    VectorAlgorithm,
)
from p2pfl.algorithms.relay_sum import RelaySum
from p2pfl.messages import ModelMessage, Neighbour, Record, Send
from p2pfl.protocol.phase import Phase
from p2pfl.types import NodeId, Vector


@dataclass(frozen=True, slots=True)
class Echo(VectorAlgorithm):
    """Takes half of each usable model at once, and answers to its sender."""

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(reacts=True, beside=Beside("uint32", per_number=1, more=1))

    def opening(self, state: Vector) -> tuple[Outgoing, ...]:
        return ()

    def hear(
        self, state: Vector, local: Local, message: ModelMessage, *, usable: bool
    ) -> Heard[Vector]:
        if not usable:
            return Heard(state)
        x = 0.5 * (state + message.vector)
        answer = Outgoing(
            x,
            to=(message.header.node,),
            extra=np.array([1, 2], np.uint32),
            words=(message.header.sequence,),
            epoch=4,
        )
        return Heard(x, (answer,), mixed=True)

    def advance(
        self, state: Vector, local: Local, neighbours: Sequence[Neighbour]
    ) -> Advance[Vector]:
        return Advance(state, train=TrainPlan(state, proximal=0.5))

    def finish(
        self, state: Vector, local: Local, neighbours: Sequence[Neighbour], trained: Vector
    ) -> Finish[Vector]:
        return Finish(trained, ())


SUMS = np.zeros(2, np.uint32)


def echo() -> Bench:
    bench = make_bench(algorithm=Echo())
    bench.start()
    return bench


def test_a_model_is_heard_at_once_while_training_goes_on() -> None:
    bench = echo()
    effects = bench.model("n1", 3, 1.0, value=4.0, extra=SUMS)
    assert bench.in_phase(Phase.TRAINING)
    assert bench.node.state == vector(2.0)
    (answer,) = [e for e in effects if isinstance(e, Send)]
    assert answer.peer == "n1"
    assert isinstance(answer.message, ModelMessage)
    assert answer.message.header.words == (1,)
    assert answer.message.header.epoch == 4
    assert answer.message.extra is not None
    assert answer.message.extra.tolist() == [1, 2]


def test_a_mix_on_receipt_is_recorded_with_its_staleness() -> None:
    bench = echo()
    bench.model("n1", 3, 1.0, extra=SUMS, period_s=4.0)
    effects = bench.model("n1", 4, 12.0, sent_s=4.0, extra=SUMS, period_s=4.0)
    (record,) = [e for e in effects if isinstance(e, Record)]
    (reading,) = record.readings
    assert (reading.peer, reading.version, reading.age_s) == ("n1", 4, 8.0)
    assert record.staleness == reading.missed == 2.0
    assert bench.node.staleness_max == 2.0


def test_a_model_that_a_broker_delivers_too_late_is_heard_but_not_usable() -> None:
    bench = echo()
    bench.model("n1", 3, 1.0, extra=SUMS)
    before = bench.node.state
    effects = bench.model("n1", 4, 31.0, sent_s=2.0, extra=SUMS)
    assert bench.node.state is before
    assert effects == []


def test_a_duplicate_is_not_heard_twice() -> None:
    bench = echo()
    bench.model("n1", 3, 1.0, sequence=1, value=4.0, extra=SUMS)
    bench.model("n1", 3, 1.1, sequence=1, value=4.0, extra=SUMS)
    assert bench.node.state == vector(2.0)


def test_a_message_with_other_words_than_the_algorithms_is_refused() -> None:
    bench = make_bench(algorithm=RelaySum())
    bench.start()
    bench.model("n1", 0, 1.0)
    bench.model("n1", 0, 1.0, words=(1, 2))
    assert bench.node.refused["n1", "words"] == 2
    bench.model("n1", 0, 1.0, words=(1,))
    assert bench.mixed(1.0) == {"n1"}


def test_what_travels_beside_a_model_must_have_the_algorithms_form() -> None:
    bench = echo()
    bench.model("n1", 1, 1.0)
    bench.model("n1", 2, 1.0, extra=np.zeros(3, np.uint32))
    bench.model("n1", 3, 1.0, extra=np.zeros(2, np.float32))
    assert bench.node.refused["n1", "beside"] == 3
    plain = make_bench()
    plain.start()
    plain.model("n1", 1, 1.0, extra=SUMS)
    assert plain.node.refused["n1", "beside"] == 1


def test_nothing_is_heard_before_a_rejoining_node_has_a_model_or_after_the_end() -> None:
    bench = make_bench(algorithm=Echo())
    bench.start(rejoining=True)
    bench.model("n1", 3, 0.1, value=4.0, extra=SUMS)
    assert bench.in_phase(Phase.REJOINING)
    assert bench.node.state == vector(0.0)


def test_the_defaults_hear_nothing_and_are_the_same_everywhere() -> None:
    rule = VectorAlgorithm()
    place = Surroundings(NodeId("n0"))
    assert rule.at(place) is rule
    here = Local(NodeId("n0"), version=0, samples=1, steps=0)
    assert here.step_size == 0.0
    bench = make_bench()
    bench.start()
    bench.model("n1", 1, 1.0)
    newest = bench.node.neighbourhood.peers[NodeId("n1")].newest
    assert newest is not None
    assert rule.hear(vector(3.0), here, newest, usable=True).state == vector(3.0)
