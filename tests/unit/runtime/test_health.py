"""How a node is, as it answers over HTTP; nodes live over the transport in memory."""

import asyncio
import json
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from p2pfl.config.load import config_from_mapping
from p2pfl.config.write import config_digest
from p2pfl.errors import ConfigError
from p2pfl.experiment import Experiment
from p2pfl.runtime.health import Health, health_port
from p2pfl.runtime.health_server import HealthServer, served_health
from p2pfl.runtime.peer import run_node
from p2pfl.transport.memory import MemoryNetwork, MemoryTransport
from p2pfl.types import NodeId


def experiment(**tables: Any) -> Experiment:  # noqa: ANN401 - as a file has them
    base: dict[str, Any] = {
        "name": "small",
        "topology": {"kind": "ring", "nodes": 3},
        "data": {"kind": "quadratic", "dimension": 10},
        "model": "quadratic",
        "training": {"learning_rate": 0.05, "local_steps": 4},
        "compute": {"step_s": 0.002},
        "stop": {"steps": 100_000},
        "evaluation": {"every_s": 0.05},
    }
    return Experiment(config_from_mapping(base | tables, source="test"))


async def ask(place: str, *lines: str) -> tuple[int, dict[str, str], str]:
    """Status, headers and body of the answer to these lines."""
    host, port = place.removeprefix("http://").rsplit(":", 1)
    reader, writer = await asyncio.open_connection(host.strip("[]"), int(port))
    writer.write("".join(f"{line}\r\n" for line in (*lines, "")).encode())
    head, _, body = (await reader.read()).decode().partition("\r\n\r\n")
    writer.close()
    status, *headers = head.split("\r\n")
    return (
        int(status.split()[1]),
        dict(line.lower().split(": ", 1) for line in headers),
        body,
    )


async def get(place: str, path: str) -> tuple[int, Any]:
    status, _, body = await ask(place, f"GET {path} HTTP/1.1", "Host: here")
    return status, json.loads(body)


class Nodes:
    """Nodes of one run, each with its health answered for."""

    def __init__(self, what: Experiment) -> None:
        self.what = what
        self.network = MemoryNetwork("small-1")
        self.places: dict[str, str] = {}
        self.tasks: list[asyncio.Task[None]] = []

    async def start(self, *names: str, go: bool = False) -> None:
        for name in names:
            started = asyncio.Event()
            self.tasks.append(asyncio.create_task(self._live(name, started, go=go)))
            await started.wait()

    async def _live(self, name: str, started: asyncio.Event, *, go: bool) -> None:
        def told(place: str) -> None:
            self.places[name] = place
            started.set()

        async def at_once() -> None:
            return None

        async with (
            served_health(0, told=told) as health,
            MemoryTransport(self.network, node=name) as transport,
        ):
            await run_node(
                self.what,
                name,
                transport,
                go=at_once if go else None,
                linger_s=0.0,
                health=health,
            )

    async def until(self, name: str, **wanted: object) -> dict[str, Any]:
        """The node's state once these of its words are so."""
        async with asyncio.timeout(20.0):
            while True:
                _, state = await get(self.places[name], "/healthz")
                if all(state.get(key) == value for key, value in wanted.items()):
                    return dict(state)
                await asyncio.sleep(0.01)

    async def end(self) -> None:
        self.network.end("enough")
        await asyncio.gather(*self.tasks)


async def test_a_node_tells_whom_it_waits_for_until_all_have_come() -> None:
    nodes = Nodes(experiment())
    await nodes.start("n0", "n1")
    state = await nodes.until("n0", phase="new", waiting_for=["n2"])
    assert state["ready"] is True
    assert state["last_update_age_s"] is None
    await nodes.start("n2")
    state = await nodes.until("n0", phase="training")
    assert state["waiting_for"] == []
    await nodes.end()


async def test_a_synchronous_node_tells_whose_model_it_lacks() -> None:
    nodes = Nodes(experiment(algorithm={"kind": "dpsgd"}, staleness={"liveness_floor_s": 60.0}))
    await nodes.start("n0", "n1", go=True)
    state = await nodes.until("n0", phase="waiting", waiting_for=["n2"])
    assert state["ready"] is True
    await nodes.end()


async def test_before_it_has_its_data_a_node_is_live_and_not_ready() -> None:
    places: list[str] = []
    async with served_health(0, told=places.append):
        assert (await get(places[0], "/healthz/live"))[0] == 200
        status, state = await get(places[0], "/healthz")
        assert status == 503
        assert (state["phase"], state["ready"]) == ("starting", False)
        _, _, page = await ask(places[0], "GET /metrics HTTP/1.1")
        assert 'p2pfl_phase{p2pfl_phase="starting"} 1.0' in page


async def test_a_node_that_lost_its_place_is_not_ready() -> None:
    nodes = Nodes(experiment())
    await nodes.start("n0", "n1", "n2")
    await nodes.until("n0", phase="training", ready=True)
    nodes.network.lose(NodeId("n0"))
    with pytest.raises(Exception, match="lost its connection"):
        await nodes.tasks[0]
    await nodes.until("n1", ready=True)
    nodes.tasks.pop(0)
    await nodes.end()


async def test_the_metrics_are_what_the_node_has_counted_and_named_as_prometheus_wants() -> None:
    nodes = Nodes(experiment())
    await nodes.start("n0", "n1", "n2")
    await nodes.until("n0", phase="training")
    nodes.network.fan_out(NodeId("n1"), b"garbage", kind="model")
    await asyncio.sleep(0.5)
    _, headers, page = await ask(nodes.places["n0"], "GET /metrics HTTP/1.1", "Accept: text/plain")
    assert headers["content-type"].startswith("text/plain")
    families = {family.name: family for family in text_string_to_metric_families(page)}
    values = {
        (s.name, *sorted(s.labels.values())): s.value for f in families.values() for s in f.samples
    }
    state = await nodes.until("n0", phase="training")
    assert 0 < values["p2pfl_gradient_steps_total",] <= state["steps"]
    assert values["p2pfl_versions_total",] * 4 == values["p2pfl_gradient_steps_total",]
    assert values["p2pfl_mixes_total",] > 0
    assert 0.0 <= values["p2pfl_mix_staleness",] <= values["p2pfl_mix_staleness_max",] <= 3.0
    assert values["p2pfl_mix_staleness_bound",] == 3.0
    assert values["p2pfl_neighbour_age_seconds", "n1"] < 1.0
    assert values["p2pfl_neighbour_live", "n2"] == 1.0
    assert values["p2pfl_sent_bytes_total",] > 100
    assert values["p2pfl_received_bytes_total",] > 100
    assert sum(v for k, v in values.items() if k[0] == "p2pfl_frames_refused_total") >= 1
    assert any(k[0] == "p2pfl_frames_refused_total" and "n1" in k for k in values)
    assert values["p2pfl_broker_connected",] == 1.0
    assert values["p2pfl_broker_reconnects_total",] == 0.0
    assert values["p2pfl_queue_depth", "unread"] >= 0.0
    assert values["p2pfl_training_loss",] >= 0.0
    assert values["p2pfl_evaluation_loss",] >= 0.0
    assert values["p2pfl_event_loop_gap_seconds_count",] >= 1.0
    assert any(name == "process_cpu_seconds_total" for name, *_ in values)
    counters = [family for family in families.values() if family.type == "counter"]
    assert all(s.name.endswith(("_total", "_created")) for f in counters for s in f.samples)
    assert all(name.startswith(("p2pfl_", "process_")) for name in families)
    await nodes.end()


async def test_strangers_and_their_reasons_do_not_grow_the_page() -> None:
    nodes = Nodes(experiment())
    await nodes.start("n0", "n1", "n2")
    await nodes.until("n0", phase="training")
    for number in range(50):
        nodes.network.hand_over(NodeId(f"x{number}"), NodeId("n0"), b"garbage")
    await asyncio.sleep(0.05)
    _, _, page = await ask(nodes.places["n0"], "GET /metrics HTTP/1.1")
    lines = [line for line in page.splitlines() if line.startswith("p2pfl_frames_refused_total{")]
    assert [line for line in lines if 'peer="stranger"' in line]
    assert len(lines) < 5
    await nodes.end()


@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        ("GET / HTTP/1.1", 404),
        ("GET /healthz/other HTTP/1.1", 404),
        ("GET /healthz/live?now HTTP/1.1", 200),
        ("POST /healthz HTTP/1.1", 405),
        ("nonsense", 405),
        (f"GET /{'x' * 20_000} HTTP/1.1", 431),
    ],
)
async def test_a_strange_question_gets_the_answer_that_http_has_for_it(
    request_line: str, status: int
) -> None:
    places: list[str] = []
    async with served_health(0, told=places.append):
        assert (await ask(places[0], request_line))[0] == status


async def test_head_is_get_without_the_body() -> None:
    places: list[str] = []
    async with served_health(0, told=places.append):
        status, headers, body = await ask(places[0], "HEAD /healthz/live HTTP/1.1")
        assert (status, body) == (200, "")
        assert int(headers["content-length"]) > 50


async def test_whoever_asks_and_says_nothing_holds_up_nobody_and_does_not_outlive_the_node() -> (
    None
):
    places: list[str] = []
    async with served_health(0, told=places.append):
        host, port = places[0].removeprefix("http://").split(":")
        silent = [await asyncio.open_connection(host, int(port)) for _ in range(10)]
        assert (await get(places[0], "/healthz/live"))[0] == 200
    for reader, writer in silent:
        assert await reader.read() == b""
        writer.close()
    assert not [t for t in asyncio.all_tasks() if t.get_name() == "p2pfl event loop gap"]


async def test_a_port_that_is_taken_is_the_users_to_mend() -> None:
    server = HealthServer(Health())
    place = await server.start("127.0.0.1", 0)
    with pytest.raises(ConfigError, match=r"cannot listen on 127.0.0.1:\d+: .*--health-port"):
        await HealthServer(Health()).start("127.0.0.1", int(place.rsplit(":", 1)[1]))
    await server.close()


async def test_a_blocked_event_loop_shows() -> None:
    places: list[str] = []
    async with served_health(0, told=places.append) as health:
        assert health is not None
        await asyncio.sleep(0.01)
        begun_s = asyncio.get_running_loop().time()
        while asyncio.get_running_loop().time() < begun_s + 0.6:
            pass
        await asyncio.sleep(0.01)
        assert health.gap_max_s > 0.3


def test_each_node_of_an_experiment_has_a_port_of_its_own() -> None:
    what = experiment(health={"port": 9100}, algorithm={"kind": "fedavg"})
    assert [health_port(what, node) for node in what.places] == [9100, 9101, 9102, 9103]
    assert health_port(experiment(), "n0") is None
    with pytest.raises(ConfigError, match=r"health.port is 65535, which gives n1 the port 65536"):
        health_port(experiment(health={"port": 65535}), "n1")


def test_where_a_machine_answers_is_no_matter_of_its_peers() -> None:
    other = experiment(health={"port": 9100, "host": "0.0.0.0"})  # noqa: S104 - only written
    assert config_digest(other.config) == config_digest(experiment().config)
