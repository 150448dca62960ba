"""What is learned, as the configuration says it: handed to `learning` as plain data."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from p2pfl.config.schema import ExperimentConfig
from p2pfl.learning.own import is_own
from p2pfl.learning.trainer import Trainer
from p2pfl.learning_rate import LearningRate
from p2pfl.types import NodeId

if TYPE_CHECKING:
    from p2pfl.learning.quadratics import QuadraticTask
    from p2pfl.learning.task import Task


def trainer_of(
    config: ExperimentConfig,
    *,
    nodes: Sequence[NodeId],
    pooled: bool,
    learning_rate: LearningRate,
    base: str,
    keep: Collection[NodeId] | None,
) -> Trainer:
    """The trainer of a torch model on the samples that these nodes are dealt.

    `keep`: the nodes whose samples this process needs (None: all, for the simulator: then
    `[simulation] trainer` chooses).

    Raises:
        ConfigError: data, model and partition do not fit together.
        DataError: the data is missing or torn, or a node would hold none.
    """
    task = task_of(
        config,
        nodes=nodes,
        pooled=pooled,
        learning_rate=learning_rate,
        base=base,
        keep=keep,
    )
    from p2pfl.learning.devices import best_device
    from p2pfl.learning.loop_trainer import LoopTrainer

    if keep is not None:
        return LoopTrainer(task, device=best_device(config.runtime.device))
    batched = config.simulation.trainer != "loop"
    if batched and task.objective is None:
        from p2pfl.learning.batched_trainer import BatchedTrainer

        return BatchedTrainer(task, device=config.simulation.device)
    why = ("trains one model at a time: the model has a training step of its own",)
    return LoopTrainer(task, one_thread=True, notes=why if batched else ())


def client_trainer_of(
    config: ExperimentConfig,
    *,
    nodes: Sequence[NodeId],
    learning_rate: LearningRate,
    base: str,
    keep: Collection[NodeId] | None,
) -> Trainer:
    """The trainer of clients that bring their own data and training loop.

    Raises:
        ConfigError: the function that makes them cannot be found, or makes no clients.
    """
    from p2pfl.adapters.numpy_client import ClientTrainer, client_maker

    make = client_maker(
        config.model.kind,
        nodes=nodes,
        seed=config.seed,
        folder=config.data.folder,
        base=base,
    )
    kept = tuple(nodes if keep is None else keep)
    return ClientTrainer(make, nodes=kept, seed=config.seed, learning_rate=learning_rate)


def task_of(
    config: ExperimentConfig,
    *,
    nodes: Sequence[NodeId],
    pooled: bool,
    learning_rate: LearningRate,
    base: str,
    keep: Collection[NodeId] | None,
) -> "Task":
    """The task of these nodes; loads data and torch. `pooled`: dealt evenly, whatever is said.

    Raises:
        ConfigError: data, model and partition do not fit together.
        DataError: the data is missing or torn, or a node would hold none.
    """
    from p2pfl.learning.task import build_task

    c = config
    first, second = c.training.betas
    task = build_task(
        nodes=nodes,
        seed=c.seed,
        data=c.data.kind,
        model=c.model.kind,
        learning_rate=learning_rate,
        batch_size=c.training.batch_size,
        momentum=c.training.momentum,
        weight_decay=c.training.weight_decay,
        optimizer=c.training.optimizer,
        betas=(first, second),
        eps=c.training.eps,
        clip_norm=c.training.clip_norm,
        folder=c.data.folder,
        samples=c.data.samples,
        min_sequences=c.data.min_sequences,
        partition="iid" if pooled else c.partition.kind,
        alpha=c.partition.alpha,
        min_partition_size=c.partition.min_partition_size,
        shards_per_node=c.partition.shards_per_node,
        hidden=c.model.hidden,
        evaluation_samples=c.evaluation.samples,
        base=base,
        keep=keep,
    )
    if not is_own(c.model.kind):
        return task
    from p2pfl.adapters.recognise import objective_of

    return replace(task, objective=objective_of(task))


def quadratic_task_of(
    config: ExperimentConfig,
    *,
    nodes: Sequence[NodeId],
    learning_rate: LearningRate,
    weights: tuple[float, ...],
) -> "QuadraticTask":
    """The quadratics of these nodes; loads no torch."""
    from p2pfl.learning.quadratics import build_quadratic_task

    c = config
    return build_quadratic_task(
        nodes=nodes,
        seed=c.seed,
        learning_rate=learning_rate,
        dimension=c.data.dimension,
        condition=c.data.condition,
        spread=c.data.spread,
        noise=c.data.noise,
        sites=c.data.sites,
        momentum=c.training.momentum,
        weight_decay=c.training.weight_decay,
        clip_norm=c.training.clip_norm,
        weights=weights,
    )
