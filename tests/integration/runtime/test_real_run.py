"""Whole runs with a process per node, over real brokers; things die and come back."""

import asyncio
import sys
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pytest
from support.experiments import SYNCHRONOUS, graph_of

from p2pfl.config.load import config_from_mapping
from p2pfl.config.write import config_to_toml
from p2pfl.errors import DataError
from p2pfl.experiment import Experiment
from p2pfl.runtime.run import RealRun
from p2pfl.simulation.simulate import simulate
from p2pfl.transport.broker import EmbeddedBroker, Engine
from p2pfl.types import NodeId

ENGINES = [
    pytest.param("nats", marks=pytest.mark.broker),
    pytest.param("mosquitto", marks=pytest.mark.mosquitto),
]


class StartBroker(Protocol):
    async def __call__(self, engine: Engine = "nats", **settings: object) -> EmbeddedBroker: ...


def experiment(*, nodes: int = 4, **tables: Any) -> Experiment:  # noqa: ANN401 - as a file has them
    base: dict[str, Any] = {
        "name": "small",
        "topology": {"kind": "ring", "nodes": nodes},
        "data": {"kind": "quadratic", "dimension": 10},
        "model": "quadratic",
        "training": {"learning_rate": 0.02, "local_steps": 2},
        "compute": {"step_s": 0.01},
        "staleness": {"liveness_floor_s": 1.0, "suspect_grace_s": 0.5},
        "stop": {"time_s": 3.0},
        "evaluation": {"every_s": 0.25},
    }
    return Experiment(config_from_mapping(base | tables, source="test"))


def digits(**tables: Any) -> Experiment:  # noqa: ANN401 - the same
    learned: dict[str, Any] = {
        "data": "digits",
        "model": {"kind": "mlp", "hidden": [16]},
        "training": {"learning_rate": 0.1, "local_steps": 4},
        "partition": {"kind": "dirichlet", "alpha": 0.5},
        # Paced: without it a node may do all its work before the others' processes get a turn.
        "compute": {"step_s": 0.003},
        "stop": {"steps": 400},
    }
    return experiment(**(learned | tables))


def versions(run: RealRun) -> dict[str, int]:
    """How far each node has told that it is."""
    return {n: s.reports[-1].sample.version for n, s in run.board.standings.items() if s.reports}


def is_there(pid: int) -> bool:
    """Whether the process lives (a zombie does not)."""
    try:
        return " Z " not in Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False


def exists(path: Path) -> bool:
    return path.exists()


@pytest.mark.parametrize("engine", ENGINES)
async def test_four_processes_learn_the_digits(engine: Engine) -> None:
    async with RealRun(digits(), engine=engine) as run:
        pids = list(run.processes.pids.values())
        result = await run.finish()
    assert len(set(pids)) == 4
    assert not any(is_there(pid) for pid in pids)
    assert [node.steps for node in result.nodes] == [400] * 4
    assert {node.outcome for node in result.nodes} == {"finished"}
    assert result.final.accuracy_mean is not None
    assert result.final.accuracy_mean > 0.5
    assert result.staleness_max <= result.staleness_bound
    assert result.final.consensus_distance is not None
    assert result.final.accuracy_average_model is not None
    assert result.final.accuracy_average_model > 0.5
    assert len(result.served) == len(result.public) == 4
    assert result.final.bytes_total > 4 * 50 * 4 * result.dimension


@pytest.mark.parametrize(
    ("kind", "engine"),
    [
        *(pytest.param(kind, "nats", marks=pytest.mark.broker) for kind in SYNCHRONOUS),
        pytest.param("dpsgd", "mosquitto", marks=pytest.mark.mosquitto),
    ],
)
async def test_a_synchronous_run_over_a_broker_is_bit_equal_to_the_simulated_one(
    kind: str, engine: Engine
) -> None:
    what = digits(algorithm=SYNCHRONOUS[kind], topology=graph_of(kind, 4), stop={"steps": 80})
    # Naming the nodes asks for the plain trainer, as real nodes have it: the batched one rounds
    # in another order.
    virtual = simulate(what, trainer=what.make_trainer(only=what.learners))
    async with RealRun(what, engine=engine) as run:
        real = await run.finish()
    for node in what.learners:
        assert np.array_equal(real.public[node], virtual.public[node])
        assert np.array_equal(real.served[node], virtual.served[node])
    assert real.final.accuracy_average_model == virtual.final.accuracy_average_model is not None


@pytest.mark.broker
@pytest.mark.parametrize(
    "topology",
    [
        {"kind": "base", "nodes": 5, "degree": 1},
        {"kind": "one_peer_exponential", "nodes": 4},
        {"kind": "el_oracle", "nodes": 5, "degree": 2, "rounds": 3},
    ],
    ids=lambda topology: str(topology["kind"]),
)
async def test_a_schedule_over_a_broker_is_bit_equal_to_the_simulated_one(
    topology: dict[str, Any],
) -> None:
    what = digits(topology=topology, algorithm={"kind": "dpsgd"}, stop={"steps": 80})
    virtual = simulate(what, trainer=what.make_trainer(only=what.learners))
    async with RealRun(what) as run:
        real = await run.finish()
    for node in what.learners:
        assert np.array_equal(real.public[node], virtual.public[node])


@pytest.mark.broker
async def test_fedavg_runs_with_its_server_as_one_more_process() -> None:
    what = experiment(algorithm={"kind": "fedavg"}, compute={}, stop={"steps": 40})
    async with RealRun(what) as run:
        result = await run.finish()
    assert [node.role for node in result.nodes] == ["node"] * 4 + ["server"]
    assert [node.steps for node in result.learners] == [40] * 4
    assert np.array_equal(result.served[NodeId("n0")], result.served[NodeId("n3")])
    assert result.busiest.node == "server"


@pytest.mark.broker
@pytest.mark.parametrize(
    "algorithm",
    [{"kind": "fedavg", "participation": 0.5}, {"kind": "fedadam"}, {"kind": "scaffold"}],
    ids=lambda algorithm: algorithm["kind"],
)
async def test_rounds_of_a_star_over_a_broker_are_bit_equal_to_simulated_ones(
    algorithm: dict[str, Any],
) -> None:
    what = digits(algorithm=algorithm, stop={"steps": 40})
    virtual = simulate(what, trainer=what.make_trainer(only=what.learners))
    async with RealRun(what) as run:
        real = await run.finish()
    for node in what.learners:
        assert np.array_equal(real.public[node], virtual.public[node])


@pytest.mark.broker
@pytest.mark.parametrize("kind", ["fedasync", "fedbuff"])
async def test_a_star_without_rounds_does_the_steps_and_ends_with_one_model(kind: str) -> None:
    what = experiment(algorithm={"kind": kind}, stop={"steps": 40})
    async with RealRun(what) as run:
        result = await run.finish()
    assert sum(node.steps for node in result.learners) >= 4 * 40
    assert {node.outcome for node in result.nodes} == {"finished"}
    first, *others = (result.public[node] for node in what.learners)
    assert all(np.array_equal(x, first) for x in others)


@pytest.mark.parametrize("engine", ENGINES)
async def test_a_killed_node_stalls_nobody_and_joins_again(engine: Engine) -> None:
    async with RealRun(experiment(stop={"time_s": 6.0}), engine=engine) as run:
        await asyncio.sleep(1.5)
        before = versions(run)
        run.kill_node("n2")
        await asyncio.sleep(1.5)
        after = versions(run)
        assert run.board.standings[NodeId("n2")].phase == "lost"
        for node in ("n0", "n1", "n3"):
            assert after[node] - before[node] > 0.3 * before[node]
        await run.start_node("n2")
        result = await run.finish()
    nodes = {node.node: node for node in result.nodes}
    assert {node.outcome for node in result.nodes} == {"finished"}
    assert nodes[NodeId("n2")].versions > after["n2"]
    assert nodes[NodeId("n2")].mixes > 0
    assert len(result.served) == 4
    assert any("n2 was killed by SIGKILL" in note for note in result.notes)
    assert result.staleness_max <= result.staleness_bound
    assert min(len([s for s in result.samples if s.node == n]) for n in nodes) > 8


@pytest.mark.broker
async def test_crashes_of_the_experiment_happen_for_real() -> None:
    faults = {"crash": [{"node": "n1", "at_s": 0.5, "restart_s": 1.0}, {"node": "n2", "at_s": 1.0}]}
    async with RealRun(experiment(faults=faults)) as run:
        result = await run.finish()
    outcomes = {node.node: node.outcome for node in result.nodes}
    assert outcomes == {"n0": "finished", "n1": "finished", "n2": "lost", "n3": "finished"}
    assert any(note.startswith("n1 was killed as the experiment says") for note in result.notes)
    assert "n2" not in result.served


@pytest.mark.parametrize("engine", ENGINES)
async def test_a_broker_that_dies_and_comes_back_costs_nothing_but_staleness(
    engine: Engine, start_broker: StartBroker
) -> None:
    broker = await start_broker(engine)
    what = experiment(stop={"time_s": 6.0}, staleness={"liveness_floor_s": 5.0})
    async with RealRun(what, broker_url=broker.url) as run:
        await asyncio.sleep(1.0)
        await broker.kill()
        await asyncio.sleep(0.7)
        during = versions(run)
        await broker.start()
        await asyncio.sleep(2.5)
        after = versions(run)
        result = await run.finish()
    assert all(after[node] > during[node] for node in during)
    assert {node.outcome for node in result.nodes} == {"finished"}
    assert len(result.served) == 4
    assert all(node.in_messages > node.versions / 2 for node in result.nodes)
    assert all(node.refused == {} or max(node.refused.values()) < 5 for node in result.nodes)
    assert result.staleness_max <= result.staleness_bound


@pytest.mark.broker
async def test_a_run_leaves_nothing_at_a_broker_of_others(start_broker: StartBroker) -> None:
    from p2pfl.transport.mqtt import Observer

    broker = await start_broker("nats")
    async with RealRun(experiment(stop={"time_s": 0.5}), broker_url=broker.url) as run:
        await run.finish()
    async with Observer(broker.url) as observer:
        assert await observer.find_run("small") is None
        assert await observer.read_manifest(run.board.run) is None


@pytest.mark.broker
async def test_what_hinders_one_node_before_the_go_is_told_in_its_own_words(
    tmp_path: Path,
) -> None:
    what = experiment(data={"kind": "mnist", "folder": str(tmp_path)}, model="mlp", compute={})
    with pytest.raises(DataError, match=r"node n\d: .*mnist|node n\d: .*MNIST"):
        async with RealRun(what):
            pass


@pytest.mark.broker
async def test_when_the_starting_process_is_killed_no_process_stays(tmp_path: Path) -> None:
    file = tmp_path / "small.toml"
    file.write_text(config_to_toml(experiment(stop={"time_s": 60.0}).config))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", _STARTER, str(file)), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    pids = [int(word) for word in (await process.stdout.readline()).split()]
    folder = Path((await process.stdout.readline()).decode().strip())
    assert len(pids) == 5
    assert exists(folder)
    assert all(is_there(pid) for pid in pids)
    process.kill()
    await process.wait()
    for _ in range(100):
        if not (any(is_there(pid) for pid in pids) or exists(folder)):
            break
        await asyncio.sleep(0.1)
    assert not any(is_there(pid) for pid in pids)
    assert not exists(folder)


_STARTER = """
import asyncio, sys
from p2pfl.experiment import load_experiment
from p2pfl.runtime.run import RealRun

async def main():
    async with RealRun(load_experiment(sys.argv[1])) as run:
        print(*run.processes.pids.values(), run._broker.pid, flush=True)
        print(run._work, flush=True)
        await run.finish()

asyncio.run(main())
"""
