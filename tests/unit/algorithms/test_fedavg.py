"""FedAvg's server and client, each on its own."""

from dataclasses import replace

import numpy as np
import pytest

from p2pfl.algorithms.base import Local
from p2pfl.algorithms.fedavg import GLOBAL, UPDATE, ClientState, FedAvgClient, FedAvgServer
from p2pfl.messages import Header, Incarnation, Neighbour
from p2pfl.types import NodeId, Vector

SERVER = NodeId("server")
CLIENTS = tuple(NodeId(f"n{i}") for i in range(4))


def vector(*values: float) -> Vector:
    return np.array(values, dtype=np.float32)


def local(version: int) -> Local:
    return Local(SERVER, version=version, samples=0, steps=0)


def said(
    node: NodeId,
    version: int,
    model: Vector | None,
    *,
    kind: str = UPDATE,
    samples: int = 1,
    live: bool = True,
    finished: bool = False,
) -> Neighbour:
    header = Header(
        run="r",
        schema="s",
        node=node,
        incarnation=Incarnation(1, 1),
        sequence=version,
        version=version,
        oldest_version=version,
        sent_s=0.0,
        kind=kind,
        samples=samples,
    )
    held = header if model is not None else None
    return Neighbour(node, 0.2, 1.0, live, finished, version, held, model)


def make_server(participation: float = 1.0, rounds: int | None = None) -> FedAvgServer:
    return FedAvgServer(clients=CLIENTS, participation=participation, seed=0, rounds=rounds)


def test_the_server_weighs_updates_by_their_samples() -> None:
    heard = [said(n, 2, vector(float(i)), samples=i + 1) for i, n in enumerate(CLIENTS)]
    step = make_server().advance(vector(0.0), local(0), heard)
    assert step.version == 1
    np.testing.assert_allclose(step.state, [(0 * 1 + 1 * 2 + 2 * 3 + 3 * 4) / 10])
    assert step.outgoing[0].kind == GLOBAL
    assert step.outgoing[0].to == ()


def test_the_server_weighs_updates_as_it_is_told() -> None:
    heard = [said(n, 2, vector(float(i)), samples=i + 1) for i, n in enumerate(CLIENTS)]
    told = replace(make_server(), weights=tuple(zip(CLIENTS, (0.1, 0.2, 0.3, 0.4), strict=True)))
    step = told.advance(
        vector(0.0), local(0), heard[:2] + [said(n, 2, None, live=False) for n in CLIENTS[2:]]
    )
    np.testing.assert_allclose(step.state, [0.2 / 0.3], rtol=1e-6)


def test_the_server_waits_for_every_living_member() -> None:
    heard = [said(n, 2, vector(1.0)) for n in CLIENTS[:3]] + [said(CLIENTS[3], 0, None)]
    step = make_server().advance(vector(0.0), local(0), heard)
    assert step.version is None
    assert step.outgoing == ()


def test_the_server_never_waits_for_the_dead() -> None:
    heard = [said(n, 2, vector(1.0)) for n in CLIENTS[:3]]
    heard.append(said(CLIENTS[3], 0, None, live=False))
    assert make_server().advance(vector(0.0), local(0), heard).version == 1


def test_the_server_waits_when_nobody_is_alive() -> None:
    heard = [said(n, 0, None, live=False) for n in CLIENTS]
    assert make_server().advance(vector(0.0), local(0), heard).version is None


def test_an_update_of_another_round_does_not_count() -> None:
    heard = [said(n, 2, vector(1.0)) for n in CLIENTS]
    assert make_server().advance(vector(0.0), local(1), heard).version is None


def test_partial_participation_draws_cohorts_by_the_seed_and_addresses_them_alone() -> None:
    server = make_server(participation=0.5)
    cohorts = [server.cohort(r) for r in range(40)]
    assert all(len(c) == 2 for c in cohorts)
    assert cohorts == [make_server(participation=0.5).cohort(r) for r in range(40)]
    assert {n for c in cohorts for n in c} == set(CLIENTS)
    assert server.opening(vector(0.0))[0].to == cohorts[0]
    heard = [said(n, 2, vector(1.0)) for n in cohorts[0]]
    assert server.advance(vector(0.0), local(0), heard).outgoing[0].to == cohorts[1]


def test_the_last_model_is_handed_to_everybody_and_not_to_be_trained_from() -> None:
    heard = [said(n, 2, vector(1.0)) for n in CLIENTS]
    step = make_server(participation=0.5, rounds=1).advance(vector(0.0), local(0), heard)
    assert step.finished
    assert step.outgoing[0].to == ()
    client = FedAvgClient(SERVER)
    last = [said(SERVER, 1, vector(2.0), kind=step.outgoing[0].kind)]
    end = client.advance(client.initial(vector(0.0)), local(0), last)
    assert end.train is None
    assert end.finished
    assert end.state.x == vector(2.0)


def test_the_server_repeats_to_members_that_have_not_told_of_the_round() -> None:
    server = make_server()
    training, behind = 7, 6
    heard = [said(n, training, vector(1.0)) for n in CLIENTS[:2]] + [
        said(CLIENTS[2], behind, vector(1.0)),
        said(CLIENTS[3], behind, vector(1.0), live=False),
    ]
    (again,) = server.repeat(vector(0.0), local(3), heard)
    assert again.to == (CLIENTS[2],)
    assert server.repeat(vector(0.0), local(3), heard[:2]) == ()
    first = [said(n, 0, None) for n in CLIENTS]
    assert server.repeat(vector(0.0), local(0), first)[0].to == CLIENTS


def test_the_server_serves_its_model_and_does_not_train() -> None:
    server = make_server()
    assert server.served(vector(1.0), []) == vector(1.0)
    assert server.capabilities.central
    with pytest.raises(AssertionError):
        server.finish(vector(1.0), local(0), [], vector(1.0))


def test_a_client_trains_once_from_each_global_model() -> None:
    client = FedAvgClient(SERVER)
    state = client.initial(vector(0.0))
    heard = [said(SERVER, 4, vector(2.0), kind=GLOBAL)]
    step = client.advance(state, local(0), heard)
    assert step.train is not None
    assert step.train.fresh_optimizer
    assert step.version == 9
    done = client.finish(step.state, local(9), heard, vector(3.0))
    assert done.outgoing[0].to == (SERVER,)
    assert done.outgoing[0].kind == UPDATE
    assert client.advance(done.state, local(10), heard).train is None


def test_a_client_waits_until_it_is_asked_and_ends_with_its_server() -> None:
    client = FedAvgClient(SERVER)
    state = client.initial(vector(0.0))
    assert client.opening(state) == ()
    silent = client.advance(state, local(0), [said(SERVER, 0, None)])
    assert silent.train is None
    assert not silent.finished
    over = [said(SERVER, 1, vector(2.0), kind=GLOBAL, finished=True)]
    assert client.advance(state, local(0), over).finished
    assert client.capabilities.central


def test_a_client_repeats_its_answer_until_the_server_goes_on() -> None:
    client = FedAvgClient(SERVER)
    state = ClientState(vector(0.0), answered=5, update=vector(1.0))
    (again,) = client.repeat(state, local(5), [said(SERVER, 4, vector(0.0))])
    assert again.to == (SERVER,)
    assert client.repeat(state, local(5), [said(SERVER, 5, vector(0.0))]) == ()
    assert client.repeat(client.initial(vector(0.0)), local(0), [said(SERVER, 0, None)]) == ()


def test_a_client_serves_the_newest_global_model() -> None:
    client = FedAvgClient(SERVER)
    state = client.adopt(client.initial(vector(0.0)), vector(1.0))
    assert client.served(state, [said(SERVER, 1, vector(2.0))]) == vector(2.0)
    assert client.served(state, [said(SERVER, 1, None)]) == vector(1.0)
    assert client.public(state) == vector(1.0)
