"""SCAFFOLD: controls on both sides, and what losses and deaths do to them."""

import numpy as np
from support.star import CLIENTS, SERVER, at_client, at_server, message, only, seen, vector

from p2pfl.algorithms.scaffold import Controls, ScaffoldClient, ScaffoldServer
from p2pfl.algorithms.star_client import ClientState
from p2pfl.algorithms.star_rounds import FINAL, GLOBAL, ServerState
from p2pfl.types import Vector

N0, N1, N2, N3 = CLIENTS


def answered(server: ScaffoldServer, controls: dict[str, Vector]) -> ServerState[Controls]:
    """The state after these clients have answered round 0 with 1 and their control."""
    state = server.initial(vector(0.0))
    for node in CLIENTS:
        if node in controls:
            said = message(node, 2, vector(1.0), extra=controls[node])
            state = server.hear(state, at_server(0), said, usable=True).state
    return state


def test_a_client_trains_against_its_drift_and_learns_its_mean_gradient() -> None:
    client = ScaffoldClient(SERVER)
    state = ClientState(vector(0.0), vector(0.5))
    handed = [seen(SERVER, message(SERVER, 0, vector(2.0), kind=GLOBAL, extra=vector(0.75)))]
    step = client.advance(state, at_client(0), handed)
    assert step.train is not None
    assert step.train.correction == vector(0.25)
    local = at_client(1, rate=0.125, local_steps=2)
    done = client.finish(step.state, local, handed, vector(1.5))
    # From 2 to 1.5 in two steps of 1/8: gradients of 2 on average, of which 1/4 were correction.
    assert done.state.memory == vector(1.75)
    assert only(done.outgoing).extra == vector(1.75)
    assert only(done.outgoing).vector == vector(1.5)


def test_steps_of_no_length_teach_nothing() -> None:
    client = ScaffoldClient(SERVER)
    state = ClientState(vector(0.0), vector(0.5), beside=vector(0.0))
    assert client.finish(state, at_client(1), [], vector(0.0)).state.memory == vector(0.5)


def test_the_server_keeps_the_mean_of_what_the_living_have_told() -> None:
    server = ScaffoldServer(clients=CLIENTS, seed=0, server_learning_rate=0.5)
    state = answered(server, {N0: vector(1.0), N1: vector(3.0), N2: vector(5.0)})
    step = server.advance(state, at_server(0, dead=[N3]), [])
    assert step.state.x == vector(0.5)
    assert step.state.memory.common == vector(3.0)
    assert only(step.outgoing).extra == vector(3.0)
    later = server.combined(
        step.state, at_server(1, dead=[N2, N3]), list(state.answers.values())[:1]
    )
    assert later[1].common == vector(2.0)


def test_who_has_not_told_yet_counts_as_zero() -> None:
    server = ScaffoldServer(clients=CLIENTS, seed=0, participation=0.5)
    state = answered(server, {N0: vector(1.0), N1: vector(3.0)})
    _, controls = server.combined(state, at_server(0), list(state.answers.values()))
    assert controls.common == vector(1.0)


def test_an_answer_that_comes_twice_changes_nothing_more() -> None:
    server = ScaffoldServer(clients=CLIENTS, seed=0)
    state = answered(server, {N0: vector(1.0)})
    again = message(N0, 2, vector(1.0), extra=vector(1.0))
    assert server.hear(state, at_server(0), again, usable=True).state is state


def test_every_message_carries_a_control() -> None:
    server, client = ScaffoldServer(clients=CLIENTS, seed=0, rounds=1), ScaffoldClient(SERVER)
    state = server.initial(vector(0.0))
    said = [only(server.opening(state)), only(server.repeat(state, at_server(0), []))]
    end = server.advance(answered(server, dict.fromkeys(CLIENTS, vector(0.5))), at_server(0), [])
    said.append(only(end.outgoing))
    assert said[-1].kind == FINAL
    asks = client.repeat(client.initial(vector(0.0)), at_client(0), [seen(SERVER, finished=True)])
    said.append(only(asks))
    for rule in (server, client):
        beside = rule.capabilities.beside
        assert beside is not None
        assert beside.size(1) == 1
    for out in said:
        assert out.extra is not None
        assert out.extra.shape == (1,)
        assert out.extra.dtype == np.float32
    assert client.capabilities.plain_sgd
