"""The numbers that each key of an experiment may be."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Range:
    """The numbers a key may be: `at_least <= x <= at_most` and `above < x < below`."""

    at_least: float = -math.inf
    at_most: float = math.inf
    above: float = -math.inf
    below: float = math.inf

    def __contains__(self, number: float) -> bool:
        """Whether the number lies within."""
        return self.at_least <= number <= self.at_most and self.above < number < self.below

    def __str__(self) -> str:
        """`at least 0 and below 1`."""
        words = {
            "at least": self.at_least,
            "above": self.above,
            "at most": self.at_most,
            "below": self.below,
        }
        return " and ".join(f"{word} {x:g}" for word, x in words.items() if math.isfinite(x))


_POSITIVE: Final = Range(above=0)
_NOT_NEGATIVE: Final = Range(at_least=0)
_COUNT: Final = Range(at_least=1)
_PART: Final = Range(at_least=0, below=1)

RANGES: Final[Mapping[str, Range]] = {
    # A graph of more nodes is a typing error; the simulator is measured up to 10,000.
    "topology.nodes": Range(at_least=1, at_most=1_000_000),
    "topology.rows": _COUNT,
    "topology.columns": _COUNT,
    "topology.offsets": _COUNT,
    "topology.degree": _COUNT,
    "topology.rewire": Range(at_least=0, at_most=1),
    "topology.probability": Range(above=0, at_most=1),
    "topology.links_per_node": _COUNT,
    "topology.radius": _POSITIVE,
    "topology.near": _NOT_NEGATIVE,
    "topology.far": _NOT_NEGATIVE,
    "topology.clique_size": _COUNT,
    "topology.rounds": _COUNT,
    "topology.budget": Range(above=0, at_most=1),
    "topology.target": _POSITIVE,
    "topology.seed": _NOT_NEGATIVE,
    "data.samples": _COUNT,
    "data.min_sequences": _COUNT,
    "data.dimension": _COUNT,
    "data.condition": Range(at_least=1),
    "data.spread": _NOT_NEGATIVE,
    "data.noise": _NOT_NEGATIVE,
    "partition.alpha": _POSITIVE,
    "partition.min_partition_size": _NOT_NEGATIVE,
    "partition.shards_per_node": _COUNT,
    "model.hidden": _COUNT,
    "training.learning_rate": _POSITIVE,
    "training.warmup_steps": _NOT_NEGATIVE,
    "training.decay_at": _COUNT,
    "training.decay": Range(above=0, at_most=1),
    "training.schedule_steps": _COUNT,
    "training.learning_rate_min": _NOT_NEGATIVE,
    "training.batch_size": _COUNT,
    "training.local_steps": _COUNT,
    "training.local_epochs": _COUNT,
    "training.local_steps_of": _COUNT,
    "training.clip_norm": _POSITIVE,
    "training.weights": _POSITIVE,
    "training.momentum": Range(at_least=0, below=1),
    "training.betas": Range(at_least=0, below=1),
    "training.eps": _POSITIVE,
    "training.weight_decay": _NOT_NEGATIVE,
    "algorithm.participation": Range(above=0, at_most=1),
    "algorithm.switch_step": _NOT_NEGATIVE,
    "algorithm.beta": _PART,
    "algorithm.fanout": _COUNT,
    "algorithm.candidates": _COUNT,
    "algorithm.proximal": _NOT_NEGATIVE,
    "algorithm.server_learning_rate": _POSITIVE,
    "algorithm.server_momentum": _PART,
    "algorithm.server_betas": _PART,
    "algorithm.adaptivity": _POSITIVE,
    "algorithm.alpha": Range(above=0, at_most=1),
    "algorithm.buffer_size": _COUNT,
    "algorithm.discount_a": _NOT_NEGATIVE,
    "algorithm.discount_b": _POSITIVE,
    "algorithm.window": _NOT_NEGATIVE,
    "algorithm.reference_s": _POSITIVE,
    "algorithm.step_max": _POSITIVE,
    "staleness.bound": _NOT_NEGATIVE,
    "staleness.liveness_floor_s": _NOT_NEGATIVE,
    "staleness.suspect_grace_s": _NOT_NEGATIVE,
    "compute.step_s": _NOT_NEGATIVE,
    "compute.sigma": _NOT_NEGATIVE,
    "compute.node_sigma": _NOT_NEGATIVE,
    "compute.slowdown": _POSITIVE,
    # At 1 and below a Pareto law has no mean.
    "compute.alpha": Range(above=1),
    "compute.availability.on_s": _POSITIVE,
    "compute.availability.off_s": _POSITIVE,
    "network.latency_s": _NOT_NEGATIVE,
    "network.latency_sigma": _NOT_NEGATIVE,
    "network.loss": _PART,
    "network.duplication": _PART,
    "network.reorder": Range(at_least=0, at_most=1),
    "network.reorder_s": _POSITIVE,
    "network.uplink_bytes_per_s": _POSITIVE,
    "network.downlink_bytes_per_s": _POSITIVE,
    "network.node_uplink_bytes_per_s": _POSITIVE,
    "network.node_downlink_bytes_per_s": _POSITIVE,
    "network.links.latency_s": _NOT_NEGATIVE,
    "network.links.loss": _PART,
    "network.partitions.from_s": _NOT_NEGATIVE,
    "checkpoint.every_s": _POSITIVE,
    "faults.crash.at_s": _NOT_NEGATIVE,
    "faults.leave.at_s": _NOT_NEGATIVE,
    "faults.join.at_s": _NOT_NEGATIVE,
    "faults.repair_degree": Range(at_least=1),
    "faults.churn.life_s": _POSITIVE,
    "faults.churn.absence_s": _POSITIVE,
    "faults.churn.graceful": Range(at_least=0, at_most=1),
    "stop.time_s": _POSITIVE,
    "stop.steps": _COUNT,
    "evaluation.every_s": _POSITIVE,
    "evaluation.target": Range(above=0, at_most=1),
    "evaluation.samples": _COUNT,
    # Below, headers outweigh the model; above, NATS and EMQX close the connection (1 MiB, 1 MB).
    "broker.chunk_bytes": Range(at_least=1024, at_most=1_000_000),
    "runtime.threads": Range(at_least=1),
    "runtime.niceness": Range(at_least=0, at_most=19),
    "health.port": Range(at_least=1, at_most=65535),
    "seed": _NOT_NEGATIVE,
}
