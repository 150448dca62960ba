"""Nodes that come to a run under way and leave it in order, under every kind of algorithm."""

import asyncio
from typing import Any

import numpy as np
import pytest

from p2pfl.config.load import config_from_mapping
from p2pfl.experiment import Experiment
from p2pfl.protocol.node import Node
from p2pfl.runtime.company import Company
from p2pfl.runtime.health import Health
from p2pfl.runtime.peer import run_node
from p2pfl.transport.memory import MemoryNetwork, MemoryTransport

ASYNCHRONOUS = ["pull_mix", "track_mix", "push_sum", "ad_psgd", "gossip_learning", "epidemic"]
SYNCHRONOUS = ["dpsgd", "qg_dsgdm", "d2", "gradient_tracking", "sgp"]
STARS = ["fedavg", "scaffold", "fedasync"]


def experiment(kind: str, *, floor_s: float) -> Experiment:
    table: dict[str, Any] = {
        "name": "small",
        "topology": {"kind": "complete", "nodes": 4},
        # All optima lie close to each other and far from where everybody begins.
        "data": {"kind": "quadratic", "dimension": 10, "spread": 0.1, "sites": [3.0]},
        "model": "quadratic",
        "training": {"learning_rate": 0.02, "local_steps": 2},
        "compute": {"step_s": 0.002},
        "staleness": {"liveness_floor_s": floor_s, "suspect_grace_s": 5.0},
        "algorithm": {"kind": kind},
        "stop": {"steps": 100_000},
        "evaluation": {"every_s": 60.0},
    }
    return Experiment(config_from_mapping(table, source="test"))


class Society:
    """The nodes of one run, which come and go."""

    def __init__(self, kind: str, *, floor_s: float) -> None:
        self.what = experiment(kind, floor_s=floor_s)
        self.network = MemoryNetwork("small-1")
        self.healths: dict[str, Health] = {}
        self.tasks: dict[str, asyncio.Task[None]] = {}

    def come(self, *names: str) -> None:
        for name in names:
            self.healths[name] = Health()
            self.tasks[name] = asyncio.create_task(self._live(name, self.healths[name]))

    async def _live(self, name: str, health: Health) -> None:
        async with MemoryTransport(self.network, node=name) as transport:
            await run_node(
                self.what,
                name,
                transport,
                linger_s=0.0,
                health=health,
                # Three are enough to begin; who comes later finds the run under way.
                company=Company(least=2 if "server" not in self.what.places else 1, wait_s=None),
            )

    async def leave(self, name: str) -> None:
        task = self.tasks.pop(name)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    def machine(self, name: str) -> Node:
        organs = self.healths[name].organs
        assert organs is not None
        return organs.machine

    async def work(self, *names: str, updates: int) -> None:
        """Until each of these has done so many more updates."""
        async with asyncio.timeout(30.0):
            while any(self.healths[name].organs is None for name in names):
                await self._look(names)
            goals = {name: self.machine(name).steps + 2 * updates for name in names}
            while any(self.machine(name).steps < goal for name, goal in goals.items()):
                await self._look(names)

    async def begun(self, name: str) -> None:
        """Until it is at work."""
        async with asyncio.timeout(30.0):
            while self.healths[name].phase not in {"training", "waiting"}:
                await self._look((name,), every_s=0.001)

    async def _look(self, names: tuple[str, ...], *, every_s: float = 0.01) -> None:
        for name in names:
            assert not self.tasks[name].done(), self.tasks[name].result()
        await asyncio.sleep(every_s)

    async def end(self) -> None:
        self.network.end("enough")
        await asyncio.gather(*self.tasks.values())


@pytest.mark.parametrize("kind", [*ASYNCHRONOUS, *SYNCHRONOUS])
async def test_a_node_that_comes_late_starts_from_its_neighbours_models(kind: str) -> None:
    # Who never was there is waited for as long as one who falls silent.
    society = Society(kind, floor_s=0.3 if kind in SYNCHRONOUS else 60.0)
    society.come("n0", "n1", "n2")
    await society.work("n0", "n1", "n2", updates=40)
    version = min(society.machine(name).version for name in ("n0", "n1", "n2"))
    society.come("n3")
    await society.begun("n3")
    joined = society.machine("n3")
    assert joined.steps <= 20
    assert joined.version >= version
    # As they all are at this moment.
    mean = np.mean([society.machine(name).public() for name in ("n0", "n1", "n2")], axis=0)
    initial = society.what.make_trainer().initial()
    far = float(np.linalg.norm(initial - mean))
    assert float(np.linalg.norm(joined.public() - mean)) < 0.5 * far
    await society.work("n0", "n1", "n2", "n3", updates=20)
    await society.end()


@pytest.mark.parametrize("kind", [*ASYNCHRONOUS, *SYNCHRONOUS])
async def test_a_node_that_leaves_stalls_nobody_and_may_come_back(kind: str) -> None:
    # Whoever waited for a silent node would still wait at the test's end.
    society = Society(kind, floor_s=60.0)
    names = ("n0", "n1", "n2", "n3")
    society.come(*names)
    await society.work(*names, updates=10)
    await society.leave("n1")
    await society.work("n0", "n2", "n3", updates=20)
    for name in ("n0", "n2", "n3"):
        seen = {peer.node: peer.live for peer in society.healths[name].neighbours()}
        assert seen["n1"] is False
    society.come("n1")
    await society.work(*names, updates=20)
    assert all(np.isfinite(society.machine(name).public()).all() for name in names)
    await society.end()


@pytest.mark.parametrize("kind", STARS)
async def test_a_client_that_leaves_a_star_stalls_nobody_and_may_come_back(kind: str) -> None:
    society = Society(kind, floor_s=8.0)
    names = ("n0", "n1", "n2", "n3")
    society.come("server", *names)
    await society.work(*names, updates=5)
    await society.leave("n1")
    await society.work("n0", "n2", "n3", updates=10)
    society.come("n1")
    await society.work(*names, updates=10)
    await society.end()
