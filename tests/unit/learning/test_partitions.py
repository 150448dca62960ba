import numpy as np
import pytest

from p2pfl.errors import ConfigError, DataError
from p2pfl.learning.partitions import (
    Dirichlet,
    Halves,
    Iid,
    Linear,
    NaturalId,
    Shard,
    Sorted,
    make_partition,
)
from p2pfl.types import NodeId

LABELS = np.arange(1000) % 10
FOUR = [NodeId(f"n{i}") for i in range(4)]
TEN = [NodeId(f"n{i}") for i in range(10)]


def test_even_parts_differ_by_at_most_one() -> None:
    for partition in (Iid(), Halves()):
        sizes = [len(p) for p in partition.deal(LABELS[:998], None, nodes=FOUR, seed=0)]
        assert sorted(sizes) == [249, 249, 250, 250]


def test_even_parts_hold_every_class() -> None:
    for part in Iid().deal(LABELS, None, nodes=FOUR, seed=0):
        assert len(np.unique(LABELS[part])) == 10


def test_linear_parts_grow_by_one_share_each() -> None:
    parts = Linear().deal(LABELS, None, nodes=FOUR, seed=0)
    assert [len(p) for p in parts] == [100, 200, 300, 400]


def test_two_shards_hold_few_classes() -> None:
    """200 shards of 300 for 100 clients leave most with two digits (McMahan et al., 2017)."""
    parts = Shard(2).deal(LABELS, None, nodes=TEN, seed=0)
    assert all(len(p) == 100 for p in parts)
    assert all(len(np.unique(LABELS[p])) <= 2 for p in parts)


def test_one_shard_each_is_one_class_each() -> None:
    parts = Shard(1).deal(LABELS, None, nodes=TEN, seed=0)
    assert sorted(int(LABELS[p[0]]) for p in parts) == list(range(10))
    assert all(len(np.unique(LABELS[p])) == 1 for p in parts)


def test_sorted_stretches_go_to_the_nodes_in_order() -> None:
    parts = Sorted().deal(LABELS, None, nodes=FOUR, seed=0)
    assert [sorted(set(LABELS[p].tolist())) for p in parts] == [
        [0, 1, 2],
        [2, 3, 4],
        [5, 6, 7],
        [7, 8, 9],
    ]
    assert sorted(np.concatenate(parts).tolist()) == list(range(1000))
    assert make_partition("sorted") == Sorted()


def test_small_alpha_is_uneven_and_large_alpha_even() -> None:
    def largest_share(alpha: float) -> float:
        parts = Dirichlet(alpha).deal(LABELS, None, nodes=FOUR, seed=0)
        table = np.array([np.bincount(LABELS[p], minlength=10) for p in parts])
        return float((table.max(axis=0) / table.sum(axis=0)).mean())

    assert largest_share(1000.0) < 0.3
    assert largest_share(0.1) > 0.7


def test_dirichlet_proportions_have_the_right_spread() -> None:
    """Var of a share of Dirichlet(alpha, n) is (1/n)(1 - 1/n) / (n alpha + 1)."""
    labels = np.arange(200_000) % 200
    parts = Dirichlet(0.5).deal(labels, None, nodes=FOUR, seed=0)
    shares = np.array([np.bincount(labels[p], minlength=200) for p in parts]) / 1000
    assert shares.var() == pytest.approx(0.25 * 0.75 / (4 * 0.5 + 1), rel=0.15)


def test_dirichlet_deals_again_until_each_node_has_enough() -> None:
    least = [
        min(len(p) for p in Dirichlet(0.3, minimum).deal(LABELS, None, nodes=TEN, seed=1))
        for minimum in (1, 60)
    ]
    assert least[0] < 60 <= least[1]


def test_a_wish_that_cannot_be_met_names_the_node_and_what_to_do() -> None:
    many = [NodeId(f"n{i}") for i in range(900)]
    with pytest.raises(DataError, match=r"empty shard: .* node 'n\d+' still has 0 of 1: raise"):
        Dirichlet(0.01).deal(LABELS, None, nodes=many, seed=0)


@pytest.mark.parametrize("partition", [Iid(), Halves(), Linear(), Shard()])
def test_an_empty_shard_is_refused_by_the_nodes_name(
    partition: Iid | Halves | Linear | Shard,
) -> None:
    with pytest.raises(DataError, match=r"empty shard: node 'n\d' would hold none of the 2"):
        partition.deal(LABELS[:2], None, nodes=TEN, seed=0)


def test_natural_ids_go_to_the_nodes_of_their_names() -> None:
    ids = np.array(["va", "ohio", "va", "basel", "ohio"])
    nodes = [NodeId(name) for name in ("va", "basel", "ohio")]
    parts = NaturalId().deal(LABELS[:5], ids, nodes=nodes, seed=0)
    assert [sorted(p) for p in parts] == [[0, 2], [3], [1, 4]]


def test_natural_ids_go_in_order_to_nodes_of_other_names() -> None:
    ids = np.arange(1000) // 100
    parts = NaturalId().deal(LABELS, ids, nodes=TEN, seed=0)
    assert [int(ids[p[0]]) for p in parts] == list(range(10))
    parts = NaturalId().deal(LABELS, ids, nodes=FOUR, seed=0)
    assert [np.unique(ids[p]).tolist() for p in parts] == [[0, 4, 8], [1, 5, 9], [2, 6], [3, 7]]


def test_more_nodes_than_natural_ids_are_refused() -> None:
    with pytest.raises(DataError, match="10 nodes but only 3 natural ids, so node 'n3' would"):
        NaturalId().deal(LABELS, np.arange(1000) % 3, nodes=TEN, seed=0)


def test_what_a_partition_needs_is_asked_for() -> None:
    with pytest.raises(ConfigError, match="'natural_id' needs data with ids"):
        NaturalId().deal(LABELS, None, nodes=FOUR, seed=0)
    for partition in (Shard(), Dirichlet()):
        with pytest.raises(ConfigError, match="deals by class, but these labels are float32"):
            partition.deal(LABELS.astype(np.float32), None, nodes=FOUR, seed=0)
    with pytest.raises(ConfigError, match="alpha is 0"):
        Dirichlet(0.0).deal(LABELS, None, nodes=FOUR, seed=0)
    with pytest.raises(ConfigError, match="shards_per_node is 0"):
        Shard(0).deal(LABELS, None, nodes=FOUR, seed=0)


def test_partitions_are_made_by_name() -> None:
    assert make_partition("dirichlet", alpha=2.0, min_partition_size=3) == Dirichlet(2.0, 3)
    assert make_partition("shard", shards_per_node=5) == Shard(5)
    with pytest.raises(ConfigError, match="'iidd' is unknown; allowed are iid, halves, sorted"):
        make_partition("iidd")
