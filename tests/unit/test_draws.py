"""Chance as a pure function."""

import math
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from p2pfl.draws import (
    draw,
    draw_bits,
    draw_block,
    draw_normal,
    draw_normal_block,
    draw_sample,
)


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


def test_blocks_are_uniform_and_normal_and_depend_on_every_argument() -> None:
    uniform = [u for block in range(250) for u in draw_block(0, "n0", "test", block, size=16)]
    assert all(0.0 <= u < 1.0 for u in uniform)
    assert abs(sum(uniform) / 4000 - 0.5) < 0.02
    normal = [z for b in range(250) for z in draw_normal_block(0, "n0", "test", b, size=16)]
    assert abs(sum(normal) / 4000) < 0.06
    assert abs(sum(z * z for z in normal) / 4000 - 1.0) < 0.1
    assert abs(sum(a * b for a, b in pairwise(normal)) / 4000) < 0.05
    asked = [(1, "n0", "a", 5), (2, "n0", "a", 5), (1, "n1", "a", 5), (1, "n0", "b", 5)]
    assert len({draw_block(*one, size=1)[0] for one in [*asked, (1, "n0", "a", 6)]}) == 5
    assert len(set(uniform)) == len(uniform)


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
