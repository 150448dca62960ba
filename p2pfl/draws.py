"""Chance as a pure function: the same question always has the same answer."""

import hashlib
import math
from typing import Final

_SCALE: Final = 2.0**-53


def draw_bits(seed: int, node: str, purpose: str, k: int) -> int:
    """64 uniform bits that depend on nothing but the four arguments."""
    key = f"{seed}/{node}/{purpose}/{k}".encode()
    return int.from_bytes(hashlib.blake2b(key, digest_size=8).digest(), "little")


def draw(seed: int, node: str, purpose: str, k: int) -> float:
    """A uniform number in [0, 1) that depends on nothing but the four arguments."""
    return (draw_bits(seed, node, purpose, k) >> 11) * _SCALE


def draw_normal(seed: int, node: str, purpose: str, k: int) -> float:
    """A standard normal number (Box and Muller, 1958) that depends on nothing but its arguments."""
    radius = math.sqrt(-2.0 * math.log(1.0 - draw(seed, node, purpose, 2 * k)))
    return radius * math.cos(2.0 * math.pi * draw(seed, node, purpose, 2 * k + 1))


def draw_sample(seed: int, node: str, purpose: str, k: int, *, among: int, size: int) -> list[int]:
    """`size` different positions below `among`, in ascending order, each set equally likely."""
    return sorted(draw_order(seed, node, purpose, k, among=among)[:size])


def draw_order(seed: int, node: str, purpose: str, k: int, *, among: int) -> list[int]:
    """All positions below `among`, each order equally likely."""
    keyed = sorted((draw_bits(seed, f"{node}/{k}", purpose, i), i) for i in range(among))
    return [i for _, i in keyed]
