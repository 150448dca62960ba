"""Quadratic objectives with a known optimum: where laws are tested to many digits.

f_i(x) = 1/2 (x - b_i)' diag(a_i) (x - b_i), with curvatures a_i in [1, condition] and optima b_i
around each node's site. Needs numpy alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from p2pfl.errors import ConfigError
from p2pfl.learning.clipping import clip_scale
from p2pfl.learning.permutations import generator
from p2pfl.learning.schema import schema_hash
from p2pfl.learning.trainer import Score, TrainJob, TrainOutcome
from p2pfl.learning_rate import LearningRate
from p2pfl.types import NodeId, Vector, frozen

_NOISE_BLOCK: Final = 64
"""Steps whose noise is drawn at once; setting up a generator costs as much as 30 steps."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class QuadraticTask:
    """One objective per node, how they are weighed, and how to step."""

    nodes: tuple[NodeId, ...]
    curvature: NDArray[np.float64]
    """a, `[n, d]`."""
    optima: NDArray[np.float64]
    """b, `[n, d]`."""
    start: NDArray[np.float64]
    """x0, `[d]`."""
    learning_rate: LearningRate
    noise: float = 0.0
    """Standard deviation of the gradient noise per coordinate."""
    momentum: float = 0.0
    weight_decay: float = 0.0
    clip_norm: float | None = None
    """The norm that a gradient, its noise included, may have; None: any."""
    weights: tuple[float, ...] = ()
    """p, one per node with sum 1: the objective is sum p_i f_i; empty: the uniform mean."""
    seed: int = 0

    def optimum(self) -> NDArray[np.float64]:
        """The minimiser of the objective, `[d]`."""
        weighted = self._weighted()
        shares = weighted / weighted.sum(axis=0)
        optimum: NDArray[np.float64] = (shares * self.optima).sum(axis=0)
        return optimum

    def pooled(self, node: NodeId) -> "QuadraticTask":
        """The whole objective alone, at one node: what centralized learning works on."""
        weighted = self._weighted()
        curvature = weighted.sum(axis=0) if self.weights else weighted.mean(axis=0)
        return replace(
            self,
            nodes=(node,),
            curvature=curvature[None, :],
            optima=self.optimum()[None, :],
            weights=(),
        )

    def _weighted(self) -> NDArray[np.float64]:
        """Each node's curvature times its weight, `[n, d]`."""
        return self.curvature * np.array(self.weights)[:, None] if self.weights else self.curvature


def build_quadratic_task(
    *,
    nodes: Sequence[NodeId],
    seed: int,
    learning_rate: LearningRate | float,
    dimension: int = 10,
    condition: float = 4.0,
    spread: float = 1.0,
    noise: float = 0.0,
    sites: tuple[float, ...] = (),
    start: float = 0.0,
    momentum: float = 0.0,
    weight_decay: float = 0.0,
    clip_norm: float | None = None,
    weights: tuple[float, ...] = (),
) -> QuadraticTask:
    """A task drawn from the seed: curvatures uniform in [1, condition], optima normal.

    Node i's optimum is normal around `sites[i mod len(sites)]` (zero if empty) with standard
    deviation `spread` in each coordinate; it starts at `start` in each coordinate.

    Raises:
        ConfigError: A number makes no sense.
    """
    if dimension < 1:
        raise ConfigError(f"data.dimension is {dimension}; it must be at least 1")
    if condition < 1.0:
        raise ConfigError(f"data.condition is {condition}; it must be at least 1")
    if spread < 0.0 or noise < 0.0:
        raise ConfigError(f"data.spread {spread} and data.noise {noise} must not be negative")
    curvature = np.empty((len(nodes), dimension))
    optima = np.empty((len(nodes), dimension))
    for i, node in enumerate(nodes):
        rng = generator(seed, node, "quadratic", 0)
        site = sites[i % len(sites)] if sites else 0.0
        curvature[i] = rng.uniform(1.0, condition, dimension)
        optima[i] = site + spread * rng.standard_normal(dimension)
    return QuadraticTask(
        nodes=tuple(nodes),
        curvature=curvature,
        optima=optima,
        start=np.full(dimension, start),
        learning_rate=LearningRate.of(learning_rate),
        noise=noise,
        momentum=momentum,
        weight_decay=weight_decay,
        clip_norm=clip_norm,
        weights=weights,
        seed=seed,
    )


class QuadraticTrainer:
    """A `Trainer` for quadratics, in float32 on the vectors. Nothing else runs in a step."""

    def __init__(self, task: QuadraticTask) -> None:
        self._task = task
        self._initial = frozen(task.start.astype(np.float32))
        self._optimum = task.optimum()
        self._curvature: Mapping[NodeId, Vector] = _rows(task.nodes, task.curvature)
        self._optima: Mapping[NodeId, Vector] = _rows(task.nodes, task.optima)
        self._noise: dict[NodeId, tuple[int, Vector]] = {}

    @property
    def dimension(self) -> int:
        """d, the length of every vector."""
        return len(self._initial)

    @property
    def schema(self) -> str:
        """Hash of the one parameter's name, shape and dtype."""
        return schema_hash([("x", (self.dimension,), "float32")])

    @property
    def notes(self) -> tuple[str, ...]:
        """Nothing is slow here."""
        return ()

    @property
    def task(self) -> QuadraticTask:
        """The task, for those who compare with its laws."""
        return self._task

    def initial(self) -> Vector:
        """x0, the same at every node."""
        return self._initial

    def samples(self, node: NodeId) -> int:
        """One objective is one sample; 0 for a node without data (a server)."""
        return 1 if node in self._optima else 0

    def labels(self, node: NodeId) -> tuple[int, ...]:
        """Nothing: objectives have no classes."""
        return ()

    def train(self, jobs: Sequence[TrainJob]) -> list[TrainOutcome]:
        """Do all jobs, in order."""
        # Who diverges is told by the loss.
        with np.errstate(over="ignore", invalid="ignore"):
            return [self._train_one(job) for job in jobs]

    def evaluate(self, vectors: Sequence[Vector], nodes: Sequence[NodeId]) -> list[Score]:
        """The distance of each vector to the optimum of the whole objective, as the loss."""
        assert len(vectors) == len(nodes)
        return [Score(float(np.linalg.norm(vector - self._optimum))) for vector in vectors]

    def _train_one(self, job: TrainJob) -> TrainOutcome:
        task = self._task
        curvature, optimum = self._curvature[job.node], self._optima[job.node]
        x: Vector = job.start
        loss = 0.0
        velocity: Vector | None = None
        if task.momentum:
            velocity = np.zeros_like(x) if job.momentum is None else job.momentum
        assert job.steps >= 1
        for step in range(job.first_step, job.first_step + job.steps):
            away = x - optimum
            gradient = curvature * away
            loss += float(gradient @ away)
            if task.noise:
                gradient += self._noise_at(job.node, step)
            if task.clip_norm is not None:
                gradient *= clip_scale(float(np.linalg.norm(gradient)), task.clip_norm)
            if job.correction is not None:
                gradient += job.correction
            if job.proximal:
                gradient += job.proximal * (x - job.start)
            if task.weight_decay:
                gradient += task.weight_decay * x
            if velocity is not None:
                gradient += task.momentum * velocity
                velocity = gradient
            x = np.subtract(x, task.learning_rate.at(step) * gradient, dtype=np.float32)
        return TrainOutcome(
            vector=frozen(x),
            momentum=None if velocity is None else frozen(velocity),
            loss=0.5 * loss / job.steps,
        )

    def _noise_at(self, node: NodeId, step: int) -> Vector:
        block, row = divmod(step, _NOISE_BLOCK)
        cached = self._noise.get(node)
        if cached is None or cached[0] != block:
            rng = generator(self._task.seed, node, "batch", block)
            shape = (_NOISE_BLOCK, self.dimension)
            drawn = rng.standard_normal(shape, np.float32) * np.float32(self._task.noise)
            cached = self._noise[node] = (block, drawn)
        noise: Vector = cached[1][row]
        return noise


def _rows(nodes: Sequence[NodeId], table: NDArray[np.float64]) -> dict[NodeId, Vector]:
    return dict(zip(nodes, table.astype(np.float32), strict=True))
