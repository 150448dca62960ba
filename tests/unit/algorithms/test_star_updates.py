"""Asynchronous servers and their clients, each on its own."""

import numpy as np
import pytest
from support.star import CLIENTS, SERVER, at_client, at_server, message, only, seen, vector

from p2pfl.algorithms.discount import Discount, DiscountLaw
from p2pfl.algorithms.fedasync import FedAsyncServer
from p2pfl.algorithms.fedbuff import Buffer, FedBuffClient, FedBuffServer
from p2pfl.algorithms.star_rounds import FINAL, GLOBAL, UPDATE
from p2pfl.algorithms.star_updates import QueueState, UpdateClient, UpdateServer
from p2pfl.messages import Incarnation, ModelMessage
from p2pfl.types import NodeId, Vector

N0, N1 = CLIENTS[:2]
State = QueueState[None]


def update(
    node: NodeId, number: int, base: int, model: Vector, *, life: Incarnation | None = None
) -> ModelMessage:
    words = (number, base)
    if life is None:
        return message(node, number, model, words=words, local_steps=3)
    return message(node, number, model, words=words, local_steps=3, life=life)


def heard(
    server: UpdateServer[None], state: State, said: ModelMessage, *, version: int = 0
) -> State:
    return server.hear(state, at_server(version), said, usable=True).state


@pytest.mark.parametrize(
    ("kind", "factors"),
    [
        ("constant", [1.0, 1.0, 1.0]),
        ("polynomial", [1.0, 3.0**-0.5, 9.0**-0.5]),
        ("hinge", [1.0, 1.0, 1.0 / (0.5 * 4.0 + 1.0)]),
        ("exponential", [1.0, np.exp(-2.0 / 4.0), np.exp(-2.0)]),
    ],
)
def test_what_is_stale_counts_less(kind: Discount, factors: list[float]) -> None:
    law = DiscountLaw(kind, a=0.5, b=4.0)
    assert [law(staleness) for staleness in (0.0, 2.0, 8.0)] == pytest.approx(factors)


def test_fedasync_mixes_an_update_in_by_its_staleness_and_answers_its_sender() -> None:
    server = FedAsyncServer(alpha=0.5, discount="polynomial", discount_a=1.0)
    state = server.initial(vector(0.0))
    state = heard(server, state, update(N0, 1, base=7, model=vector(4.0)), version=8)
    step = server.advance(state, at_server(8), [])
    assert step.state.x == vector(0.5 / 2.0 * 4.0)
    assert step.version == 9
    answer = only(step.outgoing)
    assert (answer.kind, answer.to, answer.words) == (GLOBAL, (N0,), (1,))
    assert answer.vector is step.state.x
    assert step.state.steps == 3
    assert server.advance(step.state, at_server(9), []).version is None


def test_updates_that_came_together_are_each_as_stale_as_those_before_made_them() -> None:
    server = FedAsyncServer(alpha=1.0, discount="polynomial", discount_a=1.0)
    state = heard(server, server.initial(vector(0.0)), update(N0, 1, 0, vector(4.0)))
    state = heard(server, state, update(N1, 1, 0, vector(0.0)))
    step = server.advance(state, at_server(0), [])
    assert step.version == 2
    assert step.state.x == vector(2.0)
    assert [out.to for out in step.outgoing] == [(N0,), (N1,)]


def test_an_update_counts_once_however_often_it_comes() -> None:
    server = FedAsyncServer()
    first = update(N0, 1, 0, vector(4.0))
    state = server.advance(
        heard(server, server.initial(vector(0.0)), first), at_server(0), []
    ).state
    again = server.hear(state, at_server(1), first, usable=True)
    assert again.state is state
    assert not again.mixed
    answer = only(again.outgoing)
    assert (answer.to, answer.words) == ((N0,), (1,))
    asks = server.hear(state, at_server(1), update(N1, 0, 0, vector(9.0)), usable=True)
    assert asks.state is state
    assert only(asks.outgoing).words == (0,)
    silent = server.hear(state, at_server(1), message(N1, 1, vector(9.0)), usable=True)
    assert only(silent.outgoing).words == (0,)


def test_the_first_update_of_a_new_life_counts() -> None:
    server = FedAsyncServer()
    state = heard(server, server.initial(vector(0.0)), update(N0, 5, 0, vector(4.0)))
    second = update(N0, 1, 0, vector(4.0), life=Incarnation(2, 1))
    assert len(heard(server, state, second).queue) == 2


def test_what_is_no_update_or_not_usable_changes_nothing() -> None:
    server = FedAsyncServer()
    state = server.initial(vector(0.0))
    strange = server.hear(state, at_server(0), message(N0, 1, vector(1.0), kind="x"), usable=True)
    stale = server.hear(state, at_server(0), update(N0, 1, 0, vector(1.0)), usable=False)
    for result in (strange, stale):
        assert result.state is state
        assert result.outgoing == ()


def test_weights_scale_updates_and_no_update_counts_more_than_wholly() -> None:
    server = FedAsyncServer(alpha=0.5, discount="constant", scales={N0: 0.5, N1: 9.0})
    state = heard(server, server.initial(vector(0.0)), update(N0, 1, 0, vector(4.0)))
    step = server.advance(state, at_server(0), [])
    assert step.state.x == vector(1.0)
    state = heard(server, step.state, update(N1, 1, 1, vector(4.0)), version=1)
    assert server.advance(state, at_server(1), []).state.x == vector(4.0)


def test_a_server_ends_when_its_clients_have_done_the_steps_and_tells_who_asks() -> None:
    server = FedAsyncServer(steps_max=6)
    state = heard(server, server.initial(vector(0.0)), update(N0, 1, 0, vector(4.0)))
    step = server.advance(state, at_server(0), [])
    assert not step.finished
    state = heard(server, step.state, update(N1, 1, 0, vector(4.0)), version=1)
    end = server.advance(state, at_server(1), [])
    assert end.finished
    last = only(end.outgoing)
    assert (last.kind, last.to) == (FINAL, ())
    asks = server.hear(end.state, at_server(2), update(N0, 2, 1, vector(0.0)), usable=True)
    assert only(asks.outgoing).kind == FINAL
    assert only(asks.outgoing).to == (N0,)
    assert server.advance(end.state, at_server(2), []).finished
    assert only(server.opening(end.state)).kind == FINAL


def test_fedbuff_moves_by_the_mean_of_k_discounted_differences() -> None:
    server = FedBuffServer(buffer_size=2, server_learning_rate=0.5)
    state = server.initial(vector(1.0))
    said = update(N0, 1, 0, vector(4.0))
    state = server.hear(state, at_server(3), said, usable=True).state
    step = server.advance(state, at_server(3), [])
    assert step.version == 3
    assert step.state.x == vector(1.0)
    assert only(step.outgoing).words == (1,)
    said = update(N1, 1, 3, vector(2.0))
    state = server.hear(step.state, at_server(3), said, usable=True).state
    step = server.advance(state, at_server(3), [])
    assert step.version == 4
    # 4 is three versions behind and counts half.
    assert step.state.x == vector(1.0 + 0.5 * (4.0 / 2.0 + 2.0) / 2.0)
    assert step.state.memory.filled == 0


def test_a_fedbuff_server_that_lost_everything_takes_no_difference_for_a_model() -> None:
    server = FedBuffServer()
    state = server.initial(vector(1.0))
    assert server.adopt(state, vector(9.0)) is state
    assert isinstance(state.memory, Buffer)
    other = FedAsyncServer()
    assert other.adopt(other.initial(vector(1.0)), vector(9.0)).x == vector(9.0)


def test_a_server_serves_its_model_and_does_not_train() -> None:
    server = FedAsyncServer()
    state = server.initial(vector(1.0))
    assert only(server.opening(state)).kind == GLOBAL
    assert server.served(state, []) == vector(1.0)
    assert server.public(state) == vector(1.0)
    assert server.capabilities.central
    with pytest.raises(AssertionError):
        server.finish(state, at_server(0), [], vector(1.0))


def test_an_asynchronous_server_must_say_what_it_remembers_and_makes_of_an_update() -> None:
    class Nothing(UpdateServer[None]):
        pass

    with pytest.raises(NotImplementedError):
        Nothing().initial(vector(0.0))
    state = heard(FedAsyncServer(), QueueState(vector(0.0), None), update(N0, 1, 0, vector(1.0)))
    with pytest.raises(NotImplementedError):
        Nothing().advance(state, at_server(0), [])


def test_a_client_trains_whenever_its_last_update_has_been_counted() -> None:
    client = UpdateClient(SERVER, proximal=0.25)
    state = client.initial(vector(0.0))
    assert client.opening(state) == ()
    opening = seen(SERVER, message(SERVER, 0, vector(0.0), kind=GLOBAL))
    step = client.advance(state, at_client(0), [opening])
    assert step.train is not None
    assert (step.train.proximal, step.train.fresh_optimizer) == (0.25, True)
    done = client.finish(step.state, at_client(0), [], vector(3.0))
    sent = only(done.outgoing)
    assert (sent.kind, sent.to, sent.words) == (UPDATE, (SERVER,), (1, 0))
    assert sent.vector == vector(3.0)
    assert client.advance(done.state, at_client(1), [opening]).train is None
    answer = seen(SERVER, message(SERVER, 7, vector(5.0), kind=GLOBAL, words=(1,)))
    step = client.advance(done.state, at_client(1), [answer])
    assert step.train is not None
    assert step.train.start == vector(5.0)
    assert step.state.base == 7


def test_a_fedbuff_client_sends_how_far_it_moved() -> None:
    client = FedBuffClient(SERVER)
    opening = seen(SERVER, message(SERVER, 0, vector(2.0), kind=GLOBAL))
    step = client.advance(client.initial(vector(0.0)), at_client(0), [opening])
    assert only(client.finish(step.state, at_client(0), [], vector(3.0)).outgoing).vector == vector(
        1.0
    )


def test_a_client_repeats_its_update_or_asks() -> None:
    client = UpdateClient(SERVER)
    state = client.initial(vector(0.0))
    assert only(client.repeat(state, at_client(0), [])).words == (0, 0)
    done = client.finish(state, at_client(0), [], vector(1.0))
    assert only(client.repeat(done.state, at_client(1), [])) is only(done.outgoing)


@pytest.mark.parametrize("comes_back", ["adopt", "resumed"])
def test_a_client_that_comes_back_asks_and_numbers_anew(comes_back: str) -> None:
    client = UpdateClient(SERVER)
    done = client.finish(client.initial(vector(0.0)), at_client(0), [], vector(1.0))
    if comes_back == "adopt":
        state = client.adopt(done.state, vector(2.0))
    else:
        state = client.resumed(done.state)
    asks = only(client.opening(state))
    assert (asks.kind, asks.to, asks.words) == (UPDATE, (SERVER,), (0, 0))
    assert state.number == 0
    answer = seen(SERVER, message(SERVER, 7, vector(5.0), kind=GLOBAL, words=(0,)))
    step = client.advance(state, at_client(0), [answer])
    assert step.train is not None
    assert not step.state.asks


def test_a_client_ends_with_the_last_model_or_when_its_finished_server_is_gone() -> None:
    client = UpdateClient(SERVER)
    state = client.initial(vector(0.0))
    assert not client.advance(state, at_client(0), [seen(SERVER)]).finished
    assert client.advance(state, at_client(0), [seen(SERVER, finished=True, live=False)]).finished
    last = message(SERVER, 9, vector(5.0), kind=FINAL)
    end = client.advance(state, at_client(0), [seen(SERVER, last)])
    assert end.finished
    assert end.state.x == vector(5.0)
    older = message(SERVER, 8, vector(4.0), kind=GLOBAL)
    waits = client.advance(state, at_client(0), [seen(SERVER, older, finished=True)])
    assert not waits.finished
    assert waits.train is None


def test_a_client_serves_the_newest_global_model() -> None:
    client = UpdateClient(SERVER)
    state = client.initial(vector(1.0))
    newest = seen(SERVER, message(SERVER, 1, vector(2.0)))
    assert client.served(state, [newest]) == vector(2.0)
    assert client.served(state, [seen(SERVER)]) == vector(1.0)
    assert client.public(state) == vector(1.0)
    assert client.capabilities.central
