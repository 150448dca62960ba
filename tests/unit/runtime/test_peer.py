"""A node in real time, over the transport in memory."""

import asyncio
import time
from typing import Any

import numpy as np
import pytest
from support.experiments import SYNCHRONOUS, graph_of, momentum_of

from p2pfl.config.load import config_from_mapping
from p2pfl.errors import ConfigError, RefusedError
from p2pfl.experiment import Experiment
from p2pfl.learning.trainer import Score, Trainer, TrainJob, TrainOutcome
from p2pfl.messages import (
    Header,
    Incarnation,
    ModelMessage,
    Presence,
    PresenceState,
    VersionRequest,
)
from p2pfl.protocol.peers import Peer
from p2pfl.runtime.life import NodeOutcome
from p2pfl.runtime.peer import run_node
from p2pfl.runtime.rows import Report, from_row
from p2pfl.simulation.simulate import simulate
from p2pfl.transport.memory import MemoryNetwork, MemoryTransport
from p2pfl.types import NodeId, Vector


def experiment(*, nodes: int = 4, **tables: Any) -> Experiment:  # noqa: ANN401 - as a file has them
    base: dict[str, Any] = {
        "name": "small",
        "topology": {"kind": "ring", "nodes": nodes},
        "data": {"kind": "quadratic", "dimension": 10, "noise": 0.1},
        "model": "quadratic",
        "training": {"learning_rate": 0.05, "local_steps": 4},
        "stop": {"steps": 40},
        "evaluation": {"every_s": 0.05},
    }
    return Experiment(config_from_mapping(base | tables, source="test"))


async def live(
    network: MemoryNetwork,
    what: Experiment,
    node: str,
    *,
    trainer: Trainer | None = None,
    go: asyncio.Event | None = None,
    reports: list[Report] | None = None,
) -> NodeOutcome:
    async with MemoryTransport(network, node=node) as transport:
        return await run_node(
            what,
            node,
            transport,
            trainer=trainer,
            go=None if go is None else go.wait,
            linger_s=0.05,
            tell=None if reports is None else reports.append,
        )


async def live_all(what: Experiment) -> tuple[MemoryNetwork, dict[str, NodeOutcome]]:
    """A run with a starting process: the go when all are there, the end when all are done."""
    network, go = MemoryNetwork("small-1"), asyncio.Event()
    trainer = what.make_trainer(only=what.learners)
    tasks = {
        name: asyncio.create_task(live(network, what, name, trainer=trainer, go=go))
        for name in what.places
    }
    go.set()
    while not {node for node, row in network.rows if row["phase"] == "finished"} >= set(tasks):
        done = [task for task in tasks.values() if task.done()]
        assert not done, done[0].result()
        await asyncio.sleep(0.01)
    network.end("finished")
    return network, {name: await task for name, task in tasks.items()}


async def test_four_nodes_that_stand_alone_finish_and_end() -> None:
    network, what = MemoryNetwork("small-1"), experiment()
    outcomes = await asyncio.gather(*(live(network, what, name) for name in what.places))
    assert [o.totals.steps for o in outcomes] == [40] * 4
    assert {o.reason for o in outcomes} == {"finished"}
    assert {o.totals.outcome for o in outcomes} == {"finished"}
    assert all(np.isfinite(o.served).all() for o in outcomes)


async def test_what_a_node_retains_is_cleared_at_the_normal_end() -> None:
    network, what = MemoryNetwork("small-1"), experiment()
    await asyncio.gather(*(live(network, what, name) for name in what.places))
    assert network.retained(what.places) == []


@pytest.mark.parametrize("kind", [*SYNCHRONOUS, "fedavg"])
async def test_a_synchronous_run_is_bit_equal_to_the_simulated_one(kind: str) -> None:
    tables: dict[str, Any] = {
        "data": "digits",
        "model": {"kind": "mlp", "hidden": [8]},
        "training": {
            "learning_rate": 0.1,
            "local_steps": 2,
            "momentum": momentum_of(kind, 0.5),
        },
        "partition": {"kind": "dirichlet", "alpha": 0.5},
        "algorithm": SYNCHRONOUS.get(kind, {"kind": kind}),
        "topology": graph_of(kind, 4),
    }
    what = experiment(**tables)
    virtual = simulate(what, trainer=what.make_trainer(only=what.learners))
    _, real = await live_all(what)
    for node in what.learners:
        assert np.array_equal(real[node].served, virtual.served[node])
        if kind in SYNCHRONOUS:
            assert np.array_equal(real[node].public, virtual.public[node])
    assert sum(o.totals.steps for o in real.values()) == virtual.final.steps


@pytest.mark.parametrize("kind", ["dpsgd", "gradient_tracking"])
async def test_a_run_on_a_schedule_is_bit_equal_to_the_simulated_one(kind: str) -> None:
    what = experiment(topology={"kind": "base", "nodes": 5, "degree": 1}, algorithm={"kind": kind})
    virtual = simulate(what)
    _, real = await live_all(what)
    for node in what.learners:
        assert np.array_equal(real[node].public, virtual.public[node])


async def test_no_mix_is_staler_than_the_bound() -> None:
    what = experiment(
        compute={"step_s": 0.002, "slowdown": {"n1": 5.0}},
        staleness={"bound": 2.0, "liveness_floor_s": 0.02},
        stop={"time_s": 0.6},
    )
    network, go = MemoryNetwork("small-1"), asyncio.Event()
    go.set()
    tasks = [asyncio.create_task(live(network, what, name, go=go)) for name in what.places]
    await asyncio.sleep(0.8)
    network.end("time")
    outcomes = [await task for task in tasks]
    assert all(o.totals.mixes > 0 for o in outcomes)
    assert all(o.totals.staleness_max <= 2.0 for o in outcomes)
    assert {o.reason for o in outcomes} == {"time"}


async def test_a_slowed_node_does_less_and_its_sleep_is_told() -> None:
    what = experiment(compute={"step_s": 0.005, "slowdown": {"n1": 4.0}}, stop={"time_s": 0.5})
    network = MemoryNetwork("small-1")
    outcomes = await asyncio.gather(*(live(network, what, name) for name in what.places))
    steps = {o.totals.node: o.totals.steps for o in outcomes}
    assert steps[NodeId("n1")] < steps[NodeId("n3")]
    assert all(o.slept_s > 0.0 for o in outcomes)


async def test_a_node_that_is_fed_garbage_goes_on() -> None:
    network, what = MemoryNetwork("small-1"), experiment(stop={"steps": 400})
    tasks = [asyncio.create_task(live(network, what, name)) for name in ("n0", "n1", "n2")]
    await asyncio.sleep(0.05)
    rng = np.random.default_rng(0)
    for _ in range(50):
        network.fan_out(NodeId("n3"), rng.bytes(200), kind="model")
        network.hand_over(NodeId("n3"), NodeId("n0"), rng.bytes(50))
    poison = np.full(10, np.nan, dtype=np.float32)
    header = Header(
        run="small-1",
        schema=what.make_trainer().schema,
        node=NodeId("n3"),
        incarnation=Incarnation(1, 1),
        sequence=1,
        version=1,
        oldest_version=0,
        sent_s=0.0,
    )
    async with MemoryTransport(network, node="n3") as transport:
        outcome_task = asyncio.create_task(run_node(what, "n3", transport, linger_s=0.05))
        await asyncio.sleep(0.05)
        transport.send(NodeId("n0"), VersionRequest("another-run", NodeId("n3"), 5))
        transport.send(NodeId("n0"), ModelMessage(header, poison))
        fourth = await outcome_task
    outcomes = [*await asyncio.gather(*tasks), fourth]
    assert [o.totals.steps for o in outcomes] == [400] * 4
    assert all(np.isfinite(o.served).all() for o in outcomes)
    assert sum(outcomes[0].totals.refused.values()) >= 50


async def test_reports_are_lines_that_read_back() -> None:
    network, what = MemoryNetwork("small-1"), experiment(compute={"step_s": 0.005})
    reports: list[Report] = []
    others = [asyncio.create_task(live(network, what, n)) for n in ("n1", "n2", "n3")]
    outcome = await live(network, what, "n0", reports=reports)
    await asyncio.gather(*others)
    assert [from_row(row) for node, row in network.rows if node == "n0"] == reports
    assert reports[0].sample.at_s == pytest.approx(0.0, abs=0.1)
    assert reports[-1].phase == "ended"
    assert reports[-1].totals.steps == outcome.totals.steps == 40
    assert len(reports) >= 3


async def test_the_steps_of_a_report_are_those_of_the_model_that_it_scores() -> None:
    """Trainings go on while a score is waited for."""
    what = experiment(algorithm={"kind": "local"}, evaluation={"every_s": 0.02})
    trainer = what.make_trainer()

    class Counting:
        """The first coordinate counts steps, and is the loss."""

        dimension, schema = trainer.dimension, trainer.schema
        samples = trainer.samples

        def initial(self) -> Vector:
            return np.zeros_like(trainer.initial())

        def train(self, jobs: list[TrainJob]) -> list[TrainOutcome]:
            time.sleep(0.005)
            (job,) = jobs
            vector = job.start.copy()
            vector[0] += job.steps
            return [TrainOutcome(vector, None, 0.0)]

        def evaluate(self, vectors: list[Vector], nodes: list[NodeId]) -> list[Score]:
            time.sleep(0.003)
            return [Score(float(vector[0])) for vector in vectors]

    network, go, reports = MemoryNetwork("small-1"), asyncio.Event(), list[Report]()
    go.set()
    task = asyncio.create_task(
        live(network, what, "n0", trainer=Counting(), go=go, reports=reports)  # type: ignore[arg-type]  # lists are sequences
    )
    while not reports or reports[-1].phase != "finished":
        assert not task.done(), task.result()
        await asyncio.sleep(0.01)
    network.end("enough")
    await task
    assert [report.sample.loss for report in reports] == [report.sample.steps for report in reports]
    assert len({report.sample.steps for report in reports}) > 2


async def test_without_the_go_nothing_is_trained() -> None:
    network, what, go = MemoryNetwork("small-1"), experiment(), asyncio.Event()
    tasks = [asyncio.create_task(live(network, what, name, go=go)) for name in what.places]
    await asyncio.sleep(0.2)
    assert network.rows == []
    network.end("called off")
    outcomes = [await task for task in tasks]
    assert {o.totals.steps for o in outcomes} == {0}
    assert {o.reason for o in outcomes} == {"called off"}


async def test_a_node_that_comes_back_goes_on_from_its_neighbours() -> None:
    what = experiment(
        stop={"steps": 400},
        compute={"step_s": 0.002},
        staleness={"liveness_floor_s": 0.2, "suspect_grace_s": 0.05},
    )
    network, go = MemoryNetwork("small-1"), asyncio.Event()
    go.set()
    tasks = {str(n): asyncio.create_task(live(network, what, n, go=go)) for n in what.places}
    await asyncio.sleep(0.2)
    tasks["n2"].cancel()
    with pytest.raises(asyncio.CancelledError):
        await tasks["n2"]
    await asyncio.sleep(0.2)
    reports: list[Report] = []
    again = asyncio.create_task(live(network, what, "n2", go=go, reports=reports))
    while not reports or reports[-1].sample.steps < 40:
        assert not again.done(), again.result()
        await asyncio.sleep(0.01)
    network.end("enough")
    outcomes = [await tasks["n0"], await tasks["n1"], await again, await tasks["n3"]]
    assert reports[0].life == 2
    assert outcomes[2].totals.mixes > 0
    assert {o.reason for o in outcomes} == {"enough"}


async def test_a_node_that_is_stopped_says_that_it_leaves(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    heard: list[PresenceState] = []
    hear = Peer.hear

    def listening(self: Peer, presence: Presence, now: float, *, retained: bool) -> bool:
        heard.append(presence.state)
        return hear(self, presence, now, retained=retained)

    monkeypatch.setattr(Peer, "hear", listening)
    what = experiment(nodes=3, compute={"step_s": 0.005}, stop={"steps": 4000})
    network, go = MemoryNetwork("small-1"), asyncio.Event()
    go.set()
    tasks = {str(n): asyncio.create_task(live(network, what, n, go=go)) for n in what.places}
    await asyncio.sleep(0.2)
    tasks["n2"].cancel()
    await asyncio.gather(tasks["n2"], return_exceptions=True)
    await asyncio.sleep(0.1)
    network.end("enough")
    await asyncio.gather(tasks["n0"], tasks["n1"])
    assert heard.count(PresenceState.LEFT) >= 2


async def test_a_trainer_that_fails_stops_the_node_loudly() -> None:
    what = experiment()
    trainer = what.make_trainer()

    class Broken:
        dimension, schema = trainer.dimension, trainer.schema
        initial, samples, evaluate = trainer.initial, trainer.samples, trainer.evaluate

        def train(self, jobs: list[TrainJob]) -> list[TrainOutcome]:
            raise ZeroDivisionError(jobs[0].node)

    network, go = MemoryNetwork("small-1"), asyncio.Event()
    go.set()
    with pytest.raises(ZeroDivisionError, match="n0"):
        await live(network, what, "n0", trainer=Broken(), go=go)  # type: ignore[arg-type]  # a list is a sequence
    leftover = [t.get_name() for t in asyncio.all_tasks() if t.get_name().startswith("p2pfl")]
    assert leftover == []


async def test_a_node_that_loses_its_network_for_good_says_so() -> None:
    network, go = MemoryNetwork("small-1"), asyncio.Event()
    go.set()
    what = experiment(stop={"steps": 100_000})
    task = asyncio.create_task(live(network, what, "n0", go=go))
    await asyncio.sleep(0.1)
    network.lose(NodeId("n0"))
    with pytest.raises(Exception, match="lost its connection"):
        await task


async def test_a_second_node_of_one_id_and_a_foreign_experiment_are_refused() -> None:
    network, what = MemoryNetwork("small-1"), experiment()
    go = asyncio.Event()
    first = asyncio.create_task(live(network, what, "n0", go=go))
    await asyncio.sleep(0.05)
    with pytest.raises(RefusedError, match="n0"):
        await live(network, what, "n0", go=go)
    with pytest.raises(RefusedError, match="experiment"):
        await live(network, experiment(stop={"steps": 44}), "n1", go=go)
    network.end("enough")
    await first


async def test_an_id_outside_the_graph_is_refused_with_those_inside() -> None:
    with pytest.raises(ConfigError, match=r"n9.*n0, n1, n2, n3"):
        await live(MemoryNetwork("small-1"), experiment(), "n9")
