"""One experiment as typed, frozen data: what a file may say, with every default and its reason.

Code below `experiment` sees only these classes, never a dict. `kind` picks among variants.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from p2pfl.config.combining import AlgorithmConfig, StalenessConfig
from p2pfl.config.world import (
    AvailabilityConfig,
    ChurnConfig,
    ComputeConfig,
    CrashConfig,
    FaultsConfig,
    JoinConfig,
    LeaveConfig,
    LinkConfig,
    NetworkConfig,
    NetworkPartitionConfig,
)

__all__ = [
    "AlgorithmConfig",
    "AvailabilityConfig",
    "BrokerConfig",
    "CheckpointConfig",
    "ChurnConfig",
    "ComparisonConfig",
    "ComputeConfig",
    "CrashConfig",
    "DataConfig",
    "EvaluationConfig",
    "ExperimentConfig",
    "FaultsConfig",
    "HealthConfig",
    "JoinConfig",
    "LeaveConfig",
    "LinkConfig",
    "ModelConfig",
    "NetworkConfig",
    "NetworkPartitionConfig",
    "PartitionConfig",
    "RuntimeConfig",
    "SimulationConfig",
    "StalenessConfig",
    "StopConfig",
    "TopologyConfig",
    "TrainingConfig",
]

# ---------------------------------------------------------------- who talks to whom


@dataclass(frozen=True, slots=True, kw_only=True)
class TopologyConfig:
    """A graph, by the name of its family and that family's own numbers, or from a file."""

    kind: Literal[
        "ring",
        "path",
        "star",
        "complete",
        "torus",
        "hypercube",
        "circulant",
        "exponential",
        "random_regular",
        "small_world",
        "erdos_renyi",
        "barabasi_albert",
        "geometric",
        "latency_aware",
        "d_cliques",
        "equi_static",
        "one_peer_exponential",
        "one_peer_hypercube",
        "hyper_hypercube",
        "simple_base",
        "base",
        "equi_dyn",
        "el_oracle",
        "el_local",
        "matcha",
        "edges",
        "file",
    ]
    nodes: int | None = None
    rows: int | None = None
    """Torus: rows; `columns` defaults to the same."""
    columns: int | None = None
    offsets: tuple[int, ...] = ()
    """Circulant: node i is joined to i + each offset."""
    degree: int | None = None
    """Random regular and small world: neighbours per node. Base graphs: at most so many per round.
    EquiStatic: shifts, M. Epidemic (el_oracle, el_local): to how many each sends per round, s."""
    rewire: float = 0.1
    """Small world: probability that an edge is rewired (Watts and Strogatz, 1998)."""
    probability: float | None = None
    """Erdos-Renyi: of each edge."""
    links_per_node: int | None = None
    """Barabasi-Albert: with which each new node comes."""
    radius: float | None = None
    """Geometric: of the links between random points of the unit square."""
    near: int = 3
    """Latency-aware: links of each node to the nearest, by `[[network.links]]` or random places."""
    far: int = 2
    """Latency-aware: links of each node to random others."""
    clique_size: int = 10
    """D-Cliques: nodes that together see the labels in the proportions of all."""
    between_cliques: Literal["ring", "small_world", "complete"] = "ring"
    """D-Cliques: which cliques are linked."""
    rounds: int = 100
    """EquiDyn, epidemic and MATCHA: random rounds that are drawn before the first comes again."""
    budget: float = 0.5
    """MATCHA: the share of all links that is used in a round, on average."""
    edges: tuple[tuple[str, str], ...] = ()
    directed: bool = False
    """Exponential, EquiStatic, EquiDyn and edges: one-way links."""
    path: str = ""
    """File and MATCHA: a .toml topology, an edge list, GraphML, GML or node-link JSON."""
    seed: int = 0
    weights: Literal[
        "metropolis",
        "lazy",
        "max_degree",
        "uniform",
        "best_constant",
        "fdla",
        "fmmc",
        "target",
    ] = "metropolis"
    """The mixing matrix; equi_static and schedules bring their own."""
    target: Mapping[str, float] = field(default_factory=dict)
    """Weights "target": node -> how much its objective counts; who is not named counts 1."""


# ---------------------------------------------------------------- what is learned


@dataclass(frozen=True, slots=True, kw_only=True)
class DataConfig:
    """Where samples come from; `kind` may also be the user's own function, `module:function`."""

    kind: str
    """digits, mnist, fashion-mnist, heart-disease, shakespeare, npz, quadratic, `module:function`,
    or client: the model's function makes clients (Flower's) that have their own."""
    folder: str = ""
    """Where the files lie; empty: the folders that the data set itself looks in."""
    samples: int | None = None
    """Use only the first so many training samples (after shuffling with the seed)."""
    min_sequences: int = 10
    """Shakespeare: speakers with fewer sequences to train on are left out."""
    dimension: int = 10
    """Quadratic: d."""
    condition: float = 4.0
    """Quadratic: the largest over the smallest curvature."""
    spread: float = 1.0
    """Quadratic: standard deviation of the nodes' optima."""
    noise: float = 0.0
    """Quadratic: standard deviation of the gradient noise per coordinate."""
    sites: tuple[float, ...] = ()
    """Quadratic: mean of each node's optimum, repeated over the nodes; empty: zero."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionConfig:
    """How the samples are dealt to nodes; names and parameters as flwr-datasets has them."""

    kind: Literal["iid", "dirichlet", "shard", "linear", "natural_id", "halves", "sorted"] = "iid"
    alpha: float = 0.5
    """Dirichlet: concentration; small is uneven."""
    min_partition_size: int = 1
    """Dirichlet: deal again until every node holds as many."""
    shards_per_node: int = 2
    """Shard: label-sorted shards per node (McMahan et al., 2017: 2)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelConfig:
    """The model; `kind` may also be the user's own function, `module:function`."""

    kind: str
    """softmax, mlp, cnn and lstm (McMahan et al., 2017), quadratic or `module:function`."""
    hidden: tuple[int, ...] = (32,)
    """MLP and LSTM: widths of the hidden layers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingConfig:
    """Local training between two mixes: H steps, or whole epochs.

    Every count of steps here is of a node's own gradient steps.
    """

    learning_rate: float
    schedule: Literal["constant", "step", "cosine", "linear"] = "constant"
    """How the learning rate goes on, step by step; see `p2pfl.learning_rate`."""
    warmup_steps: int = 0
    """The learning rate grows to its size over so many first steps."""
    decay_at: tuple[int, ...] = ()
    """Step: at each of these gradient steps the learning rate is multiplied by `decay`."""
    decay: float = 0.1
    schedule_steps: int | None = None
    """Cosine and linear: where `learning_rate_min` is reached; None: at `stop.steps`."""
    learning_rate_min: float = 0.0
    """Cosine and linear: where the learning rate ends."""
    batch_size: int = 16
    local_steps: int | None = None
    """H, gradient steps per update; exactly one of this and `local_epochs`."""
    local_epochs: int | None = None
    local_steps_of: Mapping[str, int] = field(default_factory=dict)
    """Node id -> its own H, instead (FedNova's setting: Wang et al., 2020)."""
    local_work: Literal["equal", "by_speed"] = "equal"
    """by_speed: who is k times slower (`[compute]` slowdown and node_sigma) does H / k steps, at
    least 1, so that all updates take about equally long."""
    clip_norm: float | None = None
    """The norm that the gradient of a minibatch's loss may have, before an algorithm adds to it."""
    weighting: Literal["uniform", "samples"] | None = None
    """How much each node's objective counts; None: as the algorithm was published (servers by
    samples, gossip uniform)."""
    weights: Mapping[str, float] = field(default_factory=dict)
    """Node id -> how many times as much as a plain node's its objective counts."""
    optimizer: Literal["sgd", "adamw"] = "sgd"
    momentum: float = 0.0
    """SGD: the heavy ball's."""
    betas: tuple[float, ...] = (0.9, 0.999)
    """AdamW: decay of the first and of the second moment."""
    eps: float = 1e-8
    """AdamW: what keeps the step finite where the gradient is zero."""
    weight_decay: float = 0.0


# ---------------------------------------------------------------- the run


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulationConfig:
    """How the simulator computes; real runs train one node per process, with the loop."""

    trainer: Literal["auto", "loop", "batched"] = "auto"
    """auto: batched. The loop is bit for bit what real nodes compute, the batched trainer the
    same up to rounding and an order of magnitude faster."""
    device: str = "cpu"
    """Where the batched trainer works: cpu, cuda, cuda:1, or auto (CUDA, else the CPU)."""
    rounds: Literal["auto", "events"] = "auto"
    """auto: a synchronous run in which nothing is left to chance is computed round by round, for
    all nodes at once, with the same result; events: always event by event."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeConfig:
    """How each machine of a real run computes; machines may differ."""

    device: str = "cpu"
    """Where a node trains: cpu, cuda, cuda:1, or auto (CUDA where it is, else the CPU). Bits
    are those of the simulator's loop on the CPU only: what is to be replayed runs there."""
    threads: int | Literal["auto"] = 1
    """Threads of each node; auto: the cores divided by the node processes of this machine. One is
    fastest for small models, and what gives the same bits everywhere; a record is made with one."""
    niceness: int = 5
    """By so much the threads that train and mix give way to the event loop, and to other programs
    of the machine, on Linux (nice, 0 to 19). 0: not at all; messages then wait for busy cores."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StopConfig:
    """When the run ends: by (virtual) seconds, by gradient steps per node, whichever is first."""

    time_s: float | None = None
    steps: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointConfig:
    """What a node remembers when it comes back after a crash, or after it left.

    It then goes on from its own last checkpoint, and else from its neighbours' mean model.
    """

    every_s: float | None = None
    """Seconds between two checkpoints of a node, virtual or real; None: there are none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationConfig:
    """What the served models are measured on, how often, and when they are good enough."""

    every_s: float = 1.0
    target: float | None = None
    """Accuracy whose first reaching is reported (time to target)."""
    samples: int | None = None
    """Evaluate on the first so many test samples; None: all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerConfig:
    """The broker of real runs. Without `url`, `p2pfl run` starts the embedded one."""

    url: str = ""
    """mqtt://[user@]host[:port] or mqtts://...; the password comes from the environment. Several of
    one cluster, with commas between, are tried in turn."""
    engine: Literal["nats", "amqtt", "mosquitto"] = "nats"
    ca_file: str = ""
    chunk_bytes: int = 512 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthConfig:
    """Where the nodes of real runs answer how they are: /healthz, and /metrics for Prometheus."""

    port: int | None = None
    """Of the first node; each next node in the graph's order takes the next. None: nowhere."""
    host: str = "127.0.0.1"
    """Other machines can ask only where this is one of the machine's own addresses."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonConfig:
    """What `p2pfl compare` puts beside this experiment's own algorithm."""

    algorithms: tuple[str, ...] = (
        "fedavg",
        "dpsgd",
        "local",
        "centralized",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ExperimentConfig:
    """One experiment file, whole."""

    name: str
    topology: TopologyConfig
    data: DataConfig
    model: ModelConfig
    training: TrainingConfig
    stop: StopConfig
    seed: int = 0
    partition: PartitionConfig = PartitionConfig()
    algorithm: AlgorithmConfig = field(default_factory=AlgorithmConfig)
    staleness: StalenessConfig = field(default_factory=StalenessConfig)
    compute: ComputeConfig = field(default_factory=ComputeConfig)
    network: NetworkConfig = field(default_factory=NetworkConfig)
    faults: FaultsConfig = field(default_factory=FaultsConfig)
    checkpoint: CheckpointConfig = CheckpointConfig()
    simulation: SimulationConfig = SimulationConfig()
    runtime: RuntimeConfig = RuntimeConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    broker: BrokerConfig = BrokerConfig()
    health: HealthConfig = HealthConfig()
    comparison: ComparisonConfig = ComparisonConfig()
