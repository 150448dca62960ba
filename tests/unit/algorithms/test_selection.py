"""Which clients take part in a round."""

from math import inf

import pytest
from support.star import CLIENTS, at_server, message, vector

from p2pfl.algorithms.fedavg import FedAvgServer
from p2pfl.algorithms.selection import choose, drawn, loss_of, loss_word
from p2pfl.types import NodeId

N0, N1, N2, N3 = CLIENTS


def test_every_order_is_a_permutation_of_the_seed_and_the_round() -> None:
    orders = [tuple(drawn(0, round_, CLIENTS)) for round_ in range(50)]
    assert {frozenset(order) for order in orders} == {frozenset(CLIENTS)}
    assert len(set(orders)) > 10
    assert {order[0] for order in orders} == set(CLIENTS)
    assert orders[3] == tuple(drawn(0, 3, CLIENTS))


def test_the_highest_losses_are_chosen_and_the_unknown_before_them() -> None:
    losses = {N0: 0.1, N1: 0.9, N2: 0.5}
    assert choose(CLIENTS, 2) == [N0, N1]
    assert choose(CLIENTS, 2, losses=losses) == [N3, N1]
    assert choose([N2, N0, N1], 2, losses=losses) == [N1, N2]


@pytest.mark.parametrize(("loss", "told"), [(0.5, 0.5), (-3.0, 0.0), (1e30, 2.0**32)])
def test_a_loss_travels_as_a_whole_number(loss: float, told: float) -> None:
    assert loss_of((loss_word(loss),)) == told
    assert loss_of(()) == inf


def test_the_server_prefers_clients_of_high_loss_among_those_it_draws() -> None:
    server = FedAvgServer(
        clients=CLIENTS, seed=0, participation=0.25, selection="loss", candidates=4
    )
    state = server.initial(vector(0.0))
    told: dict[NodeId, float] = {N0: 0.5, N1: 0.25, N2: 4.0, N3: 1.0}
    for node, loss in told.items():
        said = message(node, 2, vector(1.0), words=(loss_word(loss),))
        state = server.hear(state, at_server(0), said, usable=True).state
    assert server.advance(state, at_server(0), []).state.cohort == (N2,)
    assert server.advance(state, at_server(0, dead=[N2]), []).state.cohort == (N3,)


def test_as_many_candidates_as_places_is_plain_drawing() -> None:
    plain, few = (
        FedAvgServer(clients=CLIENTS, seed=0, participation=0.5, selection=selection, candidates=1)
        for selection in ("random", "loss")
    )
    losses = {N0: 9.0, N1: 0.0, N2: 0.0, N3: 0.0}
    for round_ in range(20):
        local = at_server(round_)
        assert plain._cohort(round_, local, losses) == few._cohort(round_, local, losses)
