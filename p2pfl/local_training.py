"""What the training section means for each node: its learning rate, its steps, its weight.

Pure functions from the configuration to plain data; simulated and real nodes ask the same ones.
"""

from collections.abc import Mapping
from math import ceil

from p2pfl.algorithms.suite import STARS
from p2pfl.compute import STEP_S_DEFAULT, ComputeLaw
from p2pfl.config.schema import ExperimentConfig
from p2pfl.learning_rate import LearningRate
from p2pfl.types import NodeId


def learning_rate(config: ExperimentConfig, *, peers: int) -> LearningRate:
    """gamma(t), by a node's own gradient steps.

    Centralized learning that is to do the steps of so many peers at its one node goes through the
    schedule as much more slowly.
    """
    training, steps = config.training, config.stop.steps
    pooled = config.algorithm.kind == "centralized" and steps is not None
    factor = peers if pooled else 1
    return LearningRate(
        base=training.learning_rate,
        schedule=training.schedule,
        warmup=factor * training.warmup_steps,
        decay_at=tuple(factor * step for step in training.decay_at),
        decay=training.decay,
        length=factor * (training.schedule_steps or steps or 0),
        floor=training.learning_rate_min,
    )


def local_steps(config: ExperimentConfig, node: NodeId, *, samples: int) -> int:
    """H of a node with so many training samples: given, or whole epochs over them.

    A node that is named in `local_steps_of` does what stands there. With `local_work` "by_speed"
    who is k times slower does H / k of the others, at least 1. Centralized learning, and a node
    without samples (a server), do what the section says of all.
    """
    training = config.training
    if node in training.local_steps_of:
        return training.local_steps_of[node]
    steps = training.local_steps
    if steps is None:
        assert training.local_epochs is not None
        steps = training.local_epochs * ceil(samples / training.batch_size)
    if training.local_work == "equal" or not samples or config.algorithm.kind == "centralized":
        return steps
    return max(1, round(steps / ComputeLaw(config.compute, seed=config.seed).pace(node)))


def update_scales(config: ExperimentConfig, samples: Mapping[NodeId, int]) -> dict[NodeId, float]:
    """c_i by which each node's local updates count: n p_i times mean H / H_i, by node.

    So the objective is sum p_i f_i whatever the numbers of local steps (for plain SGD and small
    steps). 1 for all where nothing is said of weights: each algorithm as it was published.

    Source: Wang, Liu, Liang, Joshi, Poor, Tackling the objective inconsistency problem in
    heterogeneous federated optimization (FedNova), 2020.
    """
    if not (config.training.weighting or config.training.weights):
        return dict.fromkeys(samples, 1.0)
    weights = objective_weights(config, samples)
    steps = {node: local_steps(config, node, samples=count) for node, count in samples.items()}
    mean = sum(steps.values()) / len(steps)
    return {node: len(steps) * weights[node] * mean / steps[node] for node in samples}


def update_s(config: ExperimentConfig, samples: Mapping[NodeId, int]) -> float:
    """Seconds of an update at a node that nothing slows down, the mean over the nodes' H."""
    steps = [local_steps(config, node, samples=count) for node, count in samples.items()]
    step_s = config.compute.step_s
    return (STEP_S_DEFAULT if step_s is None else step_s) * sum(steps) / len(steps)


def objective_weights(
    config: ExperimentConfig, samples: Mapping[NodeId, int]
) -> dict[NodeId, float]:
    """p_i of the objective sum p_i f_i, by node, with sum 1; `samples` has every learner's number.

    Where nothing is said, a server counts its clients by their samples, as FedAvg was published,
    centralized learning pools the samples, and gossip counts every node alike.
    """
    training = config.training
    by_samples = training.weighting == "samples" or (
        training.weighting is None
        and not training.weights
        and (config.algorithm.kind in STARS or config.algorithm.kind == "centralized")
    )
    shares = {
        node: float(count) if by_samples else training.weights.get(node, 1.0)
        for node, count in samples.items()
    }
    total = sum(shares.values())
    return {node: share / total for node, share in shares.items()}
