"""The same experiment under several algorithms: same data, same start, same virtual time."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from p2pfl.comparison.table import ComparisonTable, table_of
from p2pfl.config.load import with_algorithm
from p2pfl.experiment import Experiment
from p2pfl.learning.trainer import Trainer
from p2pfl.results.record import NetworkSample, RunResult
from p2pfl.simulation.simulate import simulate

Progress = Callable[[Experiment, NetworkSample | None], None]
"""Told at the start of each run (None), then the network's numbers at each evaluation."""


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """Runs side by side, the experiment's own algorithm first, seed by seed."""

    results: tuple[RunResult, ...]

    @property
    def table(self) -> ComparisonTable:
        """What they reached and what it cost."""
        return table_of(self.results)

    def __str__(self) -> str:
        return str(self.table)


def compare_algorithms(
    experiment: Experiment,
    *,
    algorithms: Sequence[str] | None = None,
    seeds: Sequence[int] | None = None,
    progress: Progress | None = None,
    tell_note: Callable[[str], None] | None = None,
) -> Comparison:
    """Simulate the experiment under its own algorithm and each of `algorithms`, for each seed.

    Without `algorithms` these are the file's `[comparison]`; without `seeds` its one seed. All
    runs of one seed share partition, first model, minibatches and node speeds. `tell_note` is told
    each of the trainers' notes once, before the first run that it concerns.

    Raises:
        ConfigError: an algorithm is unknown or impossible on this graph.
    """
    results: list[RunResult] = []
    told: set[str] = set()

    def ready(one: Experiment) -> Trainer:
        trainer = one.make_trainer()
        if tell_note is not None:
            for note in trainer.notes:
                if note not in told:
                    tell_note(note)
            told.update(trainer.notes)
        return trainer

    for seed in seeds if seeds is not None else (experiment.config.seed,):
        trainer: Trainer | None = None
        for one in variants(experiment.replace(seed=seed), algorithms):
            tell = None
            if progress is not None:
                progress(one, None)
                tell = _teller(progress, one)
            if one.config.algorithm.kind == "centralized":
                # Its one node holds all the data: another partition, so another trainer.
                results.append(simulate(one, trainer=ready(one), progress=tell))
                continue
            trainer = trainer if trainer is not None else ready(one)
            results.append(simulate(one, trainer=trainer, progress=tell))
    return Comparison(tuple(results))


def variants(
    experiment: Experiment, algorithms: Sequence[str] | None = None
) -> tuple[Experiment, ...]:
    """The experiment itself, then the same under each other algorithm, each once.

    Raises:
        ConfigError: an algorithm is unknown.
    """
    named = experiment.config.comparison.algorithms if algorithms is None else algorithms
    own = experiment.config.algorithm.kind
    others = [kind for kind in dict.fromkeys(named) if kind != own]
    return (
        experiment,
        *(
            Experiment(with_algorithm(experiment.config, kind), folder=experiment.folder)
            for kind in others
        ),
    )


def _teller(progress: Progress, one: Experiment) -> Callable[[NetworkSample], None]:
    return lambda sample: progress(one, sample)
