import math

import numpy as np
import pytest

from p2pfl.errors import ConfigError
from p2pfl.topology.spatial_graphs import distances, geometric, latency_aware, random_points


def test_nodes_are_joined_where_they_are_near_and_nowhere_else() -> None:
    graph, points = geometric(60, radius=0.25, seed=1)
    apart = distances(points)
    near = {(i, j) for i in range(60) for j in range(i + 1, 60) if apart[i, j] <= 0.25}
    assert set(graph.edges) == near
    assert graph.is_connected


def test_distances_are_those_of_the_plane() -> None:
    apart = distances(((0.0, 0.0), (3.0, 4.0), (0.0, 1.0)))
    diagonal = math.sqrt(18.0)
    expected = np.array([[0.0, 5.0, 1.0], [5.0, 0.0, diagonal], [1.0, diagonal, 0.0]])
    np.testing.assert_allclose(apart, expected)


def test_points_depend_on_the_seed_alone_and_fill_the_square() -> None:
    points = random_points(1_000, seed=0)
    assert points == random_points(1_000, seed=0) != random_points(1_000, seed=1)
    assert np.allclose(np.mean(points, axis=0), 0.5, atol=0.05)
    assert 0.0 <= np.min(points) < 0.01
    assert 0.99 < np.max(points) < 1.0


def test_a_radius_too_small_is_refused_with_one_that_is_enough() -> None:
    with pytest.raises(ConfigError, match=r"radius than 0.05; about 0.27 is often enough for 30"):
        geometric(30, radius=0.05, seed=0)
    with pytest.raises(ConfigError, match="radius = 0; allowed: above 0"):
        geometric(30, radius=0, seed=0)


def test_everybody_hears_its_nearest() -> None:
    latency_s = distances(random_points(40, seed=0))
    graph = latency_aware(latency_s, near=3, far=2, seed=0)
    for i, heard in enumerate(graph.adjacency):
        nearest = set(np.argsort(latency_s[i])[1:4].tolist())
        assert nearest <= set(heard)
        assert len(heard) >= 5


def test_far_links_shorten_the_ways_and_near_ones_the_links() -> None:
    latency_s = distances(random_points(100, seed=0))
    near = latency_aware(latency_s, near=6, far=0, seed=0)
    mixed = latency_aware(latency_s, near=4, far=2, seed=0)
    assert max(mixed.distances(0)) < max(near.distances(0))
    lengths = [float(np.mean([latency_s[a, b] for a, b in g.edges])) for g in (near, mixed)]
    assert lengths[0] < lengths[1] < latency_s.mean()


def test_the_seed_decides_the_far_links_alone() -> None:
    latency_s = distances(random_points(30, seed=0))
    one, other = (set(latency_aware(latency_s, near=2, far=1, seed=s).edges) for s in (0, 1))
    assert one != other
    nearest = {(i, int(j)) for i in range(30) for j in np.argsort(latency_s[i])[1:3]}
    assert {(min(pair), max(pair)) for pair in nearest} <= one & other


def test_equal_latencies_are_ranked_by_number() -> None:
    graph = latency_aware(np.ones((4, 4)), near=1, far=0, seed=0)
    assert graph.edges == ((0, 1), (0, 2), (0, 3))


@pytest.mark.parametrize(("near", "far"), [(0, 0), (2, 2), (-1, 2), (4, 0)])
def test_links_out_of_range_are_refused(near: int, far: int) -> None:
    with pytest.raises(ConfigError, match=rf"near = {near} and far = {far}; .* needs 1 to 3"):
        latency_aware(np.ones((4, 4)), near=near, far=far, seed=0)


def test_islands_without_far_links_are_refused() -> None:
    latency_s = distances(((0.0, 0.0), (0.0, 0.1), (9.0, 9.0), (9.0, 9.1)))
    with pytest.raises(ConfigError, match="some nodes unconnected; take more far links"):
        latency_aware(latency_s, near=1, far=0, seed=0)
    assert latency_aware(latency_s, near=1, far=1, seed=0).is_connected
