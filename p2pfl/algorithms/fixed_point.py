"""Exact numbers for running sums: whole steps instead of floats, so that nothing is rounded away.

On the wire a number counts steps of 2^-20 modulo 2^32: as many bytes as a float32, and a sum that
may grow for ever. The difference of two such sums is exact while it lies within +-2,048. A node's
own numbers count steps of 2^-40 in 64 bits; weights are whole steps of 2^-20, so that a share of
a difference is a whole number again.

Source: sums that are told instead of parcels, C. N. Hadjicostis, N. H. Vaidya, A. D.
Dominguez-Garcia, "Robust distributed average consensus via exchange of running sums", 2016.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from p2pfl.types import Vector, frozen

Sums = NDArray[np.uint32]
"""Running sums `[d]`: wire steps of 2^-20, modulo 2^32."""

Mass = NDArray[np.int64]
"""A node's own numbers `[d]`: steps of 2^-40. (Wire steps, where it says so.)"""

BITS: Final = 20

_FINE: Final = 2.0 ** (2 * BITS)
_HALF: Final = 1 << (BITS - 1)
_LARGEST: Final = 2.0**22 * _FINE
"""Beyond it a mass saturates; 2^63 steps are 2^23."""


def mass_of(vector: Vector) -> Mass:
    """The nearest whole steps of 2^-40; numbers beyond +-2^22 count as that."""
    steps = np.multiply(vector, _FINE, dtype=np.float64)
    np.clip(steps, -_LARGEST, _LARGEST, out=steps)
    mass: Mass = np.rint(steps, out=steps).astype(np.int64)
    return mass


def vector_of(mass: Mass) -> Vector:
    """The same numbers as float32, rounded; a new read-only vector."""
    return frozen(np.divide(mass, _FINE).astype(np.float32))


def share_of(weight: float) -> int:
    """A weight as whole steps of 2^-20, rounded down: shares never exceed the whole."""
    return int(weight * (1 << BITS))


def in_wire_steps(mass: Mass) -> Mass:
    """The nearest whole wire steps, not yet modulo anything."""
    return (mass + _HALF) >> BITS


def no_sums(dimension: int) -> Sums:
    """Where every running sum begins."""
    return frozen(np.zeros(dimension, dtype=np.uint32))


def added(sums: Sums, steps: Mass) -> Sums:
    """The sums after so many wire steps more, modulo 2^32; a new read-only array."""
    return frozen(sums + steps.astype(np.uint32))


def difference(later: Sums, earlier: Sums) -> Mass:
    """later - earlier in wire steps, signed: exact while it lies within +-2^31."""
    steps: Mass = (later - earlier).view(np.int32).astype(np.int64)
    return steps


def share(mass: Mass, weight: int) -> Mass:
    """This share of a mass (`share_of`) in wire steps, rounded down: some of it always stays."""
    steps: Mass = ((mass >> BITS) * weight) >> BITS
    return steps


def in_own_steps(steps: Mass) -> Mass:
    """Wire steps in steps of 2^-40."""
    mass: Mass = steps << BITS
    return mass
