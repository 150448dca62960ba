"""Chance as a pure function."""

import math

from hypothesis import given
from hypothesis import strategies as st

from p2pfl.draws import draw, draw_bits, draw_normal, draw_sample


def test_a_draw_depends_on_every_argument_and_on_nothing_else() -> None:
    base = draw(1, "n0", "loss", 5)
    assert base == draw(1, "n0", "loss", 5)
    others = {draw(2, "n0", "loss", 5), draw(1, "n1", "loss", 5), draw(1, "n0", "batch", 5)}
    assert base not in others | {draw(1, "n0", "loss", 6)}


def test_draws_are_uniform_and_normal() -> None:
    uniform = [draw(0, "n0", "test", k) for k in range(4000)]
    assert all(0.0 <= u < 1.0 for u in uniform)
    assert abs(sum(uniform) / 4000 - 0.5) < 0.02
    normal = [draw_normal(0, "n0", "test", k) for k in range(4000)]
    assert abs(sum(normal) / 4000) < 0.06
    assert abs(math.sqrt(sum(z * z for z in normal) / 4000) - 1.0) < 0.05


def test_bits_fill_64_places() -> None:
    seen = 0
    for k in range(200):
        seen |= draw_bits(3, "n0", "test", k)
    assert seen == 2**64 - 1


@given(seed=st.integers(0, 2**32), k=st.integers(0, 100), among=st.integers(1, 40))
def test_a_sample_holds_different_positions_in_order(seed: int, k: int, among: int) -> None:
    size = 1 + seed % among
    chosen = draw_sample(seed, "server", "cohort", k, among=among, size=size)
    assert len(set(chosen)) == size
    assert chosen == sorted(chosen)
    assert all(0 <= c < among for c in chosen)
