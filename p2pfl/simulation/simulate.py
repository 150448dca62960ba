"""One experiment in virtual time, from start to result."""

import gc
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import IO, Final

from p2pfl.algorithms.rounds import Undecided
from p2pfl.algorithms.suite import ALONE, STARS
from p2pfl.compute import ComputeLaw
from p2pfl.experiment import Experiment
from p2pfl.learning.trainer import Trainer
from p2pfl.protocol.node import Node
from p2pfl.results.record import NetworkSample, NodeTotals, RunResult
from p2pfl.simulation.determined import round_simulation
from p2pfl.simulation.devices import devices_of
from p2pfl.simulation.faults import Faults
from p2pfl.simulation.inhabitant import Inhabitant
from p2pfl.simulation.measuring import Learner, Measurements, Progress, run_result
from p2pfl.simulation.network import StarNetwork
from p2pfl.simulation.profile import Part, Profile
from p2pfl.simulation.repair import Repair
from p2pfl.simulation.trace import Trace
from p2pfl.simulation.world import World
from p2pfl.types import NodeId

_COLLECT_EVERY: Final = 100_000
"""Objects between two collections of garbage, instead of 700. A running world makes no cycles."""
_LARGE_BYTES: Final = 1 << 26
"""The parts of a finished world refer to each other. Where its models come to more than this, they
do not wait for the collector: the next run may need the memory."""


def simulate(
    experiment: Experiment,
    *,
    seed: int | None = None,
    trainer: Trainer | None = None,
    trace_file: Path | None = None,
    progress: Progress | None = None,
    profile: Profile | None = None,
) -> RunResult:
    """Run the experiment in virtual time; the same seed gives the same result, bit for bit.

    `trainer` may be handed in to share loaded data between runs of one task and seed. `profile`
    learns where the time goes, by its own clock. A synchronous run in which nothing is left to
    chance is computed in rounds, unless its events are to be traced (see `rounds.py`).
    """
    if seed is not None and seed != experiment.config.seed:
        experiment, trainer = experiment.replace(seed=seed), None
    ready = trainer if trainer is not None else experiment.make_trainer()
    with seldom_collected():
        result = _simulated(experiment, ready, trace_file, progress, profile)
    if 4 * ready.dimension * len(result.nodes) > _LARGE_BYTES:
        with nullcontext() if profile is None else profile.during("events"):
            gc.collect()
    return result


def _simulated(
    experiment: Experiment,
    ready: Trainer,
    trace_file: Path | None,
    progress: Progress | None,
    profile: Profile | None,
) -> RunResult:
    if trace_file is None:
        told = Told(progress)
        counted = ready if profile is None else profile.trainer(ready)
        rounds = round_simulation(experiment, counted, progress=told, profile=profile)
        if rounds is not None:
            try:
                return rounds.run()
            except Undecided:
                progress = told.rest()
    lines: AbstractContextManager[IO[str] | None] = (
        nullcontext() if trace_file is None else trace_file.open("w", encoding="utf-8")
    )
    with lines as file:
        return Simulation(experiment, ready, Trace(file), progress, profile).run()


class Told:
    """Tells progress, and how to go on telling it when the run begins anew."""

    def __init__(self, progress: Progress | None) -> None:
        self._progress = progress
        self._points = 0

    def __call__(self, point: NetworkSample) -> None:
        """Tell one point more."""
        self._points += 1
        if self._progress is not None:
            self._progress(point)

    def rest(self) -> Progress:
        """Tells what has not been told yet: the same run comes by its points again."""
        number, told = count(1), self._points

        def tell(point: NetworkSample) -> None:
            if next(number) > told and self._progress is not None:
                self._progress(point)

        return tell


class Simulation:
    """One simulation on its way: the world, its schedule, and what was measured so far."""

    def __init__(
        self,
        experiment: Experiment,
        trainer: Trainer,
        trace: Trace,
        progress: Progress | None = None,
        profile: Profile | None = None,
    ) -> None:
        self.experiment = experiment
        self.trainer = trainer if profile is None else profile.trainer(trainer)
        self.trace = trace
        self.measured = Measurements(self.trainer, progress)
        self._profile = profile
        config, nodes = experiment.config, experiment.topology.graph.nodes
        self._devices = devices_of(config.compute, nodes, seed=config.seed)
        self.world = self._make_world()
        self.faults = Faults(config, self.world, self._devices, nodes=nodes)
        self._mend()
        self._ended = False
        self._last: list[Learner] | None = None
        """The learners as they were when the end was called."""

    def run(self) -> RunResult:
        """Let the world run to its end and sum up."""
        with self._during("events"):
            return self._run()

    def _run(self) -> RunResult:
        self.faults.plan()
        self.world.start()
        self._schedule()
        world, step = self.world, self.world.step
        while not self._ended and step():
            if world.some_stopped and not self._ended and self._quiet():
                world.deliver_the_rest()
                self._end("finished")
        return self._result()

    def _quiet(self) -> bool:
        return self.world.quiet and not self.faults.returns_to_come

    def _mend(self) -> None:
        """Let the graph be mended, if the file says so; a server's star has nothing to mend."""
        config = self.experiment.config
        degree = config.faults.repair_degree
        if degree is not None and config.algorithm.kind not in (*STARS, *ALONE):
            after_s = config.staleness.suspect_grace_s
            topology = self.experiment.topology
            Repair(self.world, topology, degree=degree, seed=config.seed, after_s=after_s)

    def _make_world(self) -> World:
        experiment, trainer = self.experiment, self.trainer
        config, places = experiment.config, experiment.places
        x0 = trainer.initial()
        hearers: dict[NodeId, list[NodeId]] = {name: [] for name in places}
        for place in places.values():
            for peer, _ in place.neighbours:
                hearers[peer].append(place.node)

        def make_node(name: NodeId) -> Node:
            node = experiment.make_node(
                name, run=f"{config.name}-simulated", trainer=trainer, x0=x0
            )
            if self._profile is not None:
                node.algorithm = self._profile.algorithm(node.algorithm)
            return node

        return World(
            make_node=make_node,
            hearers={name: tuple(heard_by) for name, heard_by in hearers.items()},
            servers=frozenset(name for name, place in places.items() if not place.learns),
            trainer=trainer,
            batch_size=config.training.batch_size,
            law=ComputeLaw(config.compute, seed=config.seed),
            devices=self._devices,
            network=StarNetwork(config.network, config.seed),
            trace=self.trace,
            seed=config.seed,
        )

    def _schedule(self) -> None:
        """Evaluations and the end come from outside the nodes, at their times."""
        world, config = self.world, self.experiment.config
        world.at(0.0, self._evaluate_and_plan)
        if config.stop.time_s is not None:
            world.at(config.stop.time_s, partial(self._end, "time"))

    def _end(self, reason: str) -> None:
        self._ended = True
        self.measured.forget(self.world.now_s)
        self._last = self._evaluate()
        self.world.end(reason)

    def _during(self, part: Part) -> AbstractContextManager[None]:
        return nullcontext() if self._profile is None else self._profile.during(part)

    # ------------------------------------------------------------ measuring

    def _evaluate_and_plan(self) -> None:
        self._evaluate()
        every_s = self.experiment.config.evaluation.every_s
        self.world.at(every_s * len(self.measured.curve), self._evaluate_and_plan)

    def _evaluate(self) -> list[Learner]:
        world = self.world
        with self._during("evaluation"):
            endpoint_bytes = [e.total_bytes for e in world.network.endpoints.values()]
            learners = self._learners()
            self.measured.take(world.now_s, learners, endpoint_bytes)
        return learners

    def _learners(self) -> list[Learner]:
        """Everybody who holds data, as he is now."""
        return [self._learner(self.world.inhabitants[name]) for name in self.experiment.learners]

    def _learner(self, one: Inhabitant) -> Learner:
        return Learner(
            node=one.name,
            version=one.tally.versions,
            steps=one.tally.steps,
            staleness_max=one.tally.staleness_max,
            out_bytes=one.endpoint.out_bytes,
            in_bytes=one.endpoint.in_bytes,
            served=one.node.served(self.world.now_s) if one.alive else None,
            public=one.node.public() if one.alive else None,
        )

    def _totals(self, one: Inhabitant) -> NodeTotals:
        """A node's, with how long models need to it and from it."""
        totals, place = one.totals(), self.experiment.places[one.name]
        beside = place.algorithm.capabilities.beside
        dimension = self.trainer.dimension
        numbers = dimension + (0 if beside is None else beside.size(dimension))
        way_s = self.world.network.way_s(one.name, numbers, heard=len(place.neighbours))
        return replace(totals, way_s=way_s)

    def _result(self) -> RunResult:
        world = self.world
        return run_result(
            self.experiment,
            self.trainer,
            self.measured,
            duration_s=world.now_s,
            nodes=[self._totals(one) for one in world.inhabitants.values()],
            learners=self._learners() if self._last is None else self._last,
            trace_hash=self.trace.digest(),
        )


@contextmanager
def seldom_collected() -> Iterator[None]:
    """Look for cyclic garbage less often: each look passes over every object of every node.

    Measured: a fifth of the time at n = 10,000.
    """
    before = gc.get_threshold()
    if before[0]:
        gc.set_threshold(max(_COLLECT_EVERY, before[0]), *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)
