"""Chance as a pure function: the same question always has the same answer."""

from hashlib import blake2b, shake_128
from math import cos, log, pi, sin, sqrt
from struct import unpack
from typing import Final

_SCALE: Final = 2.0**-53
_TURN: Final = 2.0 * pi


def draw_bits(seed: int, node: str, purpose: str, k: int) -> int:
    """64 uniform bits that depend on nothing but the four arguments."""
    return _bits(f"{seed}/{node}/{purpose}/{k}")


def draw(seed: int, node: str, purpose: str, k: int) -> float:
    """A uniform number in [0, 1) that depends on nothing but the four arguments."""
    return (_bits(f"{seed}/{node}/{purpose}/{k}") >> 11) * _SCALE


def draw_normal(seed: int, node: str, purpose: str, k: int) -> float:
    """A standard normal number (Box and Muller, 1958) that depends on nothing but its arguments."""
    head = f"{seed}/{node}/{purpose}/"
    first = (_bits(f"{head}{2 * k}") >> 11) * _SCALE
    second = (_bits(f"{head}{2 * k + 1}") >> 11) * _SCALE
    return sqrt(-2.0 * log(1.0 - first)) * cos(_TURN * second)


def _bits(key: str) -> int:
    return int.from_bytes(blake2b(key.encode(), digest_size=8).digest(), "little")


def draw_block(seed: int, node: str, purpose: str, block: int, *, size: int) -> list[float]:
    """So many uniform numbers in [0, 1) at once, at a fifth of the cost of one by one.

    The stream of a purpose is cut into blocks of one size; each depends on its number alone.
    """
    key = f"{seed}/{node}/{purpose}/block {block}".encode()
    bits = unpack(f"<{size}Q", shake_128(key).digest(8 * size))
    return [(one >> 11) * _SCALE for one in bits]


def draw_normal_block(seed: int, node: str, purpose: str, block: int, *, size: int) -> list[float]:
    """The same for standard normal numbers (Box and Muller, 1958); `size` is even."""
    uniform = draw_block(seed, node, purpose, block, size=size)
    normal: list[float] = []
    for first, second in zip(uniform[::2], uniform[1::2], strict=True):
        radius, angle = sqrt(-2.0 * log(1.0 - first)), _TURN * second
        normal += (radius * cos(angle), radius * sin(angle))
    return normal


def draw_sample(seed: int, node: str, purpose: str, k: int, *, among: int, size: int) -> list[int]:
    """`size` different positions below `among`, in ascending order, each set equally likely."""
    return sorted(draw_order(seed, node, purpose, k, among=among)[:size])


def draw_order(seed: int, node: str, purpose: str, k: int, *, among: int) -> list[int]:
    """All positions below `among`, each order equally likely."""
    keyed = sorted((draw_bits(seed, f"{node}/{k}", purpose, i), i) for i in range(among))
    return [i for _, i in keyed]
