"""One node in real time: performs what its state machine wants, with asyncio and a transport.

join -> say `joining` -> wait for the go -> drive the node -> the run's end -> final score
"""

import asyncio
import math
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from p2pfl.errors import TransportError
from p2pfl.learning.trainer import Score
from p2pfl.messages import (
    Effect,
    Ended,
    Event,
    Incarnation,
    Presence,
    PresenceState,
    Publish,
    Record,
    Send,
    Started,
    Stop,
    Train,
    Trained,
    Wake,
    Woken,
)
from p2pfl.protocol.node import Node
from p2pfl.protocol.peers import Peer
from p2pfl.protocol.phase import Phase
from p2pfl.results.record import NodeTotals
from p2pfl.results.tally import Tally
from p2pfl.runtime.account import report_of, totals_of
from p2pfl.runtime.company import Company
from p2pfl.runtime.core import Core
from p2pfl.runtime.keeper import Keeper
from p2pfl.runtime.recorder import Recorder
from p2pfl.runtime.rows import Report, to_row
from p2pfl.runtime.worker import Worker
from p2pfl.transport.base import Membership, Transport
from p2pfl.types import NodeId, Vector

END_WAIT_S: Final = 30.0
"""A node at its time limit waits so long for the word of the process that gave the go."""

LINGER_S: Final = 2.0
"""And so long for its neighbours, where no such process is."""

FLUSH_S: Final = 5.0

_PUNCTUAL: Final = 0.1
"""Less than this part of the cadence after an evaluation's time, it is not too late for it."""

Go = Callable[[], Awaitable[object]]
"""Returns when the process that started the run has given the go."""

Tell = Callable[[Report], None]
"""Shown each report as it is made."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class NodeOutcome:
    """What one node's life in a run came to."""

    totals: NodeTotals
    served: Vector
    public: Vector
    score: Score | None
    """Of the served model; None for a server."""
    reason: str
    """Why the run ended for this node."""
    duration_s: float
    """From the go to the end."""
    slept_s: float
    """Seconds that the node slept to keep its pace."""
    missed_s: float
    """Seconds by which its trainings took longer than their pace allows."""


class Life:
    """The node's machine, its effects performed, and what was counted on the way."""

    def __init__(
        self,
        machine: Node,
        transport: Transport,
        worker: Worker,
        *,
        learns: bool,
        batch_size: int,
        every_s: float,
        time_s: float | None,
        supervised: bool,
        linger_s: float,
        tell: Tell | None,
        recorder: Recorder | None = None,
        keeper: Keeper | None = None,
        company: Company | None = None,
    ) -> None:
        self.machine = machine
        self.tally = Tally(machine.settings.node, "node" if learns else "server")
        self._transport = transport
        self._worker = worker
        self._learns = learns
        self._batch_size = batch_size
        self._every_s = every_s
        self._time_s = time_s
        self._supervised = supervised
        self._linger_s = linger_s
        self._tell = tell
        self._incarnation = Incarnation(0, 0)
        self._began_s = math.nan
        self._order = asyncio.Lock()
        """Events are handled one after the other, also where that takes a thread and a while."""
        self._recorder = recorder
        self._keeper = keeper
        self._company = company or Company()
        self._core = Core(machine, recorder, niceness=worker.niceness)
        self._trainings: asyncio.Queue[Train] = asyncio.Queue()
        self._due: asyncio.Queue[int] = asyncio.Queue()
        self._heard = asyncio.Event()
        """Something came in that may let the node start."""
        self._stopped = asyncio.Event()
        self._over = asyncio.Event()
        self._word = ""
        """Why the run ended, once it has."""

    def __repr__(self) -> str:
        return f"<Life of {self.machine!r} over {self._transport!r}>"

    async def live(
        self, membership: Membership, *, go: Go | None, since_s: float | None
    ) -> NodeOutcome:
        """From joining to leaving. Cancelled, the node says that it leaves, and may come back."""
        self._incarnation, rejoining = await self._transport.join(membership)
        self._transport.publish(self._presence(PresenceState.JOINING, membership.digest))
        self._company.joined()
        if self._recorder is not None:
            found = None if self._keeper is None else self._keeper.found
            self._recorder.open(self._incarnation, _now(), found)
        try:
            async with asyncio.TaskGroup() as group:
                outcome = await self._course(group, go, since_s=since_s, rejoining=rejoining)
        except BaseExceptionGroup as problems:
            fault = _first(problems)
            if not isinstance(fault, TransportError):
                await self._leave_early()
            raise fault from None
        except asyncio.CancelledError:
            await self._leave_early()
            raise
        await self._transport.leave(clear=True)
        return outcome

    def close(self) -> None:
        """Begin nothing more."""
        self._core.close()
        self._worker.close()

    async def _course(
        self, group: asyncio.TaskGroup, go: Go | None, *, since_s: float | None, rejoining: bool
    ) -> NodeOutcome:
        name = f"p2pfl {self.machine.settings.node}"
        tasks = [
            group.create_task(self._receive(), name=f"{name} receive"),
            group.create_task(self._keep_time(), name=f"{name} clock"),
            group.create_task(self._train(), name=f"{name} train"),
        ]
        try:
            await self._wait_for_the_go(go, rejoining=rejoining)
            # Whoever comes late starts from its neighbours' models, as one that comes back.
            rejoining = rejoining or (go is None and self._came_late())
            now = _now()
            self._began_s = now if since_s is None else since_s
            self._company.began()
            if not self._over.is_set():
                saved = None if self._keeper is None else self._keeper.saved
                await self._happen(Started(self._incarnation, rejoining, saved))
            tasks.append(group.create_task(self._sample_on_time(), name=f"{name} evaluate"))
            reason = await self._wait_for_the_end()
            tasks.pop().cancel()
            return await self._finish(reason)
        finally:
            for task in tasks:
                task.cancel()

    # ------------------------------------------------------------ beginning and end

    async def _wait_for_the_go(self, go: Go | None, *, rejoining: bool) -> None:
        """Until the word `go` or `end`, or, standing alone, until all neighbours are there."""
        if go is not None:
            tasks = [asyncio.ensure_future(_waited(go())), asyncio.create_task(self._over.wait())]
            try:
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                if tasks[0].done():
                    tasks[0].result()
            finally:
                for task in tasks:
                    task.cancel()
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(self._company.wait_s):
                while not (rejoining or self._over.is_set() or self._neighbours_are_there()):
                    self._heard.clear()
                    await self._heard.wait()

    def _neighbours_are_there(self) -> bool:
        """All have been heard of, or the run is plainly under way."""
        peers = self._peers()
        there = sum(p.incarnation is not None for p in peers)
        least = self._company.least
        return self._under_way() or there >= min(len(peers), len(peers) if least is None else least)

    def _came_late(self) -> bool:
        """Some neighbour has updates behind it, or was at work before this node listened."""
        return any(
            peer.version > 0 or (peer.state is PresenceState.TRAINING and peer.heard_s is None)
            for peer in self._peers()
        )

    def _under_way(self) -> bool:
        """Some neighbour is at work already."""
        states = (PresenceState.TRAINING, PresenceState.FINISHED)
        return any(peer.state in states for peer in self._peers())

    async def _wait_for_the_end(self) -> str:
        """Until the word `end`, the time limit, or until nobody is left to answer to."""
        until_s = None if self._time_s is None else self._began_s + self._time_s
        try:
            async with asyncio.timeout_at(until_s):
                await self._over.wait()
        except TimeoutError:
            return "time"
        return self._word

    def _end(self, word: str) -> None:
        if not self._over.is_set():
            self._word = word
            self._over.set()

    async def _finish(self, reason: str) -> NodeOutcome:
        """Take the final models at once, before neighbours begin to leave, then score them."""
        now = _now()
        await self._happen(Ended(reason))
        served, public = await self._core.last(now), self.machine.public()
        # Only now does no event change the node any more, while the disk is slow.
        if self._keeper is not None:
            await self._keeper.keep()
        if self.tally.outcome == "running":
            self.tally.outcome = "finished"
        score, took_s = await self._score(served)
        self._report(self._account(now).scored(score, took_s))
        if self._supervised:
            with suppress(TimeoutError):
                async with asyncio.timeout(END_WAIT_S):
                    await self._over.wait()
        else:
            await asyncio.sleep(self._linger_s)
        return NodeOutcome(
            totals=totals_of(self.machine, self.tally, self._transport.traffic),
            served=served,
            public=public,
            score=score,
            reason=reason,
            duration_s=now - self._began_s,
            slept_s=self._worker.pace.slept_s,
            missed_s=self._worker.pace.missed_s,
        )

    async def _leave_early(self) -> None:
        """Say `left`, so that nobody waits; what is retained stays for the next life."""
        if self._keeper is not None and not math.isnan(self._began_s):
            await self._keeper.keep()
        with suppress(TransportError, TimeoutError):
            async with asyncio.timeout(FLUSH_S):
                await self._transport.leave(clear=False)

    # ------------------------------------------------------------ events and effects

    async def _happen(self, event: Event) -> None:
        """Hand one event to the machine and perform its effects, in order. Waits for no send."""
        async with self._order:
            self._perform(await self._core.handle(event, _now()))

    def _perform(self, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case Train():
                    self._trainings.put_nowait(effect)
                case Publish(message):
                    self._transport.publish(message)
                case Send(peer, message):
                    self._transport.send(peer, message)
                case Wake(at_s, token):
                    asyncio.get_running_loop().call_at(at_s, self._due.put_nowait, token)
                case Record():
                    self.tally.add_mix(effect)
                case Stop(reason):
                    self.tally.outcome = reason if reason.startswith("diverged") else "finished"
                    self._stopped.set()
        self._heard.set()
        if not self._supervised and self._nobody_needs_us():
            self._end("finished")

    def _nobody_needs_us(self) -> bool:
        if self.machine.phase is not Phase.FINISHED:
            return False
        sight = self.machine.neighbourhood.look(self.machine.version, _now())
        return all(peer.finished or not peer.live for peer in sight.neighbours)

    def _peers(self) -> list[Peer]:
        return list(self.machine.neighbourhood.peers.values())

    async def _receive(self) -> None:
        while True:
            event = await self._transport.receive()
            if isinstance(event, Ended):
                self._end(event.reason)
            else:
                await self._happen(event)
                if self._keeper is not None and not self._learns:
                    self._keeper.keep_if_due(_now())

    async def _keep_time(self) -> None:
        while True:
            token = await self._due.get()
            await self._happen(Woken(token))

    async def _train(self) -> None:
        while True:
            effect = await self._trainings.get()
            outcome = await self._worker.train(effect)
            if self.machine.phase is Phase.TRAINING:
                self.tally.steps += effect.steps
                self.tally.samples += effect.steps * self._batch_size
                self.tally.versions += 1
                self.tally.period_s = self._worker.period_s
            await self._happen(Trained(effect.token, outcome.vector, outcome.loss))
            if self._keeper is not None:
                self._keeper.keep_if_due(_now())

    # ------------------------------------------------------------ measuring

    async def _sample_on_time(self) -> None:
        """Score the served model at every multiple of the cadence, and once when work is done."""
        k = math.ceil((_now() - self._began_s) / self._every_s - _PUNCTUAL)
        told = False
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout_at(self._began_s + k * self._every_s):
                    await (asyncio.Event() if told else self._stopped).wait()
            told = self._stopped.is_set()
            now = _now()
            # A score waits for the training under way: what it is of is counted before.
            then = self._account(now)
            score, took_s = await self._score(await self._core.served(now))
            self._report(then.scored(score, took_s))
            k = max(k, math.floor((_now() - self._began_s) / self._every_s) + 1)

    async def _score(self, vector: Vector) -> tuple[Score | None, float]:
        return await self._worker.evaluate(vector) if self._learns else (None, 0.0)

    def _account(self, now: float) -> Report:
        at_s, life = now - self._began_s, self._incarnation.counter
        return report_of(self.machine, self.tally, self._transport.traffic, at_s=at_s, life=life)

    def _report(self, report: Report) -> None:
        self._transport.report(to_row(report))
        if self._tell is not None:
            self._tell(report)

    def _presence(self, state: PresenceState, digest: str) -> Presence:
        return Presence(
            self._transport.run,
            NodeId(self.machine.settings.node),
            self._incarnation,
            state,
            sent_s=_now(),
            digest=digest,
        )


def _now() -> float:
    return asyncio.get_running_loop().time()


async def _waited(signal: Awaitable[object]) -> None:
    await signal


def _first(problem: BaseException) -> BaseException:
    while isinstance(problem, BaseExceptionGroup):
        problem = problem.exceptions[0]
    return problem
