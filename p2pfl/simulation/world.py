"""The virtual world: one heap of events, one seed, the same nodes as in real time.

Training is lazy. `Train` is a pure function of its effect and its duration never depends on its
result, so a training is computed only when its `Trained` event is due, and then together with
all others that are under way, in one call of the trainer. A crash discards the result.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from math import inf

from p2pfl.compute import ComputeLaw
from p2pfl.draws import draw_bits
from p2pfl.learning.trainer import Trainer, TrainJob
from p2pfl.messages import (
    AnyEvent,
    Effect,
    Ended,
    Incarnation,
    ModelMessage,
    PeerLost,
    Presence,
    PresenceState,
    Publish,
    Received,
    Record,
    Rewired,
    Send,
    Started,
    Stop,
    Train,
    Trained,
    Wake,
    Woken,
)
from p2pfl.protocol.node import Node
from p2pfl.protocol.phase import Phase
from p2pfl.results.tally import Tally
from p2pfl.simulation.calendar import Action, Calendar
from p2pfl.simulation.checkpoint import Checkpoint
from p2pfl.simulation.devices import Devices
from p2pfl.simulation.inhabitant import Inhabitant, Training
from p2pfl.simulation.network import Endpoint, Parcel, StarNetwork
from p2pfl.simulation.trace import Trace
from p2pfl.types import NodeId


def _nothing() -> None:
    """Nobody wants to be told."""


class World(Calendar):
    """Runs nodes in virtual time. Deterministic: same arguments, same trace, bit for bit."""

    def __init__(
        self,
        *,
        make_node: Callable[[NodeId], Node],
        hearers: Mapping[NodeId, tuple[NodeId, ...]],
        servers: frozenset[NodeId],
        trainer: Trainer,
        batch_size: int,
        law: ComputeLaw,
        devices: Devices,
        network: StarNetwork,
        trace: Trace,
        seed: int,
    ) -> None:
        super().__init__()
        self.trainer = trainer
        self.network = network
        self.trace = trace
        self.checkpoints = False
        """Nodes keep what `save` finds, and go on from it when they come back."""
        self.node_steps = 0
        self.batches = 0
        """Calls of the trainer: node updates over this is the mean batch width."""
        self._make_node = make_node
        self._batch_size = batch_size
        self._law = law
        self._devices = devices
        self._seed = seed
        self._under_way: dict[NodeId, Training] = {}
        self.on_change: Callable[[], None] = _nothing
        """Told when a node has gone or come."""
        self.some_stopped = False
        """Somebody has stopped since `quiet` was last asked."""
        self.inhabitants = {
            name: Inhabitant(
                name=name,
                node=make_node(name),
                tally=Tally(name, "server" if name in servers else "node"),
                endpoint=network.endpoints.setdefault(name, Endpoint()),
                hearers=heard_by,
            )
            for name, heard_by in hearers.items()
        }
        network.connect(self, self.deliver)

    # ------------------------------------------------------------ beginning and end

    def start(self) -> None:
        """Bring every node that is there to life at time 0, in order."""
        for one in self.inhabitants.values():
            if one.alive:
                self.at(0.0, partial(self._begin, one, False))

    def end(self, reason: str) -> None:
        """Tell every living node that the run is over."""
        for one in self.inhabitants.values():
            if one.alive:
                self._happen(one, Ended(reason))

    @property
    def quiet(self) -> bool:
        """True if every living node's own work is done (looked up when one has stopped)."""
        if not self.some_stopped:
            return False
        self.some_stopped = False
        done = (Phase.FINISHED, Phase.ENDED)
        return all(not one.alive or one.node.phase in done for one in self.inhabitants.values())

    # ------------------------------------------------------------ life and death

    def crash(self, name: NodeId) -> None:
        """The node dies at once: its training is lost, and the broker tells its neighbours."""
        one = self.inhabitants[name]
        if not one.alive:
            return
        self._take_out(one, "crashed")
        self.network.hang_up(name)
        lost = PeerLost(name, self._incarnation(one))
        for hearer in one.hearers:
            if not self.network.apart(name, hearer):
                latency_s = self.network.law.mean_latency_s(name, hearer)
                self.at(self.now_s + latency_s, partial(self._tell, hearer, lost))

    def vanish(self, name: NodeId) -> None:
        """The node's device sleeps and never wakes: nobody tells its neighbours."""
        one = self.inhabitants[name]
        if one.alive:
            self._take_out(one, "asleep")
        self.network.hang_up(name)

    def leave(self, name: NodeId) -> None:
        """The node says goodbye and is gone; what it has not sent yet still goes out first."""
        one = self.inhabitants[name]
        if not one.alive or self._waits(one, partial(self.leave, name)):
            return
        self.save(name)
        self._take_out(one, "left")
        settings = one.node.settings
        goodbye = Presence(
            run=settings.run,
            node=name,
            incarnation=self._incarnation(one),
            state=PresenceState.LEFT,
            sent_s=self.now_s,
            digest=settings.digest,
        )
        self.network.carry(name, goodbye, one.hearers, retain=True)

    def keep_out(self, name: NodeId) -> None:
        """Before the start: the node is not there yet; `restart` brings it in."""
        one = self.inhabitants[name]
        one.alive, one.life, one.tally.outcome = False, 0, "absent"
        self.on_change()

    def save(self, name: NodeId) -> None:
        """Let the node remember what it is now, if it keeps checkpoints and is awake."""
        one = self.inhabitants[name]
        if self.checkpoints and one.alive and not one.asleep:
            one.checkpoint = Checkpoint(one.node.saved(), one.momentum)

    def restart(self, name: NodeId) -> None:
        """The node comes (back) with its data and its last checkpoint, and hears what was kept."""
        one = self.inhabitants[name]
        if one.alive or self._waits(one, partial(self.restart, name)):
            return
        one.alive = True
        one.life += 1
        one.node = self._make_node(name)
        if one.checkpoint is not None:
            one.momentum = one.checkpoint.momentum
        one.tally.outcome = "running"
        self.on_change()
        self._begin(one, True)
        self.network.fetch(name, one.node.neighbourhood.peers)

    def sleep(self, name: NodeId) -> None:
        """The node's device computes, sends and hears nothing until it wakes; nobody is told."""
        self.inhabitants[name].asleep = True
        self.network.pause(name)

    def wake(self, name: NodeId) -> None:
        """The device goes on: first what is overdue, then what the broker kept meanwhile."""
        one = self.inhabitants[name]
        one.asleep, life = False, one.life
        self.network.resume(name)
        overdue, one.overdue = one.overdue, []
        for action in overdue:
            action()
        if one.life == life:
            self.rehear(name, one.node.neighbourhood.peers)

    def rehear(self, name: NodeId, peers: Iterable[NodeId]) -> None:
        """The node subscribes anew to these peers, and hears what the broker kept of them."""
        one = self.inhabitants[name]
        if one.alive and not one.asleep:
            self.network.fetch(name, peers)

    def rewire(self, name: NodeId, row: tuple[tuple[NodeId, float], ...]) -> None:
        """From now on the node hears these (with w_ij), and they hear it."""
        one = self.inhabitants[name]
        if not one.alive or self._waits(one, partial(self.rewire, name, row)):
            return
        one.hearers = tuple(peer for peer, _ in row)
        known = one.node.neighbourhood.peers
        if row != tuple((peer.node, peer.weight) for peer in known.values()):
            self._happen(one, Rewired(row))
            self.network.fetch(name, [peer for peer in one.hearers if peer not in known])

    def _take_out(self, one: Inhabitant, outcome: str) -> None:
        one.alive = False
        one.training = one.momentum = None
        self._under_way.pop(one.name, None)
        one.tally.outcome = outcome
        self.some_stopped = True
        self.on_change()

    def _waits(self, one: Inhabitant, action: Action) -> bool:
        """True if the device sleeps: `action` will happen when it wakes."""
        if one.asleep:
            one.overdue.append(action)
        return one.asleep

    def _incarnation(self, one: Inhabitant) -> Incarnation:
        return Incarnation(one.life, draw_bits(self._seed, one.name, "incarnation", one.life))

    # ------------------------------------------------------------ events to nodes

    def _happen(self, one: Inhabitant, event: AnyEvent) -> None:
        self._decided(one, event, one.node.handle(event, self.now_s))

    def _decided(self, one: Inhabitant, event: AnyEvent, effects: Sequence[Effect]) -> None:
        self.trace.add(self.now_s, one.name, event, effects)
        for effect in effects:
            self._perform(one, effect)

    def _perform(self, one: Inhabitant, effect: Effect) -> None:
        match effect:
            case Train():
                self._begin_training(one, effect)
            case Publish(message):
                self.network.carry(one.name, message, one.hearers, retain=True)
            case Send(peer, message):
                self.network.carry(one.name, message, (peer,), retain=False)
            case Wake(at_s, token):
                self.at(at_s, partial(self._wake, one, one.life, token))
            case Record():
                one.tally.add_mix(effect)
            case Stop(reason):
                self.some_stopped = True
                one.tally.outcome = "finished" if not reason.startswith("diverged") else reason

    def deliver(self, parcel: Parcel) -> None:
        """Hand a parcel to those of its receivers who are there; most decide nothing."""
        event = Received(parcel.message, retained=parcel.retained)
        now_s, inhabitants, silent = self.now_s, self.inhabitants, []
        size, control = parcel.size_bytes, not isinstance(parcel.message, ModelMessage)
        for name in parcel.receivers:
            one = inhabitants[name]
            if one.alive and not one.asleep:
                one.endpoint.count_in(size, control=control)
                effects = one.node.handle(event, now_s)
                if effects:
                    self._decided(one, event, effects)
                else:
                    silent.append(name)
        everybody = len(silent) == len(parcel.receivers)
        self.trace.heard(now_s, parcel.receivers if everybody else silent, event)

    # ------------------------------------------------------------ actions

    # An action is a method and its arguments. A closure that names itself, to be put off, would be
    # a cycle: it would keep a dead training's vectors until the next collection of garbage.

    def _begin(self, one: Inhabitant, rejoining: bool) -> None:  # noqa: FBT001 - called by position
        if one.alive and not self._waits(one, partial(self._begin, one, True)):
            saved = None if one.checkpoint is None else one.checkpoint.saved
            self._happen(one, Started(self._incarnation(one), rejoining, saved))

    def _tell(self, name: NodeId, event: AnyEvent) -> None:
        one = self.inhabitants[name]
        if one.alive and not one.asleep:
            self._happen(one, event)

    def _wake(self, one: Inhabitant, life: int, token: int) -> None:
        if not one.alive or one.life != life:
            return
        if not self._waits(one, partial(self._wake, one, life, token)):
            self._happen(one, Woken(token))

    # ------------------------------------------------------------ training

    def _begin_training(self, one: Inhabitant, effect: Train) -> None:
        token, start, first_step, steps, correction, fresh_optimizer, proximal = effect
        momentum = None if fresh_optimizer else one.momentum
        job = TrainJob(one.name, start, first_step, steps, momentum, correction, proximal)
        training = Training(job, token)
        one.training = self._under_way[one.name] = training
        duration_s = self._law.duration_s(one.name, steps, one.updates)
        one.updates += 1
        end_s = self._devices.end_s(one.name, self.now_s, duration_s)
        if end_s < inf:
            self.at(end_s, partial(self._end_training, one, training))

    def _end_training(self, one: Inhabitant, training: Training) -> None:
        if one.training is not training:
            return
        if self._waits(one, partial(self._end_training, one, training)):
            return
        if training.outcome is None:
            self._compute()
        outcome = training.outcome
        assert outcome is not None
        one.training = None
        one.momentum = outcome.momentum
        one.tally.steps += training.job.steps
        one.tally.samples += training.job.steps * self._batch_size
        one.tally.versions += 1
        self.node_steps += training.job.steps
        self._happen(one, Trained(training.token, outcome.vector, outcome.loss))

    def _compute(self) -> None:
        """Do all trainings that are under way in one call."""
        pending = list(self._under_way.values())
        self._under_way.clear()
        outcomes = self.trainer.train([training.job for training in pending])
        self.batches += 1
        for training, outcome in zip(pending, outcomes, strict=True):
            training.outcome = outcome
