"""A recorded run once more, in virtual time: the same nodes, the same events, the same times.

No vector was recorded. A model that came in is the one that the replayed sender handed out, as the
wire rounds it; a trained one is trained again. So the lives of all nodes go on side by side, each
in its recorded order, and one that is to hear a model waits until its sender has made it.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from heapq import heapify, heappop, heappush
from itertools import zip_longest
from json import loads
from pathlib import Path
from typing import Final, NamedTuple, assert_never

from p2pfl.codec.frame import decode, encode
from p2pfl.config.load import config_from_mapping
from p2pfl.errors import DataError
from p2pfl.experiment import Experiment
from p2pfl.learning.trainer import Trainer, TrainJob
from p2pfl.messages import (
    Effect,
    Ended,
    Event,
    ModelMessage,
    PeerLost,
    Publish,
    Received,
    Send,
    Started,
    Train,
    Trained,
    Woken,
)
from p2pfl.protocol.node import Node
from p2pfl.results.checkpoint import SUFFIX as CHECKPOINT
from p2pfl.results.checkpoint import Checkpoint, load_checkpoint
from p2pfl.results.history import (
    Head,
    HeardModel,
    Left,
    ModelName,
    Step,
    WasTrained,
    decision_line,
    handed_out,
    name_of,
    vector_hash,
)
from p2pfl.results.read_history import find_histories, read_head, read_steps
from p2pfl.simulation.trace import Trace
from p2pfl.types import NodeId, Vector

_NOTHING: Final = '{"did":[],"made":""}'
_SHOWN: Final = 300
"""Characters of a decision in a sentence."""


class Difference(NamedTuple):
    """Where the replay is not what was recorded."""

    where: str
    """Node, life, time since the record began, file and line."""
    recorded: str
    replayed: str

    def __str__(self) -> str:
        return f"{self.where}: recorded {self.recorded}, replayed {self.replayed}"


@dataclass(slots=True)
class Verified:
    """What has been compared so far."""

    events: int = 0
    decisions: int = 0
    vectors: int = 0
    """Trained, handed-out and final models whose bits were compared."""
    vectors_differ: int = 0
    first_vector: Difference | None = None
    """The first model with other bits: where arithmetic went another way."""
    decision: Difference | None = None
    """The first other decision. The replay stops there: what follows would be another run."""
    since_s: float = 0.0
    """Recorded seconds, from the first event to the newest."""


class Life:
    """One recorded life on its way through the replay."""

    def __init__(self, file: Path, head: Head) -> None:
        self.file = file
        self.head = head
        self.machine: Node | None = None
        self.left: tuple[Vector, Vector] | None = None
        """The served model and x, once it has ended in order."""
        self.checkpoint: Checkpoint | None = None
        """What this life went on from."""
        self.momentum: Vector | None = None
        self.trainings: dict[int, Train] = {}
        self.steps = read_steps(file)
        self.next: Step | None = next(self.steps, None)
        self.shift_s = head.unix_s - head.at_s

    def __repr__(self) -> str:
        return f"<Life {self.head.life[0]} of {self.machine!r}>"

    @property
    def due_s(self) -> float:
        """When its next event happened, on a clock about common to all machines."""
        assert self.next is not None
        return self.next.at_s + self.shift_s


class Replay:
    """Repeats the run whose record lies in `folder`; `run` to the end, or `step` by step.

    `trainer` may be handed in to share loaded data; it must be the plain one, as real nodes have
    it. `experiment` and `lives` are as recorded; a life's `machine` may be looked at between steps.

    Raises:
        DataError: there is no record, or one of several runs, or a damaged one.
        ConfigError: this version does not take the recorded experiment.
    """

    def __init__(
        self, folder: Path, *, trainer: Trainer | None = None, trace: Trace | None = None
    ) -> None:
        self.lives = [Life(file, read_head(file)) for file in find_histories(folder)]
        self.lives.sort(key=lambda life: (life.head.node, life.head.life))
        first = self.lives[0].head
        for life in self.lives:
            if (life.head.run, life.head.experiment) != (first.run, first.experiment):
                raise DataError(
                    f"{life.file}: belongs to run {life.head.run}, {self.lives[0].file} to"
                    f" {first.run}: a folder holds the record of one run"
                )
        self.experiment = _experiment(first, folder)
        self.verified = Verified()
        self._trainer = _plain_trainer(self.experiment) if trainer is None else trainer
        self._trace = trace
        x0 = self._trainer.initial()
        for life in self.lives:
            life.machine = self.experiment.make_node(
                life.head.node, run=first.run, trainer=self._trainer, x0=x0
            )
            life.checkpoint = load_checkpoint(
                life.file.with_suffix(CHECKPOINT), life.machine.algorithm
            )
        self._uses = _count_uses(self.lives)
        self._made: dict[ModelName, ModelMessage] = {}
        self._decoded: set[ModelName] = set()
        self._waiting: dict[ModelName, list[int]] = {}
        self._heap = [(life.due_s, i) for i, life in enumerate(self.lives) if life.next is not None]
        heapify(self._heap)
        self._began_s = self._heap[0][0] if self._heap else 0.0

    def __repr__(self) -> str:
        return f"<Replay of {len(self.lives)} lives: {self.verified}>"

    @property
    def nodes(self) -> tuple[NodeId, ...]:
        """Whose lives are recorded."""
        return tuple(sorted({life.head.node for life in self.lives}))

    @property
    def served(self) -> Mapping[NodeId, Vector]:
        """The served model of each node whose last life ended in order."""
        return {life.head.node: life.left[0] for life in self.lives if life.left is not None}

    @property
    def public(self) -> Mapping[NodeId, Vector]:
        """The same nodes' own x."""
        return {life.head.node: life.left[1] for life in self.lives if life.left is not None}

    def run(self, progress: Callable[[Verified], None] | None = None) -> Verified:
        """Repeat all of it, or up to the first decision that is not as recorded.

        Raises:
            DataError: a node heard a model whose making is not recorded.
        """
        for _ in self.step():
            if progress is not None:
                progress(self.verified)
        return self.verified

    def step(self) -> Iterator[tuple[Life, Step]]:
        """Repeat event after event; each is told once it has happened."""
        while self._heap and self.verified.decision is None:
            _, index = heappop(self._heap)
            life = self.lives[index]
            step = life.next
            assert step is not None
            if isinstance(step.what, HeardModel) and step.what.name not in self._made:
                self._waiting.setdefault(step.what.name, []).append(index)
                continue
            self._repeat(life, step)
            life.next = next(life.steps, None)
            if life.next is not None:
                heappush(self._heap, (life.due_s, index))
            yield life, step
        if self._waiting and self.verified.decision is None:
            raise DataError(self._what_is_missing())

    # ------------------------------------------------------------ one event

    def _repeat(self, life: Life, step: Step) -> None:
        machine, what, verified = life.machine, step.what, self.verified
        assert machine is not None
        verified.events += 1
        verified.since_s = max(verified.since_s, step.at_s + life.shift_s - self._began_s)
        if isinstance(what, Left):
            life.left = machine.served(step.at_s), machine.public()
            hashes = [vector_hash(vector) for vector in life.left]
            self._compare_vectors(life, step, "final models", [what.served, what.public], hashes)
            return
        event = self._event(life, step)
        if event is None:
            return
        effects = machine.handle(event, step.at_s)
        self._compare_decisions(life, step, effects)
        if self._trace is not None:
            self._trace.add(step.at_s, life.head.node, event, effects)
        for effect in effects:
            match effect:
                case Train():
                    life.trainings[effect.token] = effect
                case Publish(ModelMessage() as message) | Send(_, ModelMessage() as message):
                    self._keep(message)
                case _:
                    pass

    def _event(self, life: Life, step: Step) -> Event | None:
        what = step.what
        match what:
            case HeardModel(name, version, retained):
                message = self._take(name)
                if message.header.version != version:
                    told = f"version {message.header.version}"
                    self._stop(life, step, f"version {version} as {name}", told)
                    return None
                return Received(message, retained)
            case WasTrained():
                return self._train(life, step, what)
            case Started(incarnation, rejoining) if life.checkpoint is not None:
                life.momentum = life.checkpoint.momentum
                return Started(incarnation, rejoining, life.checkpoint.saved)
            case Started() | Received() | PeerLost() | Woken() | Ended():
                return what
            case Left():
                raise AssertionError
            case _:
                assert_never(what)

    def _train(self, life: Life, step: Step, was: WasTrained) -> Event | None:
        """Train as recorded; the optimizer's new state counts from when the outcome came."""
        effect = life.trainings.pop(was.token, None)
        if effect is None:
            self._stop(life, step, f"the end of training {was.token}", "no such training")
            return None
        job = TrainJob(
            node=life.head.node,
            start=effect.start,
            first_step=effect.first_step,
            steps=effect.steps,
            momentum=None if effect.fresh_optimizer else life.momentum,
            correction=effect.correction,
            proximal=effect.proximal,
        )
        (outcome,) = self._trainer.train([job])
        life.momentum = outcome.momentum
        hashed = vector_hash(outcome.vector)
        self._compare_vectors(life, step, f"training {was.token}", [was.hash], [hashed])
        return Trained(was.token, outcome.vector, outcome.loss)

    # ------------------------------------------------------------ models between lives

    def _keep(self, message: ModelMessage) -> None:
        """Keep a model that somebody will hear, and wake who waits for it."""
        name = name_of(message)
        if name in self._made or not self._uses[name]:
            return
        self._made[name] = message
        for index in self._waiting.pop(name, ()):
            heappush(self._heap, (self.lives[index].due_s, index))

    def _take(self, name: ModelName) -> ModelMessage:
        """The model as it came off the wire; forgotten after its last use."""
        message = self._made[name]
        if name not in self._decoded:
            frame = encode(message, dtype=self.experiment.config.network.codec)
            decoded = decode(frame.join())
            assert isinstance(decoded, ModelMessage)
            message = self._made[name] = decoded
            self._decoded.add(name)
        self._uses[name] -= 1
        if not self._uses[name]:
            del self._made[name]
            self._decoded.remove(name)
        return message

    def _what_is_missing(self) -> str:
        """The sentence on the model that holds all up, at the end of the chain of those waiting."""
        lives = {(one.head.node, *one.head.life): one for one in self.lives}
        held = {i: name for name, those in self._waiting.items() for i in those}
        life = self.lives[min(held, key=lambda i: self.lives[i].due_s)]
        passed: list[Life] = []
        while True:
            step = life.next
            assert step is not None
            assert isinstance(step.what, HeardModel)
            name = step.what.name
            sender = lives.get(name[:3])
            passed.append(life)
            if sender is None:
                why = f"there is no record of that life of {name.node}: copy it here too"
            elif sender.next is None:
                why = f"the record of that life, {sender.file.name}, ends before it was made"
            elif sender in passed:
                why = f"that life, {sender.file.name}:{sender.next.line}, waits for it in turn"
            else:
                life = sender
                continue
            return f"{self._where(life, step)}: heard {name}, and {why}"

    # ------------------------------------------------------------ comparing

    def _compare_decisions(self, life: Life, step: Step, effects: list[Effect]) -> None:
        if step.decided is None:
            return
        replayed = decision_line(effects)
        if step.decided == replayed:
            self.verified.decisions += len(effects)
            self.verified.vectors += len(handed_out(effects))
            return
        was, now = (loads(line or _NOTHING) for line in (step.decided, replayed))
        for one, other in zip_longest(was["did"], now["did"], fillvalue="nothing"):
            if str(one) != str(other):
                self._stop(life, step, str(one)[:_SHOWN], str(other)[:_SHOWN])
                return
            self.verified.decisions += 1
        hashes = was["made"].split(), now["made"].split()
        self._compare_vectors(life, step, "a model handed out", *hashes)

    def _compare_vectors(
        self, life: Life, step: Step, what: str, recorded: list[str], replayed: list[str]
    ) -> None:
        verified = self.verified
        verified.vectors += len(recorded)
        if recorded != replayed:
            verified.vectors_differ += sum(a != b for a, b in zip(recorded, replayed, strict=True))
            if verified.first_vector is None:
                verified.first_vector = Difference(
                    f"{self._where(life, step)}: {what}", " ".join(recorded), " ".join(replayed)
                )

    def _stop(self, life: Life, step: Step, recorded: str, replayed: str) -> None:
        self.verified.decision = Difference(self._where(life, step), recorded, replayed)

    def _where(self, life: Life, step: Step) -> str:
        at_s = step.at_s + life.shift_s - self._began_s
        place = f"{life.file.name}:{step.line}"
        return f"{life.head.node}, life {life.head.life[0]}, at {at_s:.6f} s ({place})"


def _experiment(head: Head, folder: Path) -> Experiment:
    there = Path(head.folder)
    config = config_from_mapping(head.experiment, source=f"{folder}: the recorded experiment")
    return Experiment(config, folder=there if there.is_dir() else folder)


def _plain_trainer(experiment: Experiment) -> Trainer:
    simulation = replace(experiment.config.simulation, trainer="loop")
    return experiment.replace(simulation=simulation).make_trainer()


def _count_uses(lives: list[Life]) -> Counter[ModelName]:
    """How often each model is heard: it can be forgotten after the last time."""
    uses: Counter[ModelName] = Counter()
    for life in lives:
        for step in read_steps(life.file):
            if isinstance(step.what, HeardModel):
                uses[step.what.name] += 1
    return uses
