"""What is measured at each evaluation time, and what a simulated run adds up to."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from p2pfl.experiment import Experiment
from p2pfl.learning.trainer import Score, Trainer
from p2pfl.results.measure import consensus_distance, mean_model, network_sample
from p2pfl.results.on_the_way import way_notes
from p2pfl.results.record import NetworkSample, NodeSample, NodeTotals, RunResult
from p2pfl.types import NodeId, Vector

Progress = Callable[[NetworkSample], None]
"""Told the network's numbers at each evaluation."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Learner:
    """One learner at one moment, alive or not."""

    node: NodeId
    version: int
    steps: int
    staleness_max: float
    out_bytes: int
    in_bytes: int
    served: Vector | None
    """The model that it hands out; None: it is dead."""
    public: Vector | None
    """Its own x."""

    @property
    def alive(self) -> bool:
        """True if it has a model to show."""
        return self.served is not None

    def sample(self, at_s: float, score: Score | None) -> NodeSample:
        """Its line of the metrics."""
        return NodeSample(
            at_s=at_s,
            node=self.node,
            version=self.version,
            steps=self.steps,
            loss=float("nan") if score is None else score.loss,
            accuracy=None if score is None else score.accuracy,
            per_class=() if score is None else score.per_class,
            staleness_max=self.staleness_max,
            out_bytes=self.out_bytes,
            in_bytes=self.in_bytes,
            alive=self.alive,
        )


class Measurements:
    """The curve of a run and its nodes' samples, taken at one time after the other."""

    def __init__(self, trainer: Trainer, progress: Progress | None = None) -> None:
        self.curve: list[NetworkSample] = []
        self.samples: list[NodeSample] = []
        self._trainer = trainer
        self._progress = progress

    def take(self, at_s: float, learners: Sequence[Learner], endpoint_bytes: Sequence[int]) -> None:
        """Score every living learner's served model, and the mean of their x.

        `endpoint_bytes` are all endpoints', a server's too.
        """
        point = self._measured(at_s, learners, endpoint_bytes)
        self.curve.append(point)
        if self._progress is not None:
            self._progress(point)

    def forget(self, at_s: float) -> None:
        """Something has happened since at this very time: the last sample will be taken anew."""
        while self.curve and self.curve[-1].at_s == at_s:
            self.curve.pop()
        self.samples = [sample for sample in self.samples if sample.at_s < at_s]

    def _measured(
        self, at_s: float, learners: Sequence[Learner], endpoint_bytes: Sequence[int]
    ) -> NetworkSample:
        served = {one.node: one.served for one in learners if one.served is not None}
        publics = [one.public for one in learners if one.public is not None]
        names = list(served)
        scores = dict(zip(names, self._trainer.evaluate(list(served.values()), names), strict=True))
        taken = [one.sample(at_s, scores.get(one.node)) for one in learners]
        self.samples.extend(taken)
        average = (
            self._trainer.evaluate([mean_model(publics)], names[:1])[0].accuracy
            if publics
            else None
        )
        return network_sample(
            taken,
            at_s=at_s,
            accuracy_average_model=average,
            distance=consensus_distance(publics) if publics else None,
            endpoint_bytes=endpoint_bytes,
        )


def run_result(
    experiment: Experiment,
    trainer: Trainer,
    measured: Measurements,
    *,
    duration_s: float,
    nodes: Sequence[NodeTotals],
    learners: Sequence[Learner],
    trace_hash: str,
) -> RunResult:
    """One simulated run, whole; `learners` as they are at its end."""
    config = experiment.config
    totals = tuple(
        replace(
            each,
            labels=trainer.labels(each.node),
            period_s=duration_s / each.versions if each.versions else 0.0,
        )
        for each in nodes
    )
    return RunResult(
        name=config.name,
        label=experiment.label,
        driver="simulation",
        seed=config.seed,
        config=config,
        dimension=trainer.dimension,
        duration_s=duration_s,
        wall_s=0.0,
        staleness_bound=experiment.staleness_bound,
        staleness_unit=experiment.staleness_unit,
        curve=tuple(measured.curve),
        samples=tuple(measured.samples),
        nodes=totals,
        edges=experiment.edges,
        served={one.node: one.served for one in learners if one.served is not None},
        public={one.node: one.public for one in learners if one.public is not None},
        trace_hash=trace_hash,
        notes=(*trainer.notes, *way_notes(totals, codec=config.network.codec)),
    )
