"""Local SGD with gossip, and post-local SGD: mix after every step at first, later after H.

Until step T1 (`switch_step`) every update is one gradient step, then H of them (the training
section's `local_steps`). Seldom mixing costs little once models lie close together; in the first
steps it costs most. With `switch_step` 0 it is local SGD from the start, D-PSGD with H local steps.

Sources: Stich, "Local SGD converges fast and communicates little", 2019; Lin, Stich, Patel, Jaggi,
"Don't use large mini-batches, use local SGD", 2020 (post-local).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from p2pfl.algorithms.base import Advance, Local
from p2pfl.algorithms.dpsgd import DPSGD, RoundState
from p2pfl.messages import Neighbour


@dataclass(frozen=True, slots=True)
class LocalSGD(DPSGD):
    """D-PSGD whose first updates are one step each."""

    switch_step: int = 0
    """T1: the gradient step from which on updates have H steps."""

    def advance(
        self, state: RoundState, local: Local, neighbours: Sequence[Neighbour]
    ) -> Advance[RoundState]:
        """Train from W x(k), for one step or H.

        Until the switch a version is a step; so nodes with unequal H, and one that comes back,
        switch at the same version.
        """
        step = DPSGD.advance(self, state, local, neighbours)
        if local.version >= self.switch_step:
            return step
        assert step.train is not None
        return step._replace(train=step.train._replace(steps=1))
