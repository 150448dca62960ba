"""FedAvg and its kin: what each makes of the same answers, against its formula by hand."""

import numpy as np
from support.star import CLIENTS, SERVER, at_client, at_server, message, seen, vector

from p2pfl.algorithms.fedadam import FedAdamServer
from p2pfl.algorithms.fedavg import FedAvgClient, FedAvgServer
from p2pfl.algorithms.fedavgm import FedAvgMServer
from p2pfl.algorithms.fedprox import FedProxClient
from p2pfl.algorithms.star_rounds import GLOBAL, Answer, mean_update

X = vector(1.0, -2.0)
ANSWERS = [
    Answer(CLIENTS[0], vector(2.0, 0.0), weight=1.0, local_steps=1),
    Answer(CLIENTS[1], vector(5.0, -2.0), weight=3.0, local_steps=4),
]
MEAN = np.array([(1.0 + 3.0 * 4.0) / 4.0, 2.0 / 4.0])


def test_fedavg_weighs_updates_by_their_samples() -> None:
    server = FedAvgServer(clients=CLIENTS, seed=0)
    x, memory = server.combined(server.initial(X), at_server(0), ANSWERS)
    np.testing.assert_allclose(x, X + MEAN)
    assert memory is None
    assert not x.flags.writeable


def test_equal_answers_leave_exactly_themselves() -> None:
    server = FedAvgServer(clients=CLIENTS, seed=0)
    same = [Answer(node, X, weight=0.1 + i, local_steps=1) for i, node in enumerate(CLIENTS)]
    assert (server.combined(server.initial(X), at_server(0), same)[0] == X).all()


def test_normalised_updates_count_per_local_step() -> None:
    per_step = (1.0 * np.array([1.0, 2.0]) / 1 + 3.0 * np.array([4.0, 0.0]) / 4) / 4.0
    mean_steps = (1.0 * 1 + 3.0 * 4) / 4.0
    wanted = per_step * mean_steps
    np.testing.assert_allclose(mean_update(X, ANSWERS, normalise=True), wanted, rtol=1e-6)
    for server in (
        FedAvgServer(clients=CLIENTS, seed=0, normalise=True),
        FedAvgServer(clients=CLIENTS, seed=0, weights=dict.fromkeys(CLIENTS, 0.25)),
    ):
        x, _ = server.combined(server.initial(X), at_server(0), ANSWERS)
        np.testing.assert_allclose(x, X + wanted, rtol=1e-6)


def test_weights_of_the_objective_replace_the_numbers_of_samples() -> None:
    server = FedAvgServer(clients=CLIENTS, seed=0, weights={CLIENTS[0]: 0.7})
    state = server.initial(X)
    for node in CLIENTS[:2]:
        said = message(node, 2, X, samples=5)
        state = server.hear(state, at_server(0), said, usable=True).state
    assert [state.answers[node].weight for node in CLIENTS[:2]] == [0.7, 5.0]


def test_fedavgm_is_the_heavy_ball_on_the_mean_update() -> None:
    server = FedAvgMServer(clients=CLIENTS, seed=0, server_learning_rate=0.5, server_momentum=0.8)
    state = server.initial(X)
    x1, v1 = server.combined(state, at_server(0), ANSWERS)
    np.testing.assert_allclose(v1, -MEAN)
    np.testing.assert_allclose(x1, X + 0.5 * MEAN)
    still = [each._replace(vector=x1) for each in ANSWERS]
    later = server.adopt(state, x1)
    x2, v2 = server.combined(type(state)(later.x, v1, ()), at_server(1), still)
    np.testing.assert_allclose(v2, -0.8 * MEAN, rtol=1e-6)
    np.testing.assert_allclose(x2, x1 + 0.5 * 0.8 * MEAN, rtol=1e-6)


def test_fedadam_is_adam_on_the_mean_update_from_second_moments_of_tau_squared() -> None:
    server = FedAdamServer(
        clients=CLIENTS, seed=0, server_learning_rate=0.1, server_betas=(0.5, 0.75), adaptivity=0.2
    )
    state = server.initial(X)
    x1, moments = server.combined(state, at_server(0), ANSWERS)
    first, second = 0.5 * MEAN, 0.75 * 0.2**2 + 0.25 * MEAN**2
    np.testing.assert_allclose(moments.first, first, rtol=1e-6)
    np.testing.assert_allclose(moments.second, second, rtol=1e-6)
    np.testing.assert_allclose(x1, X + 0.1 * first / (np.sqrt(second) + 0.2), rtol=1e-6)
    still = [each._replace(vector=x1) for each in ANSWERS]
    x2, again = server.combined(type(state)(x1, moments, ()), at_server(1), still)
    np.testing.assert_allclose(again.first, 0.5 * first, rtol=1e-6)
    np.testing.assert_allclose(again.second, 0.75 * second, rtol=1e-6)
    np.testing.assert_allclose(
        x2, x1 + 0.1 * 0.5 * first / (np.sqrt(0.75 * second) + 0.2), rtol=1e-6
    )


def test_a_fedprox_client_trains_on_a_leash() -> None:
    handed = [seen(SERVER, message(SERVER, 0, X, kind=GLOBAL))]
    for client, mu in ((FedAvgClient(SERVER), 0.0), (FedProxClient(SERVER, proximal=0.3), 0.3)):
        plan = client.advance(client.initial(X), at_client(0), handed).train
        assert plan is not None
        assert plan.proximal == mu
        assert plan.start is X
        assert plan.fresh_optimizer
