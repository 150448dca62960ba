"""Rounds on a star: server and client, each on its own."""

import pytest
from support.star import CLIENTS, SERVER, at_client, at_server, message, only, seen, vector

from p2pfl.algorithms.fedavg import FedAvgClient, FedAvgServer
from p2pfl.algorithms.star_client import ClientState, RoundClient
from p2pfl.algorithms.star_rounds import FINAL, GLOBAL, RoundServer, ServerState
from p2pfl.messages import Incarnation, Neighbour
from p2pfl.types import NodeId

State = ServerState[None]


def make_server(participation: float = 1.0, rounds: int | None = None) -> FedAvgServer:
    return FedAvgServer(clients=CLIENTS, participation=participation, seed=0, rounds=rounds)


def heard(
    server: RoundServer[None], state: State, nodes: tuple[NodeId, ...], *, round_: int = 0
) -> State:
    """The state after these clients have answered the round with 1."""
    for node in nodes:
        said = message(node, 2 * round_ + 2, vector(1.0))
        state = server.hear(state, at_server(round_), said, usable=True).state
    return state


def test_the_server_averages_when_every_living_member_has_answered() -> None:
    server = make_server()
    state = server.initial(vector(0.0))
    waiting = heard(server, state, CLIENTS[:3])
    assert server.advance(waiting, at_server(0), []).version is None
    step = server.advance(heard(server, waiting, CLIENTS[3:]), at_server(0), [])
    assert step.version == 1
    assert step.state.x == vector(1.0)
    assert only(step.outgoing).kind == GLOBAL
    assert only(step.outgoing).to == ()


def test_the_server_never_waits_for_the_dead() -> None:
    server = make_server()
    state = heard(server, server.initial(vector(0.0)), CLIENTS[:3])
    assert server.advance(state, at_server(0, dead=CLIENTS[3:]), []).version == 1


def test_a_round_whose_members_all_died_is_given_to_others() -> None:
    server = make_server(participation=0.5)
    state = server.initial(vector(0.0))
    step = server.advance(state, at_server(0, dead=state.cohort), [])
    assert step.version is None
    assert set(step.state.cohort) == set(CLIENTS) - set(state.cohort)
    assert only(step.outgoing).to == step.state.cohort


def test_a_server_without_living_clients_waits_for_the_first_to_come() -> None:
    server = make_server(participation=0.5)
    alone = server.advance(server.initial(vector(0.0)), at_server(0, dead=CLIENTS), [])
    assert alone.state.cohort == ()
    assert alone.outgoing == ()
    step = server.advance(alone.state, at_server(0, dead=CLIENTS[1:]), [])
    assert only(step.outgoing).to == CLIENTS[:1]


@pytest.mark.parametrize("count", [10, 1000])
def test_what_a_message_costs_does_not_grow_with_the_clients(count: int) -> None:
    clients = tuple(NodeId(f"n{i}") for i in range(count))
    server, looks = FedAvgServer(clients=clients, seed=0), []

    def look(node: NodeId) -> Neighbour:
        looks.append(node)
        return seen(node)

    local = at_server(0)._replace(look=look)
    state = server.initial(vector(0.0))
    for node in clients[:-1]:
        state = server.hear(state, local, message(node, 2, vector(1.0)), usable=True).state
        assert server.advance(state, local, []).version is None
    assert len(looks) == count - 1


def test_each_answer_counts_once_and_only_in_its_round() -> None:
    server = make_server()
    state = heard(server, server.initial(vector(0.0)), CLIENTS[:1])
    for said in (
        message(CLIENTS[0], 2, vector(9.0)),
        message(CLIENTS[1], 4, vector(9.0)),
        message(CLIENTS[1], 2, vector(9.0), kind="model"),
    ):
        again = server.hear(state, at_server(0), said, usable=True)
        assert again.state is state
        assert not again.mixed


def test_a_member_that_says_anything_but_its_answer_is_told_the_round_again() -> None:
    server = make_server(participation=0.5)
    state = server.initial(vector(3.0))
    other = next(node for node in CLIENTS if node not in state.cohort)
    member = state.cohort[0]
    late = message(member, 1, vector(9.0))
    told = only(server.hear(state, at_server(0), late, usable=True).outgoing)
    assert (told.kind, told.to, told.vector) == (GLOBAL, (member,), vector(3.0))
    late = message(other, 1, vector(9.0))
    assert server.hear(state, at_server(0), late, usable=True).outgoing == ()


def test_a_server_that_is_done_stays_done() -> None:
    server = make_server(rounds=1)
    step = server.advance(heard(server, server.initial(vector(0.0)), CLIENTS), at_server(0), [])
    again = server.advance(step.state, at_server(1), [])
    assert again.finished
    assert again.outgoing == ()
    assert only(server.opening(step.state)).kind == FINAL


def test_a_client_that_comes_back_from_a_checkpoint_asks() -> None:
    client = FedAvgClient(SERVER)
    handed = message(SERVER, 4, vector(2.0), kind=GLOBAL)
    step = client.advance(client.initial(vector(0.0)), at_client(0), [seen(SERVER, handed)])
    asks = only(client.opening(step.state))
    assert (asks.to, asks.vector) == ((SERVER,), vector(2.0))
    done = client.finish(step.state, at_client(9), [], vector(3.0))
    assert only(client.opening(done.state)) is done.state.reply


def test_an_unusable_answer_is_not_taken() -> None:
    server = make_server()
    state = server.initial(vector(0.0))
    unusable = server.hear(state, at_server(0), message(CLIENTS[1], 2, vector(9.0)), usable=False)
    assert unusable.state is state


def test_partial_participation_draws_cohorts_by_the_seed_and_addresses_them_alone() -> None:
    server = make_server(participation=0.5)
    state = server.initial(vector(0.0))
    assert only(server.opening(state)).to == state.cohort
    cohorts = []
    for round_ in range(40):
        cohorts.append(state.cohort)
        state = heard(server, state, state.cohort, round_=round_)
        step = server.advance(state, at_server(round_), [])
        assert only(step.outgoing).to == step.state.cohort
        state = step.state
    assert all(len(cohort) == 2 for cohort in cohorts)
    assert {node for cohort in cohorts for node in cohort} == set(CLIENTS)
    assert cohorts[0] == make_server(participation=0.5).initial(vector(0.0)).cohort


def test_the_dead_are_not_drawn() -> None:
    server = make_server(participation=0.5)
    state = heard(server, server.initial(vector(0.0)), CLIENTS)
    for round_ in range(20):
        local = at_server(round_, dead=CLIENTS[:2])
        assert server._cohort(round_, local, state.losses) == CLIENTS[2:]


def test_the_last_model_is_handed_to_everybody_and_not_to_be_trained_from() -> None:
    server = make_server(participation=0.5, rounds=1)
    state = server.initial(vector(0.0))
    step = server.advance(heard(server, state, state.cohort), at_server(0), [])
    assert step.finished
    assert only(step.outgoing).to == ()
    assert only(step.outgoing).kind == FINAL
    client = FedAvgClient(SERVER)
    last = seen(SERVER, message(SERVER, 1, vector(2.0), kind=FINAL))
    end = client.advance(client.initial(vector(0.0)), at_client(0), [last])
    assert end.train is None
    assert end.finished
    assert end.state.x == vector(2.0)


def test_who_asks_a_finished_server_is_told_the_last_model() -> None:
    server = make_server(rounds=1)
    step = server.advance(heard(server, server.initial(vector(0.0)), CLIENTS), at_server(0), [])
    late = message(CLIENTS[2], 2, vector(1.0))
    told = only(server.hear(step.state, at_server(1), late, usable=True).outgoing)
    assert told.kind == FINAL
    assert told.to == (CLIENTS[2],)
    assert told.vector == vector(1.0)


def test_the_server_repeats_to_members_that_have_not_told_of_the_round() -> None:
    server = make_server()
    state = server.initial(vector(0.0))
    n0, n1, n2, n3 = CLIENTS
    local = at_server(3, told={n0: 7, n1: 8, n2: 6, n3: 6}, dead=[n3])
    assert only(server.repeat(state, local, [])).to == (n2,)
    assert server.repeat(state, at_server(3, told=dict.fromkeys(CLIENTS, 7)), []) == ()
    assert only(server.repeat(state, at_server(0), [])).to == CLIENTS


def test_a_server_that_lost_its_memory_repeats_to_clients_that_are_further() -> None:
    server = make_server()
    ahead = at_server(3, told=dict.fromkeys(CLIENTS, 40))
    assert only(server.repeat(server.initial(vector(0.0)), ahead, [])).to == CLIENTS


def test_the_server_serves_its_model_and_does_not_train() -> None:
    server = make_server()
    state = server.adopt(server.initial(vector(0.0)), vector(1.0))
    assert server.served(state, []) == vector(1.0)
    assert server.public(state) == vector(1.0)
    assert server.capabilities.central
    with pytest.raises(AssertionError):
        server.finish(state, at_server(0), [], vector(1.0))


def test_a_rule_on_a_star_must_say_what_it_remembers_and_combines() -> None:
    class Nothing(RoundServer[None]):
        pass

    server = Nothing(clients=CLIENTS, seed=0)
    with pytest.raises(NotImplementedError):
        server.initial(vector(0.0))
    state = make_server().initial(vector(0.0))
    with pytest.raises(NotImplementedError):
        server.combined(state, at_server(0), [])


def test_a_client_on_a_star_must_say_what_it_remembers() -> None:
    class Nothing(RoundClient[None]):
        pass

    with pytest.raises(NotImplementedError):
        Nothing(SERVER).initial(vector(0.0))


def test_a_client_trains_once_from_each_global_model() -> None:
    client = FedAvgClient(SERVER)
    state = client.initial(vector(0.0))
    handed = [seen(SERVER, message(SERVER, 4, vector(2.0), kind=GLOBAL))]
    step = client.advance(state, at_client(0), handed)
    assert step.train is not None
    assert step.train.fresh_optimizer
    assert step.version == 9
    done = client.finish(step.state, at_client(9, loss=0.5), handed, vector(3.0))
    answer = only(done.outgoing)
    assert answer.to == (SERVER,)
    assert answer.kind == "update"
    assert answer.words == (1 << 15,)
    assert client.advance(done.state, at_client(10), handed).train is None


def test_a_client_answers_a_server_that_began_a_new_life_and_older_rounds() -> None:
    client = FedAvgClient(SERVER)
    state = ClientState(vector(0.0), None, answered=9, server=Incarnation(1, 1))
    old = message(SERVER, 4, vector(2.0), kind=GLOBAL)
    new = message(SERVER, 4, vector(2.0), kind=GLOBAL, life=Incarnation(2, 1))
    assert client.advance(state, at_client(0), [seen(SERVER, old)]).train is None
    assert client.advance(state, at_client(0), [seen(SERVER, new)]).train is not None


def test_a_client_waits_until_it_is_asked_and_for_the_last_model_of_a_finished_server() -> None:
    client = FedAvgClient(SERVER)
    state = client.initial(vector(0.0))
    assert client.opening(state) == ()
    assert not client.advance(state, at_client(0), [seen(SERVER)]).finished
    over = seen(SERVER, message(SERVER, 1, vector(2.0), kind=GLOBAL), finished=True)
    waits = client.advance(state, at_client(0), [over])
    assert not waits.finished
    assert waits.train is None
    asks = only(client.repeat(state, at_client(0), [over]))
    assert asks.to == (SERVER,)
    assert client.capabilities.central


def test_a_client_ends_when_its_finished_server_is_gone() -> None:
    client = FedAvgClient(SERVER)
    state = client.initial(vector(0.0))
    gone = seen(SERVER, finished=True, live=False)
    assert client.advance(state, at_client(0), [gone]).finished


def test_a_client_repeats_its_answer_until_the_server_goes_on() -> None:
    client = FedAvgClient(SERVER)
    handed = message(SERVER, 4, vector(0.0), kind=GLOBAL)
    step = client.advance(client.initial(vector(0.0)), at_client(0), [seen(SERVER, handed)])
    state = client.finish(step.state, at_client(9), [], vector(1.0)).state
    assert state.answered == 5
    assert only(client.repeat(state, at_client(10), [seen(SERVER, handed)])).to == (SERVER,)
    next_round = seen(SERVER, handed, version=5)
    assert client.repeat(state, at_client(10), [next_round]) == ()
    assert client.repeat(client.initial(vector(0.0)), at_client(0), [seen(SERVER)]) == ()


def test_a_client_serves_the_newest_global_model() -> None:
    client = FedAvgClient(SERVER)
    state = client.adopt(client.initial(vector(0.0)), vector(1.0))
    newest = seen(SERVER, message(SERVER, 1, vector(2.0)))
    assert client.served(state, [newest]) == vector(2.0)
    assert client.served(state, [seen(SERVER)]) == vector(1.0)
    assert client.public(state) == vector(1.0)
