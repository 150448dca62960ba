"""A synchronous run computed round by round, for all nodes at once: no heap and no nodes.

Where nothing about messages is left to chance and nobody dies, the times of all versions follow
from one another (`timetable.py`), and x(k + 1) of all nodes from x(k). Equal to the event path
in every number but the trace hash, which here is one over the times of all versions. Where the
times do not decide (see `Undecided`), the run is left to the event path.
"""

import hashlib
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from math import ceil, inf
from typing import Final

import numpy as np
from numpy.typing import NDArray

from p2pfl.algorithms.rounds import Held, Rounds, Turn, Undecided
from p2pfl.algorithms.rows import RowMix
from p2pfl.codec.tensors import payload_of, vector_of
from p2pfl.compute import ComputeLaw
from p2pfl.experiment import Experiment
from p2pfl.learning.row_training import RowTraining
from p2pfl.learning.trainer import Trainer
from p2pfl.messages import PresenceState
from p2pfl.results.record import RunResult
from p2pfl.results.tally import Tally
from p2pfl.simulation.accounts import Accounts
from p2pfl.simulation.ages import Ages
from p2pfl.simulation.beats import Alarms, Beat
from p2pfl.simulation.cast import Cast
from p2pfl.simulation.links import LinkLaw
from p2pfl.simulation.measuring import Learner, Measurements, Progress, run_result
from p2pfl.simulation.profile import Part, Profile
from p2pfl.simulation.timetable import Moments, Round, Times, Timetable
from p2pfl.types import Positions, Rows, frozen

_GATHERED_BYTES: Final = 1 << 30
"""Models that wait for the others of their evaluation: more is left to the event path."""


class Gathering:
    """What one evaluation will score: each node's models, gathered as its rounds come by."""

    def __init__(self, nodes: int, dimension: int) -> None:
        self.served: Rows = np.empty((nodes, dimension), np.float32)
        self.public: Rows = np.empty((nodes, dimension), np.float32)
        self.version = np.zeros(nodes, np.int64)
        self.missing = nodes

    def put(self, rows: Positions, version: int, served: Rows, public: Rows) -> None:
        """These nodes have this version then."""
        self.served[rows], self.public[rows], self.version[rows] = served, public[rows], version
        self.missing -= len(rows)


class RoundSimulation:
    """One run on its way, a round at a time."""

    def __init__(
        self,
        experiment: Experiment,
        trainer: Trainer,
        cast: Cast,
        rounds: Rounds,
        *,
        progress: Progress | None = None,
        profile: Profile | None = None,
    ) -> None:
        config = experiment.config
        self._experiment = experiment
        self._trainer = trainer
        self._cast = cast
        self._rounds = rounds
        self._profile = profile
        self._measured = Measurements(trainer, progress)
        self._names = cast.names
        settings = [member.settings for member in cast.members]
        self._local_steps = np.array([each.local_steps for each in settings])
        paces = [(each.step_sizes, each.local_steps) for each in settings]
        self._paces = list(dict.fromkeys(paces))
        """Every way to come from steps to step sizes, once."""
        self._pace = np.array([self._paces.index(pace) for pace in paces])
        self._training = RowTraining(trainer, self._names, self._local_steps.tolist())
        self._links = cast.links()
        self._mix = RowMix(self._links, trainer.dimension)
        self._codec = config.network.codec
        steps_max = settings[0].steps_max
        self._table = Timetable(
            self._links,
            self._latencies(),
            self._durations(),
            Moments(config.evaluation.every_s),
            versions_max=None if steps_max is None else ceil(steps_max / self._local_steps[0]),
            time_s=inf if config.stop.time_s is None else config.stop.time_s,
        )
        self._alarms = Alarms(
            len(settings),
            self._table.moments,
            liveness_floor_s=settings[0].policy.liveness_floor_s,
        )
        self._accounts = Accounts(
            self._links, self._table.latency_s, self._table.moments, time_s=self._table.time_s
        )
        self._ages = Ages(self._table)
        self._mixes = np.zeros(len(settings), np.int64)
        self._gathering: dict[int, Gathering] = {}
        self._final = self._new_gathering()
        self._hash = hashlib.blake2b(digest_size=16)

    def run(self) -> RunResult:
        """Let all rounds go by and sum up.

        Raises:
            Undecided: only the event path knows what happens.
        """
        with self._during("events"), self._training.spreading() as self._mix.spread:
            for this in self._table:
                self._hash.update(this.now.at_s.tobytes())
                self._hear(this)
                self._gather(this)
                if not this.last:
                    self._learn(this)
            return self._result()

    # ------------------------------------------------------------ words

    def _hear(self, this: Round) -> None:
        """Count what is said at this version and until the next, and when it is heard."""
        version, table, cast = this.version, self._table, self._cast
        self._accounts.publish(this.now, cast.model_sizes(version))
        state = PresenceState.TRAINING
        if version == 0:
            sizes = cast.presence_sizes(state, version)
            self._accounts.publish(this.now, sizes, control=True)
        if version == table.versions_max:
            state = PresenceState.FINISHED
            sizes = cast.presence_sizes(state, version)
            self._accounts.publish(this.now, sizes, control=True)
        self._beat(self._alarms.publish(this.then.at_s, this.now.begin_s), state, version)
        self._beat(self._beats_until_the_end(this), state, version)
        if version == table.versions_max:
            return
        if version + 1 != table.versions_max:
            # What is said then may be heard before some neighbour mixes this version.
            goes_on = np.isfinite(this.then.at_s)
            until_s = np.minimum(this.then.begin_s, table.time_s)
            beats = self._alarms.ring_until(np.where(goes_on, until_s, -inf))
            self._beat(beats, state, version + 1)
        self._ages.mix(this)
        self._mixes += this.now.begin_s < table.time_s

    def _beats_until_the_end(self, this: Round) -> list[Beat]:
        """Those of nodes that will say nothing else."""
        table, now = self._table, this.now
        if not table.finished:
            silent = np.isinf(this.then.at_s)
            return self._alarms.ring_until(np.where(silent, table.time_s, -inf))
        last = now.at_s == table.end_s
        return self._alarms.end(table.end_s, float(now.begun_s[last].max()))

    def _beat(self, beats: list[Beat], state: PresenceState, version: int) -> None:
        for beat in beats:
            heard = self._accounts.beat(beat, self._cast.presence_sizes(state, version))
            if state is PresenceState.TRAINING:
                self._ages.beat(*heard)

    # ------------------------------------------------------------ evaluations

    def _gather(self, this: Round) -> None:
        """Take the models of all evaluations that find a node at this version."""
        now, then = this.now, this.then
        here = now.after < then.after
        if here.any():
            for number in range(int(now.after[here].min()), int(then.after.max())):
                rows = np.flatnonzero((now.after <= number) & (number < then.after))
                self._put(number, rows, this, now.heard_after <= number)
        ends = np.flatnonzero(np.isinf(then.at_s) & np.isfinite(now.at_s))
        if len(ends):
            there = now.heard_s < (inf if self._table.finished else self._table.time_s)
            self._final.put(ends, this.version, *self._models(ends, there))
        for number in sorted(self._gathering):
            if self._gathering[number].missing:
                break
            self._take(number, self._gathering.pop(number))

    def _put(self, number: int, rows: Positions, this: Round, there: NDArray[np.bool_]) -> None:
        if not len(rows):
            return
        gathering = self._gathering.get(number)
        if gathering is None:
            gathering = self._gathering[number] = self._new_gathering()
            if len(self._gathering) * 2 * gathering.served.nbytes > _GATHERED_BYTES:
                raise Undecided
        gathering.put(rows, this.version, *self._models(rows, there))

    def _models(self, rows: Positions, there: NDArray[np.bool_]) -> tuple[Rows, Rows]:
        """What these nodes serve with the neighbours' models that are there, and all x."""
        with self._during("mixing"):
            row_mix = RowMix(self._links.among(rows, there), self._trainer.dimension)
            held = Held(self._heard(), self._links, there, row_mix)
            return self._rounds.served(rows, held), self._rounds.public()

    def _take(self, number: int, gathered: Gathering) -> None:
        out_bytes, in_bytes = self._accounts.by_evaluation(number)
        self._measure(self._table.moments.at_s(number), gathered, out_bytes, in_bytes)

    def _measure(
        self,
        at_s: float,
        gathered: Gathering,
        out_bytes: NDArray[np.int64],
        in_bytes: NDArray[np.int64],
    ) -> list[Learner]:
        with self._during("evaluation"):
            steps = gathered.version * self._local_steps
            learners = [
                Learner(
                    node=name,
                    version=int(gathered.version[i]),
                    steps=int(steps[i]),
                    staleness_max=0.0,
                    out_bytes=int(out_bytes[i]),
                    in_bytes=int(in_bytes[i]),
                    served=gathered.served[i],
                    public=gathered.public[i],
                )
                for i, name in enumerate(self._names)
            ]
            self._measured.take(at_s, learners, (out_bytes + in_bytes).tolist())
        return learners

    def _new_gathering(self) -> Gathering:
        return Gathering(len(self._names), self._trainer.dimension)

    # ------------------------------------------------------------ learning

    def _learn(self, this: Round) -> None:
        """From this version to the next, at every node that gets there."""
        which = np.flatnonzero(np.isfinite(this.then.at_s))
        turn = self._turn(this.version)
        with self._during("mixing"):
            plan = self._rounds.begin(Held(self._heard(), self._links, None, self._mix), turn)
        losses = self._training.train(plan.start, which, this.version, plan.correction)
        trained = plan.start if len(which) == len(plan.start) else plan.start[which]
        if not (np.isfinite(losses).all() and _finite(trained)):
            raise Undecided
        with self._during("mixing"):
            self._rounds.end(plan.start, turn)

    def _heard(self) -> tuple[Rows, ...]:
        """What is handed out at this version, as it comes through the wire."""
        models, *beside = self._rounds.handed_out()
        if self._codec == "float32":
            return models, *beside
        sent = payload_of(models.reshape(-1), self._codec)
        return vector_of(sent, self._codec).reshape(models.shape), *beside

    def _turn(self, version: int) -> Turn:
        sizes = [step_sizes(version * steps, steps) for step_sizes, steps in self._paces]
        return Turn(version, self._local_steps, np.array(sizes)[self._pace])

    # ------------------------------------------------------------ times

    def _latencies(self) -> Times:
        network = self._experiment.config.network
        law = LinkLaw(network, seed=self._experiment.config.seed)
        names = self._names
        return np.array(
            [
                law.mean_latency_s(names[sender], names[receiver])
                for sender, receiver in zip(
                    self._links.sender.tolist(), self._links.receiver.tolist(), strict=True
                )
            ],
            dtype=np.float64,
        )

    def _durations(self) -> Callable[[int, Positions], Times]:
        config = self._experiment.config
        law = ComputeLaw(config.compute, seed=config.seed)
        everybody, steps = list(self._names), self._local_steps.tolist()

        def duration_s(version: int, nodes: Positions) -> Times:
            if len(nodes) == len(everybody):
                return np.array(law.durations_s(everybody, steps, version))
            chosen = nodes.tolist()
            some = [everybody[i] for i in chosen]
            return np.array(law.durations_s(some, [steps[i] for i in chosen], version))

        return duration_s

    # ------------------------------------------------------------ the end

    def _result(self) -> RunResult:
        table, final = self._table, self._final
        end_s = max(table.end_s, self._accounts.last_s) if table.finished else table.time_s
        endpoints = self._accounts.endpoints(finished=table.finished)
        self._measured.forget(end_s)
        frozen(final.served), frozen(final.public)
        learners = self._measure(
            end_s, final, self._accounts.sent.bytes, self._accounts.received.bytes
        )
        return run_result(
            self._experiment,
            self._trainer,
            self._measured,
            duration_s=end_s,
            nodes=[
                self._tally(i, int(final.version[i])).totals(endpoint, {})
                for i, endpoint in enumerate(endpoints)
            ],
            learners=learners,
            trace_hash=self._hash.hexdigest(),
        )

    def _tally(self, i: int, version: int) -> Tally:
        steps = version * int(self._local_steps[i])
        return Tally(
            self._names[i],
            "node",
            versions=version,
            steps=steps,
            samples=steps * self._experiment.config.training.batch_size,
            mixes=int(self._mixes[i]),
            age_max_s=float(self._ages.age_max_s[i]),
            outcome="finished",
        )

    def _during(self, part: Part) -> AbstractContextManager[None]:
        return nullcontext() if self._profile is None else self._profile.during(part)


def _finite(rows: Rows) -> bool:
    """False if any number is infinite or not a number; one pass where there is none."""
    flat = rows.reshape(-1)
    with np.errstate(over="ignore", invalid="ignore"):
        return bool(np.isfinite(np.dot(flat, flat)) or np.isfinite(flat).all())
