"""How models combine: the algorithm with its parameters, and how old a model may be."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class AlgorithmConfig:
    """The rule by which models combine; `kind` may also be the user's own class, `module:Class`."""

    kind: str = "pull_mix"
    """A name of `p2pfl.algorithms.suite`, or `module:Class` (made without arguments).

    What is not set below has the default of the algorithm's own class, which says what it means.
    """
    when: Literal["start", "end", "both"] | None = None
    """PullMix: mix before training, after it, or both."""
    participation: float | None = None
    """FedAvg and its kin: the fraction of clients in each round, C."""
    switch_step: int | None = None
    """Local SGD: mix after every step until this one, then after `training.local_steps`."""
    beta: float | None = None
    """DSGDm and QG-DSGDm: how much of the momentum stays from one update to the next."""
    fanout: int | None = None
    """Epidemic learning: s, receivers of each update."""
    selection: Literal["random", "loss"] | None = None
    """FedAvg and its kin: who takes part in a round; loss: of `candidates` drawn clients those with
    the highest last training loss (power of choice)."""
    candidates: int | None = None
    """With selection = "loss": d, how many clients are drawn."""
    normalise: bool | None = None
    """FedAvg: an update counts per local step (FedNova)."""
    proximal: float | None = None
    """FedProx, FedAsync, FedBuff: mu of mu/2 ||x - global model||^2 (the last two: 0)."""
    server_learning_rate: float | None = None
    """FedAvgM, FedAdam, SCAFFOLD, FedBuff: eta, by which the clients' mean update counts."""
    server_momentum: float | None = None
    """FedAvgM: beta."""
    server_betas: tuple[float, ...] | None = None
    """FedAdam: decay of the first and of the second moment."""
    adaptivity: float | None = None
    """FedAdam: tau."""
    alpha: float | None = None
    """FedAsync: the weight of a client's model that is not stale."""
    buffer_size: int | None = None
    """FedBuff: K, the updates of which the server makes one step."""
    discount: Literal["constant", "polynomial", "hinge", "exponential"] | None = None
    """FedAsync, FedBuff: how much less an update counts the more versions it is behind."""
    discount_a: float | None = None
    discount_b: float | None = None
    """As in `[staleness]`."""
    window: int | None = None
    """RobustPushSum: pushes to one hearer that may be unacknowledged; 0: any number."""
    step: Literal["x", "elapsed", "y"] | None = None
    """RobustPushSum, AD-PSGD, consume-once: how far a node steps; see its class."""
    reference_s: float | None = None
    """Step "elapsed": seconds of an update that counts once; slower ones count more."""
    step_max: float | None = None
    """Step "elapsed": the most that an update may count."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StalenessConfig:
    """How old a neighbour's model may be when it is mixed.

    The default leaves out, hard, a neighbour whose model's age exceeds
    max(bound x its own publish period, liveness_floor_s).
    """

    policy: Literal["none", "wait", "drop", "discount"] = "drop"
    bound: float = 3.0
    metric: Literal["missed", "age", "reads", "lag"] = "missed"
    liveness_floor_s: float = 5.0
    suspect_grace_s: float = 2.0
    """A peer whose connection broke is given as long to come back before it counts as dead."""
    discount: Literal["polynomial", "hinge", "exponential"] = "polynomial"
    """Discount: the factor's form, of the staleness t in the unit of `metric`."""
    discount_a: float = 0.5
    """Discount: exponent of (1 + t)^-a, or slope of the hinge 1 / (a (t - b) + 1)."""
    discount_b: float = 4.0
    """Discount: where the hinge begins, or the scale of e^(-t / b)."""
    reciprocal: bool = True
    """Discount: both ends of a link use the smaller of their factors. False forgets slow nodes'
    data: for studies of just that."""
