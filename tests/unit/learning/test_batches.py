import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from p2pfl.learning.batches import BatchStream
from p2pfl.learning.permutations import permutation, permutations


def stream(size: int, batch_size: int, *, seed: int = 1, offset: int = 0) -> BatchStream:
    return BatchStream(seed=seed, node="n0", size=size, batch_size=batch_size, offset=offset)


@given(
    size=st.integers(1, 700),
    batch_size=st.integers(1, 40),
    steps=st.lists(st.integers(0, 200), min_size=1, max_size=20),
)
def test_a_batch_does_not_depend_on_what_was_asked_before(
    size: int, batch_size: int, steps: list[int]
) -> None:
    shared = stream(size, batch_size)
    for step in steps:
        batch = shared.batch(step)
        assert len(batch) == batch_size
        assert np.array_equal(batch, stream(size, batch_size).batch(step))


@given(size=st.integers(1, 300), batch_size=st.integers(1, 40))
def test_each_epoch_takes_every_sample_once(size: int, batch_size: int) -> None:
    epochs = 5
    count = -(-epochs * size // batch_size)
    taken = np.concatenate([stream(size, batch_size).batch(t) for t in range(count)])
    for epoch in range(epochs):
        assert sorted(taken[epoch * size : (epoch + 1) * size]) == list(range(size))


def test_many_steps_at_once_are_the_steps_one_by_one() -> None:
    single = [stream(30, 7).batch(t) for t in range(11, 60)]
    assert np.array_equal(stream(30, 7).batches(11, 49), np.concatenate(single))


def test_a_shard_smaller_than_the_batch_comes_round_again() -> None:
    batch = stream(3, 10).batch(0)
    assert np.bincount(batch).tolist() in ([3, 3, 4], [3, 4, 3], [4, 3, 3])


def test_the_offset_moves_every_position() -> None:
    assert np.array_equal(stream(30, 7, offset=100).batch(9), stream(30, 7).batch(9) + 100)


def test_seeds_nodes_and_epochs_have_orders_of_their_own() -> None:
    orders = [
        permutation(0, "a", "batch", 0, size=50),
        permutation(1, "a", "batch", 0, size=50),
        permutation(0, "b", "batch", 0, size=50),
        permutation(0, "a", "batch", 1, size=50),
        permutation(0, "a", "partition", 0, size=50),
    ]
    assert len({tuple(order) for order in orders}) == len(orders)


def test_every_place_is_equally_likely() -> None:
    orders = permutations(0, "a", "batch", 0, count=6000, size=6)
    for place in range(6):
        counts = np.bincount(orders[:, place], minlength=6)
        # Each of 6000 places holds each number with probability 1/6: deviation 29.
        assert np.abs(counts - 1000).max() < 150


def test_orders_stay_the_same_for_ever() -> None:
    """Machines of different versions draw the same batches: these numbers never change."""
    assert permutation(0, "n0", "batch", 0, size=8).tolist() == [1, 3, 7, 6, 4, 5, 0, 2]
