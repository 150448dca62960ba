"""Who is in which epoch, and that sums are whole again when the last omission is past."""

from p2pfl.algorithms.epochs import EPOCH_MAX, Membership
from p2pfl.messages import Header, Incarnation, Neighbour
from p2pfl.types import NodeId

N1, N2 = NodeId("n1"), NodeId("n2")


def heard(peer: NodeId, *, epoch: int = 0, life: int = 1) -> Neighbour:
    header = Header("run", "schema", peer, Incarnation(life, 7), 1, 1, 0, 0.0, epoch=epoch)
    return Neighbour(peer, 0.5, 1.0, True, False, 1, header, None)


def missed(peer: NodeId) -> Neighbour:
    return Neighbour(peer, 0.5, 0.0, False, False, 0, None, None)


def test_while_all_are_heard_the_epoch_stays() -> None:
    first = Membership().after([heard(N1), heard(N2)])
    assert first.epoch == 0
    assert first.after([heard(N1), heard(N2)]) is first


def test_other_neighbours_in_another_round_are_no_change() -> None:
    members = Membership().after([heard(N1)]).after([heard(N2)])
    assert members.epoch == 0
    assert members.after([heard(N1)]) is members


def test_who_is_missed_begins_an_epoch_once() -> None:
    members = Membership().after([heard(N1), heard(N2)]).after([heard(N1), missed(N2)])
    assert members.epoch == 1
    assert members.after([heard(N1, epoch=1), missed(N2)]) is members
    assert members.after([heard(N1, epoch=1), heard(N2, epoch=0)]).epoch == 2


def test_who_was_never_heard_begins_an_epoch_too() -> None:
    assert Membership().after([heard(N1), missed(N2)]).epoch == 1


def test_a_new_life_begins_an_epoch() -> None:
    members = Membership().after([heard(N1)])
    assert members.after([heard(N1, life=2)]).epoch == 1


def test_a_later_epoch_is_followed_and_a_later_change_goes_beyond_it() -> None:
    members = Membership().after([heard(N1), heard(N2)])
    assert members.after([heard(N1, epoch=5), heard(N2)]).epoch == 5
    assert members.after([heard(N1, epoch=5), missed(N2)]).epoch == 6


def test_nobody_is_followed_into_an_absurd_epoch() -> None:
    members = Membership().after([heard(N1), heard(N2)])
    assert members.after([heard(N1, epoch=EPOCH_MAX + 1), heard(N2)]).epoch == 0


def test_only_neighbours_of_the_same_epoch_exchange() -> None:
    neighbours = [heard(N1, epoch=1), heard(N2), missed(NodeId("n3"))]
    assert [n.peer for n in Membership(1).same(neighbours)] == [N1]


def test_who_begins_again_knows_the_epoch_and_nobody() -> None:
    again = Membership().after([heard(N1, epoch=3)]).anew()
    assert (again.epoch, again.lives) == (3, {})
