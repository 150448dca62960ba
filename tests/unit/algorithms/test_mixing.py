"""The one arithmetic of mixing."""

import numpy as np
import pytest

from p2pfl.algorithms.mixing import BLOCK, mix, pull, pull_after, weighted_mean
from p2pfl.messages import Neighbour
from p2pfl.types import NodeId, Vector


def neighbour(vector: Vector | None, weight: float, trust: float = 1.0) -> Neighbour:
    return Neighbour(
        NodeId("n1"),
        weight,
        trust,
        live=True,
        finished=False,
        version=0,
        header=None,
        vector=vector,
    )


def random(size: int, seed: int) -> Vector:
    return np.random.default_rng(seed).standard_normal(size).astype(np.float32)


@pytest.mark.parametrize("size", [1, 10, BLOCK, BLOCK + 1, 3 * BLOCK + 7])
def test_a_mix_is_the_weighted_sum_in_blocks_of_any_size(size: int) -> None:
    x, a, b = (random(size, seed) for seed in range(3))
    got = mix(x, [neighbour(a, 0.25), neighbour(b, 0.5)])
    want = 0.25 * x.astype(np.float64) + 0.25 * a + 0.5 * b
    np.testing.assert_allclose(got, want, atol=1e-6)


def test_equal_models_mix_to_exactly_themselves() -> None:
    x = random(1000, 0)
    assert np.array_equal(mix(x, [neighbour(x.copy(), 0.3), neighbour(x.copy(), 0.3)]), x)


def test_the_weight_of_a_left_out_neighbour_goes_back_to_self() -> None:
    x, a = random(50, 0), random(50, 1)
    with_one = mix(x, [neighbour(a, 0.25), neighbour(None, 0.5, trust=0.0)])
    assert np.array_equal(with_one, mix(x, [neighbour(a, 0.25)]))
    assert np.array_equal(mix(x, []), x)


def test_a_mix_shares_nothing_and_is_read_only() -> None:
    x = random(10, 0)
    mixed = mix(x, [])
    assert not np.shares_memory(mixed, x)
    assert not mixed.flags.writeable


def test_the_pull_on_a_moved_model_needs_no_second_look() -> None:
    x, moved, a, b = (random(50, seed) for seed in range(4))
    neighbours = [neighbour(a, 0.25), neighbour(b, 0.5), neighbour(None, 0.1, trust=0.0)]
    wanted = pull(x + moved, neighbours)
    ahead = pull_after(pull(x, neighbours), moved, neighbours)
    np.testing.assert_allclose(ahead, wanted, atol=1e-6)


def test_a_weighted_mean_weighs_by_share() -> None:
    a, b = np.zeros(3, dtype=np.float32), np.ones(3, dtype=np.float32)
    np.testing.assert_allclose(weighted_mean([a, b], [1.0, 3.0]), 0.75)
