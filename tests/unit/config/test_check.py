"""What contradicts itself or lies out of range is refused, and says what is allowed."""

import dataclasses
from typing import Final, get_args, get_type_hints

import pytest

from p2pfl.config.check import OWN_KEYS, check_config
from p2pfl.config.load import config_from_mapping, with_values
from p2pfl.config.ranges import RANGES, Range
from p2pfl.config.schema import ExperimentConfig
from p2pfl.errors import ConfigError

BASE: Final[dict[str, object]] = {
    "name": "small",
    "topology": {"kind": "ring", "nodes": 4},
    "data": "digits",
    "model": "mlp",
    "training": {"learning_rate": 0.1, "local_steps": 2},
    "stop": {"time_s": 10},
}


def base() -> ExperimentConfig:
    return config_from_mapping(BASE, source="base")


def refused(values: dict[str, object]) -> str:
    with pytest.raises(ConfigError) as error:
        with_values(base(), values)
    sentence = str(error.value)
    assert "\n" not in sentence
    return sentence


OUT_OF_RANGE: Final[list[tuple[str, object, str]]] = [
    ("training.learning_rate", 0.0, "above 0"),
    ("training.batch_size", 0, "at least 1"),
    ("training.local_steps", 0, "at least 1"),
    ("training.momentum", 1.0, "at least 0 and below 1"),
    ("training.weight_decay", -1.0, "at least 0"),
    ("network.loss", 1.0, "at least 0 and below 1"),
    ("network.loss", -0.1, "at least 0 and below 1"),
    ("network.latency_s", -1.0, "at least 0"),
    ("network.latency_sigma", -1.0, "at least 0"),
    ("network.duplication", 1.0, "at least 0 and below 1"),
    ("network.reorder", 1.5, "at most 1"),
    ("network.reorder_s", 0.0, "above 0"),
    ("network.uplink_bytes_per_s", 0.0, "above 0"),
    ("network.downlink_bytes_per_s", 0.0, "above 0"),
    ("network.node_uplink_bytes_per_s.server", 0.0, "above 0"),
    ("network.node_downlink_bytes_per_s.n1", -1.0, "above 0"),
    ("compute.alpha", 1.0, "above 1"),
    ("compute.availability", {"on_s": 0.0, "off_s": 1.0}, "above 0"),
    ("faults.churn", {"life_s": 1.0, "absence_s": 0.0}, "above 0"),
    ("faults.churn", {"life_s": 1.0, "absence_s": 1.0, "graceful": 2.0}, "at most 1"),
    ("algorithm.participation", 0.0, "above 0 and at most 1"),
    ("algorithm.participation", 1.1, "at most 1"),
    ("staleness.bound", -1.0, "at least 0"),
    ("staleness.liveness_floor_s", -1.0, "at least 0"),
    ("staleness.suspect_grace_s", -1.0, "at least 0"),
    ("compute.step_s", -1.0, "at least 0"),
    ("compute.sigma", -1.0, "at least 0"),
    ("compute.slowdown.n1", 0.0, "above 0"),
    ("evaluation.every_s", 0.0, "above 0"),
    ("evaluation.target", 1.5, "at most 1"),
    ("stop.time_s", 0.0, "above 0"),
    ("stop.steps", 0, "at least 1"),
    ("broker.chunk_bytes", 1023, "at least 1024"),
    ("broker.chunk_bytes", 1_000_001, "at most 1e+06"),
    ("topology.nodes", 0, "at least 1"),
    ("seed", -1, "at least 0"),
]


@pytest.mark.parametrize(("key", "value", "allowed"), OUT_OF_RANGE)
def test_a_number_out_of_range_names_key_found_and_allowed(
    key: str, value: object, allowed: str
) -> None:
    sentence = refused({key: value})
    found = f" is {value:g}" if isinstance(value, (int, float)) else "."
    assert f"settings: {key}{found}" in sentence
    assert "; allowed: " in sentence
    assert allowed in sentence


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("network.loss", 0.0),
        ("algorithm.participation", 1.0),
        ("staleness.bound", 0.0),
        ("compute.step_s", 0.0),
        ("training.momentum", 0.0),
        ("broker.chunk_bytes", 1024),
        ("broker.chunk_bytes", 1_000_000),
        ("topology.nodes", 1_000_000),
    ],
)
def test_the_edge_of_a_range_is_allowed(key: str, value: float) -> None:
    check_config(with_values(base(), {key: value}))


def test_each_item_of_a_list_is_in_range() -> None:
    assert "model.hidden[1] is 0" in refused({"model.hidden": [8, 0]})


def test_every_range_belongs_to_a_key_of_the_schema() -> None:
    for key in RANGES:
        kinds: list[object] = [ExperimentConfig]
        for name in key.split("."):
            hints = [get_type_hints(k) for k in kinds if dataclasses.is_dataclass(k)]
            found = [hint[name] for hint in hints if name in hint]
            assert found, key
            kinds = [found[0], *get_args(found[0])]


def test_every_own_key_belongs_to_a_key_of_the_schema() -> None:
    for section, keys in OWN_KEYS.items():
        for key in keys:
            assert hasattr(getattr(base(), section), key)


def test_a_range_says_itself_in_words() -> None:
    assert str(Range(at_least=0, below=1)) == "at least 0 and below 1"


@pytest.mark.parametrize("name", ["", "a b", "a/b", "x" * 49, "ä", "a\n"])
def test_a_name_that_cannot_stand_in_a_topic_is_refused(name: str) -> None:
    assert "name is" in refused({"name": name})


@pytest.mark.parametrize(
    "values",
    [
        {"compute.slowdown": {"n 1": 2.0}},
        {"faults.crash": [{"node": "a/b", "at_s": 1}]},
        {"faults.leave": [{"node": "a/b", "at_s": 1}]},
        {"faults.join": [{"node": "a/b", "at_s": 1}]},
        {"network.node_uplink_bytes_per_s": {"a/b": 1.0}},
        {"network.links": [{"between": ["n0", "a/b"], "loss": 0.1}]},
        {"network.partitions": [{"from_s": 0, "groups": [["a/b"]]}]},
        {"topology": {"kind": "edges", "edges": [["a", "+"]]}},
    ],
)
def test_a_node_that_cannot_stand_in_a_topic_is_refused(values: dict[str, object]) -> None:
    assert "names the node" in refused(values)


def test_a_key_that_the_kind_never_reads_is_refused() -> None:
    assert "topology.degree is read by the kind random_regular or small_world" in refused(
        {"topology.degree": 3}
    )
    assert "data.noise is read by the kind quadratic only" in refused({"data.noise": 1.0})
    assert "partition.alpha is read by the kind dirichlet" in refused({"partition.alpha": 1.0})


@pytest.mark.parametrize(("section", "meant"), [("data", "digits"), ("model", "mlp")])
def test_an_unknown_kind_of_task_is_refused(section: str, meant: str) -> None:
    sentence = refused({section: meant + "x"})
    assert f'did you mean "{meant}"?' in sentence
    assert "module:function" in sentence


@pytest.mark.parametrize("values", [{"data": "quadratic"}, {"model": "quadratic"}])
def test_quadratics_need_both_their_data_and_their_model(values: dict[str, object]) -> None:
    assert '"quadratic" goes with "quadratic" only' in refused(values)


def test_quadratics_have_nothing_to_deal_out() -> None:
    values = {"data": "quadratic", "model": "quadratic"}
    assert with_values(base(), values).data.kind == "quadratic"
    assert "partition.kind" in refused({**values, "partition.kind": "dirichlet"})


def test_exactly_one_of_steps_and_epochs_is_given() -> None:
    assert "training.local_steps is missing" in refused({"training.local_steps": None})
    assert "training.local_epochs is 1 and local_steps is 2" in refused(
        {"training.local_epochs": 1}
    )


def test_a_run_must_end_some_day() -> None:
    assert "stop is empty; give time_s, steps or both" in refused({"stop.time_s": None})


@pytest.mark.parametrize(
    "staleness",
    [
        {"policy": "wait", "bound": 2},
        {"policy": "drop", "bound": 2},
        {"policy": "drop", "metric": "lag"},
    ],
)
def test_dpsgd_refuses_another_staleness_than_its_own(staleness: dict[str, object]) -> None:
    assert 'algorithm.kind "dpsgd" always waits' in refused(
        {"algorithm.kind": "dpsgd", "staleness": staleness}
    )


@pytest.mark.parametrize(
    "staleness", [{}, {"policy": "none"}, {"policy": "wait", "bound": 0}, {"liveness_floor_s": 1}]
)
def test_dpsgd_accepts_its_own_staleness_in_any_words(staleness: dict[str, object]) -> None:
    values = {"algorithm.kind": "dpsgd", "staleness": staleness}
    assert with_values(base(), values).algorithm.kind == "dpsgd"


def test_waiting_counts_whole_versions() -> None:
    assert "a whole number of versions" in refused({"staleness": {"policy": "wait", "bound": 1.5}})
    assert 'set it to "lag"' in refused({"staleness": {"policy": "wait", "metric": "age"}})
    values = {"staleness": {"policy": "wait", "bound": 2, "metric": "lag"}}
    assert with_values(base(), values).staleness.bound == 2


def test_a_restart_comes_after_the_crash() -> None:
    crash = {"node": "n1", "at_s": 5, "restart_s": 5}
    assert "faults.crash[0].restart_s is 5; allowed: above at_s" in refused(
        {"faults.crash": [crash]}
    )
    assert "faults.crash[0].at_s is -1" in refused({"faults.crash": [{**crash, "at_s": -1}]})
    values = {"faults.crash": [{**crash, "restart_s": 6}, {"node": "n1", "at_s": 7}]}
    assert len(with_values(base(), values).faults.crash) == 2


def test_a_return_comes_after_the_leave() -> None:
    leave = {"node": "n1", "at_s": 5, "return_s": 4}
    assert "faults.leave[0].return_s is 4; allowed: above at_s, which is 5" in refused(
        {"faults.leave": [leave]}
    )
    values = {"faults.leave": [{**leave, "return_s": 6}, {"node": "n1", "at_s": 7}]}
    assert len(with_values(base(), values).faults.leave) == 2


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"faults.churn": {"life_s": 9, "absence_s": 1}}, "faults.churn never ends"),
        (
            {"network.partitions": [{"from_s": 1, "groups": [["n0"]]}]},
            "network.partitions[0].until_s is missing",
        ),
    ],
)
def test_what_may_keep_nodes_from_their_last_step_needs_an_end_by_time(
    values: dict[str, object], words: str
) -> None:
    with_values(base(), values)
    assert words in refused({**values, "stop": {"steps": 10}})


def test_a_node_joins_once() -> None:
    join = {"node": "n1", "at_s": 5}
    assert "faults.join[0].node" in refused({"faults.join": [join, join]})


PARTITION: Final = {"from_s": 3, "until_s": 5, "groups": [["n0"], ["n1", "n2"]]}


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"until_s": 3}, "network.partitions[0].until_s is 3; allowed: above from_s"),
        ({"from_s": -1}, "network.partitions[0].from_s is -1; allowed: at least 0"),
        ({"groups": []}, "network.partitions[0].groups has nobody in it"),
        ({"groups": [["n0"], []]}, "network.partitions[0].groups has nobody in it"),
        ({"groups": [["n0"], ["n1", "n0"]]}, 'groups names "n0" twice'),
    ],
)
def test_a_partition_that_cannot_be_is_refused(changed: dict[str, object], words: str) -> None:
    assert with_values(base(), {"network.partitions": [PARTITION]}).network.partitions
    assert words in refused({"network.partitions": [{**PARTITION, **changed}]})


@pytest.mark.parametrize(
    ("link", "words"),
    [
        ({"between": ["n0", "n0"], "loss": 0.1}, "allowed: two nodes"),
        ({"between": ["n0", "n1"]}, "network.links[0] says nothing"),
        ({"between": ["n0", "n1"], "loss": 1.1}, "network.links[0].loss is 1.1; allowed: at least"),
        ({"between": ["n0"], "loss": 0.1}, "network.links[0].between"),
    ],
)
def test_a_link_that_cannot_be_is_refused(link: dict[str, object], words: str) -> None:
    assert words in refused({"network.links": [link]})


def test_a_link_stands_there_once() -> None:
    links = [{"between": ["n0", "n1"], "loss": 0.1}, {"between": ["n1", "n0"], "latency_s": 1}]
    assert len(with_values(base(), {"network.links": links[:1]}).network.links) == 1
    assert "stands there twice" in refused({"network.links": links})


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"compute.alpha": 1.5}, 'compute.alpha is read by the distribution "pareto" only'),
        ({"network.latency_sigma": 1}, 'latency_sigma is read by the latency "lognormal" only'),
        (
            {"compute.trace": "a.csv", "compute.availability": {"on_s": 1, "off_s": 1}},
            "compute.availability is given and so is compute.trace",
        ),
    ],
)
def test_a_key_of_the_world_that_nothing_reads_is_refused(
    values: dict[str, object], words: str
) -> None:
    assert words in refused(values)


@pytest.mark.parametrize(
    "url", ["localhost", "http://host", "mqtt://", "mqtt://host:99999", "mqtt://[x", "ws://h"]
)
def test_a_broker_address_of_another_kind_is_refused(url: str) -> None:
    assert "broker.url is" in refused({"broker.url": url})


def test_a_password_in_the_address_is_refused_and_not_repeated() -> None:
    sentence = refused({"broker.url": "mqtt://me:secret@host"})
    assert "broker.url holds a password" in sentence
    assert "secret" not in sentence


@pytest.mark.parametrize("url", ["mqtt://host", "mqtts://me@host:8883", "mqtt://[::1]:1883"])
def test_a_broker_address_is_accepted(url: str) -> None:
    assert with_values(base(), {"broker.url": url}).broker.url == url
