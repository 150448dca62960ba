"""Laws of every partition, whatever the data."""

import numpy as np
import pytest
from hypothesis import given, reject
from hypothesis import strategies as st

from p2pfl.errors import DataError
from p2pfl.learning.partitions import make_partition
from p2pfl.learning.permutations import Indices
from p2pfl.types import NodeId

KINDS = ("iid", "dirichlet", "shard", "linear", "natural_id", "halves")


def deal(kind: str, *, size: int, count: int, classes: int, seed: int) -> list[Indices]:
    rng = np.random.default_rng(size)
    labels, ids = rng.integers(0, classes, size), rng.integers(0, 12, size)
    nodes = [NodeId(f"n{i}") for i in range(count)]
    try:
        return make_partition(kind, alpha=1.0).deal(labels, ids, nodes=nodes, seed=seed)
    except DataError:
        reject()


SIZES = {
    "size": st.integers(1, 400),
    "count": st.integers(1, 12),
    "classes": st.integers(1, 10),
    "seed": st.integers(0, 2**63),
}


@pytest.mark.parametrize("kind", KINDS)
@given(**SIZES)
def test_each_sample_goes_to_exactly_one_node_and_no_node_is_empty(
    kind: str, size: int, count: int, classes: int, seed: int
) -> None:
    parts = deal(kind, size=size, count=count, classes=classes, seed=seed)
    assert len(parts) == count
    assert all(len(part) > 0 for part in parts)
    assert np.array_equal(np.sort(np.concatenate(parts)), np.arange(size))


@pytest.mark.parametrize("kind", KINDS)
@given(seed=SIZES["seed"])
def test_the_same_seed_deals_the_same(kind: str, seed: int) -> None:
    first, second = (deal(kind, size=300, count=5, classes=4, seed=seed) for _ in range(2))
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("kind", KINDS)
def test_another_seed_deals_otherwise_and_parts_are_shuffled(kind: str) -> None:
    first, second = (deal(kind, size=400, count=5, classes=4, seed=seed) for seed in (0, 1))
    assert not np.array_equal(np.concatenate(first), np.concatenate(second))
    # In a random order half of all neighbours rise; in a sorted one all do.
    rises = np.mean(np.concatenate([np.diff(part) > 0 for part in first]))
    assert 0.4 < rises < 0.6
