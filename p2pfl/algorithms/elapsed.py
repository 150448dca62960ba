"""Steps by the time that an update took: what gives slow nodes their share where mass is conserved.

A node that updates r times a second and steps 1 / r each time has stepped as far as any other after
the same time.

Source: Spiridonoff, Olshevsky, Paschalidis, "Robust asynchronous stochastic gradient-push:
asymptotically optimal and network-independent performance for strongly convex functions", 2020.
"""

from typing import Final

from p2pfl.algorithms.base import Local, Surroundings

STEP_MAX: Final = 10.0
"""What the longest pause may count: a device that slept an hour must not jump."""


def elapsed_steps(elapsed_s: float, reference_s: float, *, most: float) -> float:
    """How many updates of `reference_s` this one counts for, at most `most`; 1 where none lasts."""
    if reference_s <= 0.0:
        return 1.0
    return min(elapsed_s / reference_s, most)


def update_counts(
    local: Local,
    since_s: float | None,
    reference_s: float | None,
    place: Surroundings,
    *,
    most: float,
) -> float:
    """How much the update that ends now counts, after one that ended at `since_s`.

    `reference_s` None: what the experiment file makes of a plain node's update.
    """
    assert since_s is not None
    reference_s = place.update_s if reference_s is None else reference_s
    return elapsed_steps(local.now_s - since_s, reference_s, most=most)
