"""What a file may say of the world: how fast machines and links are, and what goes wrong when.

Names of nodes are those of the topology; `server` is FedAvg's. Times are seconds of the run.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

# ---------------------------------------------------------------- machines


@dataclass(frozen=True, slots=True, kw_only=True)
class AvailabilityConfig:
    """Devices that sleep: exponential times awake and asleep, for each node its own.

    Asleep, a device neither computes nor sends nor receives, and its neighbours see silence.
    """

    on_s: float
    """Mean seconds awake; every device starts awake."""
    off_s: float
    """Mean seconds asleep."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ComputeConfig:
    """How long a gradient step takes: the virtual law, and the pace of real runs."""

    step_s: float | None = None
    """Seconds per gradient step. Simulator: 0.01 if unset. Real runs: sleep the rest."""
    distribution: Literal["constant", "lognormal", "pareto"] = "constant"
    """Of an update's time around its mean: lognormal jitter, or Pareto stragglers."""
    sigma: float = 0.0
    """Lognormal: of the logarithm, drawn per update, with mean 1."""
    alpha: float = 2.5
    """Pareto: shape of the tail, drawn per update, with mean 1; small is heavy."""
    node_sigma: float = 0.0
    """Lognormal spread of the nodes' persistent speeds, with mean 1."""
    slowdown: Mapping[str, float] = field(default_factory=dict)
    """Node id -> factor on its step time."""
    availability: AvailabilityConfig | None = None
    """Simulator: devices that sleep now and then."""
    trace: str = ""
    """Simulator: a CSV file of measured devices, with the columns time_s,node,up,speed."""


# ---------------------------------------------------------------- links


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkConfig:
    """One link that differs from the others, in both directions."""

    between: tuple[str, str]
    latency_s: float | None = None
    loss: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkPartitionConfig:
    """A time in which groups of nodes cannot hear each other; nodes of no group are one more."""

    from_s: float
    groups: tuple[tuple[str, ...], ...]
    until_s: float | None = None
    """None: it never heals."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkConfig:
    """The virtual network: a broker star. Real runs have a real one."""

    latency_s: float = 0.001
    """Mean seconds from end to end, without what bandwidth adds."""
    latency: Literal["constant", "exponential", "lognormal"] = "constant"
    latency_sigma: float = 0.5
    """Lognormal: of the logarithm, drawn per delivery, with mean `latency_s`."""
    loss: float = 0.0
    """Probability that one delivery of one message is lost."""
    duplication: float = 0.0
    """Probability that one delivery comes a second time."""
    reorder: float = 0.0
    """Probability that one delivery is held back, so that later ones overtake it."""
    reorder_s: float = 1.0
    """Mean seconds (exponential) that such a delivery is held back."""
    uplink_bytes_per_s: float | None = None
    """Each node's link to the broker; None: unlimited. What waits there is replaced by newer."""
    downlink_bytes_per_s: float | None = None
    """Each node's link from the broker; None: unlimited."""
    node_uplink_bytes_per_s: Mapping[str, float] = field(default_factory=dict)
    """Node id -> its own uplink."""
    node_downlink_bytes_per_s: Mapping[str, float] = field(default_factory=dict)
    """Node id -> its own downlink."""
    links: tuple[LinkConfig, ...] = ()
    partitions: tuple[NetworkPartitionConfig, ...] = ()
    codec: Literal["float32", "float16", "bfloat16"] = "float32"
    """How numbers travel, in real runs too."""


# ---------------------------------------------------------------- life and death


@dataclass(frozen=True, slots=True, kw_only=True)
class CrashConfig:
    """One node dies at `at_s` and, if told, starts again at `restart_s`; real runs kill it too."""

    node: str
    at_s: float
    restart_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaveConfig:
    """One node says goodbye at `at_s` and, if told, comes back at `return_s`."""

    node: str
    at_s: float
    return_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinConfig:
    """One node of the topology is absent until `at_s`; then it starts from its neighbours' mean."""

    node: str
    at_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ChurnConfig:
    """Every node comes and goes: exponential lives and absences, for each node its own."""

    life_s: float
    """Mean seconds of a life; every node starts alive."""
    absence_s: float
    """Mean seconds until the next."""
    graceful: float = 0.0
    """The fraction of lives that end with a goodbye instead of a crash."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultsConfig:
    """What goes wrong, and when. Real runs perform the crashes; the rest is the simulator's."""

    crash: tuple[CrashConfig, ...] = ()
    leave: tuple[LeaveConfig, ...] = ()
    join: tuple[JoinConfig, ...] = ()
    churn: ChurnConfig | None = None
    repair_degree: int | None = None
    """Who is gone is replaced as a neighbour: links are added until all who are there are connected
    and have so many neighbours each. None: the graph stays."""
