"""Server and client of a star as whole nodes: what each does about each event."""

from support.bench import beat_of, make_bench, only_train, published, vector

from p2pfl.algorithms.base import stranger
from p2pfl.algorithms.fedavg import FedAvgClient, FedAvgServer
from p2pfl.messages import PresenceState, Record, Send, Stop, Woken
from p2pfl.protocol.phase import Phase
from p2pfl.protocol.staleness import StalenessPolicy
from p2pfl.types import NodeId

N1, N2 = NodeId("n1"), NodeId("n2")


def test_a_server_drives_rounds_and_a_client_answers() -> None:
    server = make_bench(
        StalenessPolicy(policy="none"),
        FedAvgServer(clients=(N1, N2), participation=1.0, seed=0, rounds=1),
    )
    server.start()
    assert server.in_phase(Phase.WAITING)
    client = make_bench(StalenessPolicy(policy="none"), FedAvgClient(N1))
    client.start()
    assert client.in_phase(Phase.WAITING)
    effects = client.model("n1", 0, 1.0, value=5.0)
    assert only_train(effects).start == vector(5.0)
    (answer,) = [e for e in client.trained(2.0) if isinstance(e, Send)]
    assert answer.peer == N1
    assert client.node.version == 2


def test_a_client_finishes_with_its_server() -> None:
    client = make_bench(StalenessPolicy(policy="none"), FedAvgClient(N1))
    client.start()
    effects = client.beat("n1", 1.0, state=PresenceState.FINISHED)
    assert Stop("finished") not in effects
    asked = [e for e in client.wake(1.25) if isinstance(e, Send)]
    assert [e.peer for e in asked] == [N1]
    effects = client.model("n1", 3, 1.5, value=4.0, kind="final")
    assert Stop("finished") in effects
    assert client.in_phase(Phase.FINISHED)
    assert client.node.served(2.0) == vector(4.0)


def test_a_server_looks_at_single_clients_and_not_at_all_of_them() -> None:
    server = make_bench(
        StalenessPolicy(policy="none"), FedAvgServer(clients=(N1, N2), participation=1.0, seed=0)
    )
    server.start()
    server.model("n1", 2, 1.0, value=3.0, kind="update")
    assert server.node.version == 0
    local = server.node._local(1.0)
    n1, n2 = local.look(N1), local.look(N2)
    assert n1.vector == vector(3.0)
    assert (n1.version, n1.trust, n1.live) == (2, 1.0, True)
    assert (n2.vector, n2.trust, n2.live) == (None, 0.0, True)
    assert not server.node._local(9.0).look(N2).live
    effects = server.model("n2", 2, 2.0, value=5.0, kind="update")
    assert server.node.version == 1
    assert published(effects)[0].vector == vector(4.0)
    assert [len(e.readings) for e in server.effects if isinstance(e, Record)] == [1, 1]


def test_who_looks_at_no_single_neighbour_sees_a_stranger() -> None:
    bench = make_bench()
    bench.start()
    bench.model("n1", 2, 1.0)
    assert bench.node._local(1.0).look(N1) == stranger(N1)


def test_a_waiting_server_repeats_what_may_have_been_lost() -> None:
    server = make_bench(
        StalenessPolicy(policy="none"), FedAvgServer(clients=(N1, N2), participation=1.0, seed=0)
    )
    beat = beat_of(server.start())
    effects = server.tell(Woken(beat.token), 1.25)
    again = [e for e in effects if isinstance(e, Send)]
    assert [s.peer for s in again] == [N1, N2]
