"""p2pfl: learning without a server.

    experiment = p2pfl.load_experiment("examples/digits.toml")
    result = p2pfl.simulate(experiment, seed=0)
    print(p2pfl.compare(result, p2pfl.simulate(experiment, seed=1)))

Names are imported when they are first used: `import p2pfl` itself loads nothing heavy.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from p2pfl.algorithms.base import (
        Advance,
        Algorithm,
        Capabilities,
        Finish,
        Local,
        Outgoing,
        TrainPlan,
        VectorAlgorithm,
    )
    from p2pfl.algorithms.dpsgd import DPSGD
    from p2pfl.algorithms.fedavg import FedAvgClient, FedAvgServer
    from p2pfl.algorithms.local import LocalOnly
    from p2pfl.algorithms.pull_mix import PullMix
    from p2pfl.comparison.side_by_side import Comparison, compare_algorithms
    from p2pfl.comparison.sweep import sweep
    from p2pfl.comparison.sweep_table import Sweep
    from p2pfl.comparison.table import ComparisonTable, compare, table_of
    from p2pfl.config.schema import (
        AlgorithmConfig,
        ComparisonConfig,
        ExperimentConfig,
    )
    from p2pfl.config.schema import AvailabilityConfig as Availability
    from p2pfl.config.schema import BrokerConfig as Broker
    from p2pfl.config.schema import CheckpointConfig as Checkpoint
    from p2pfl.config.schema import ChurnConfig as Churn
    from p2pfl.config.schema import ComputeConfig as Compute
    from p2pfl.config.schema import CrashConfig as Crash
    from p2pfl.config.schema import DataConfig as Data
    from p2pfl.config.schema import EvaluationConfig as Evaluation
    from p2pfl.config.schema import FaultsConfig as Faults
    from p2pfl.config.schema import HealthConfig as Health
    from p2pfl.config.schema import JoinConfig as Join
    from p2pfl.config.schema import LeaveConfig as Leave
    from p2pfl.config.schema import LinkConfig as Link
    from p2pfl.config.schema import ModelConfig as Model
    from p2pfl.config.schema import NetworkConfig as Network
    from p2pfl.config.schema import NetworkPartitionConfig as NetworkPartition
    from p2pfl.config.schema import PartitionConfig as Partition
    from p2pfl.config.schema import RuntimeConfig as Runtime
    from p2pfl.config.schema import SimulationConfig as Simulation
    from p2pfl.config.schema import StalenessConfig as Staleness
    from p2pfl.config.schema import StopConfig as Stop
    from p2pfl.config.schema import TopologyConfig as Topology
    from p2pfl.config.schema import TrainingConfig as Training
    from p2pfl.errors import (
        ConfigError,
        DataError,
        P2pflError,
        ProtocolError,
        RefusedError,
        TransportError,
    )
    from p2pfl.experiment import Experiment, load_experiment
    from p2pfl.learning.dataset import Dataset, dataset_from_arrays
    from p2pfl.messages import Neighbour
    from p2pfl.report.page import write_report
    from p2pfl.results.folder import new_run_folder, read_run, write_run
    from p2pfl.results.record import NetworkSample, NodeSample, NodeTotals, RunResult
    from p2pfl.runtime.peer import run_node
    from p2pfl.runtime.whole_run import run_experiment
    from p2pfl.simulation.profile import Profile
    from p2pfl.simulation.replay import Replay
    from p2pfl.simulation.simulate import simulate
    from p2pfl.transport.base import Transport
    from p2pfl.transport.broker import EmbeddedBroker
    from p2pfl.transport.memory import MemoryNetwork, MemoryTransport
    from p2pfl.transport.mqtt import MqttTransport
    from p2pfl.types import NodeId, Vector

    __version__: str

_SCHEMA: Final = "p2pfl.config.schema"

_HOMES: Final = {
    **dict.fromkeys(
        (
            "Advance",
            "Algorithm",
            "Capabilities",
            "Finish",
            "Local",
            "Outgoing",
            "TrainPlan",
            "VectorAlgorithm",
        ),
        "p2pfl.algorithms.base",
    ),
    "DPSGD": "p2pfl.algorithms.dpsgd",
    **dict.fromkeys(("FedAvgClient", "FedAvgServer"), "p2pfl.algorithms.fedavg"),
    "LocalOnly": "p2pfl.algorithms.local",
    "PullMix": "p2pfl.algorithms.pull_mix",
    **dict.fromkeys(("Comparison", "compare_algorithms"), "p2pfl.comparison.side_by_side"),
    "sweep": "p2pfl.comparison.sweep",
    "Sweep": "p2pfl.comparison.sweep_table",
    **dict.fromkeys(("ComparisonTable", "compare", "table_of"), "p2pfl.comparison.table"),
    **dict.fromkeys(("AlgorithmConfig", "ComparisonConfig", "ExperimentConfig"), _SCHEMA),
    **dict.fromkeys(
        (
            "ConfigError",
            "DataError",
            "P2pflError",
            "ProtocolError",
            "RefusedError",
            "TransportError",
        ),
        "p2pfl.errors",
    ),
    **dict.fromkeys(("Experiment", "load_experiment"), "p2pfl.experiment"),
    **dict.fromkeys(("Dataset", "dataset_from_arrays"), "p2pfl.learning.dataset"),
    "Neighbour": "p2pfl.messages",
    "write_report": "p2pfl.report.page",
    **dict.fromkeys(("new_run_folder", "read_run", "write_run"), "p2pfl.results.folder"),
    **dict.fromkeys(
        ("NetworkSample", "NodeSample", "NodeTotals", "RunResult"), "p2pfl.results.record"
    ),
    "run_node": "p2pfl.runtime.peer",
    "run_experiment": "p2pfl.runtime.whole_run",
    "Profile": "p2pfl.simulation.profile",
    "Replay": "p2pfl.simulation.replay",
    "simulate": "p2pfl.simulation.simulate",
    "Transport": "p2pfl.transport.base",
    "EmbeddedBroker": "p2pfl.transport.broker",
    **dict.fromkeys(("MemoryNetwork", "MemoryTransport"), "p2pfl.transport.memory"),
    "MqttTransport": "p2pfl.transport.mqtt",
    **dict.fromkeys(("NodeId", "Vector"), "p2pfl.types"),
}
"""Public name -> the module that holds it."""

_PARTS: Final = (
    "Availability",
    "Broker",
    "Checkpoint",
    "Churn",
    "Compute",
    "Crash",
    "Data",
    "Evaluation",
    "Faults",
    "Health",
    "Join",
    "Leave",
    "Link",
    "Model",
    "Network",
    "NetworkPartition",
    "Partition",
    "Runtime",
    "Simulation",
    "Staleness",
    "Stop",
    "Topology",
    "Training",
)
"""Parts of an experiment, named as their sections: `Network` is `NetworkConfig`, a `Link` is one of
its links."""

__all__ = [
    "DPSGD",
    "Advance",
    "Algorithm",
    "AlgorithmConfig",
    "Availability",
    "Broker",
    "Capabilities",
    "Checkpoint",
    "Churn",
    "Comparison",
    "ComparisonConfig",
    "ComparisonTable",
    "Compute",
    "ConfigError",
    "Crash",
    "Data",
    "DataError",
    "Dataset",
    "EmbeddedBroker",
    "Evaluation",
    "Experiment",
    "ExperimentConfig",
    "Faults",
    "FedAvgClient",
    "FedAvgServer",
    "Finish",
    "Health",
    "Join",
    "Leave",
    "Link",
    "Local",
    "LocalOnly",
    "MemoryNetwork",
    "MemoryTransport",
    "Model",
    "MqttTransport",
    "Neighbour",
    "Network",
    "NetworkPartition",
    "NetworkSample",
    "NodeId",
    "NodeSample",
    "NodeTotals",
    "Outgoing",
    "P2pflError",
    "Partition",
    "Profile",
    "ProtocolError",
    "PullMix",
    "RefusedError",
    "Replay",
    "RunResult",
    "Runtime",
    "Simulation",
    "Staleness",
    "Stop",
    "Sweep",
    "Topology",
    "TrainPlan",
    "Training",
    "Transport",
    "TransportError",
    "Vector",
    "VectorAlgorithm",
    "__version__",
    "compare",
    "compare_algorithms",
    "dataset_from_arrays",
    "load_experiment",
    "new_run_folder",
    "read_run",
    "run_experiment",
    "run_node",
    "simulate",
    "sweep",
    "table_of",
    "write_report",
    "write_run",
]


def __getattr__(name: str) -> object:
    """A public name, imported when first used (PEP 562)."""
    if name == "__version__":
        from importlib.metadata import version

        return version("p2pfl-gossip")
    if name in _PARTS:
        value: object = getattr(import_module(_SCHEMA), f"{name}Config")
    elif name in _HOMES:
        value = getattr(import_module(_HOMES[name]), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """The public names, for completion."""
    return sorted(__all__)
