"""An experiment written out loads back equal, and its digest is what peers must agree on."""

import dataclasses
import os
import re
import string
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Final, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pfl.config.load import config_from_mapping, with_values
from p2pfl.config.schema import (
    AlgorithmConfig,
    AvailabilityConfig,
    BrokerConfig,
    ChurnConfig,
    ComparisonConfig,
    ComputeConfig,
    CrashConfig,
    DataConfig,
    EvaluationConfig,
    ExperimentConfig,
    FaultsConfig,
    JoinConfig,
    LeaveConfig,
    LinkConfig,
    ModelConfig,
    NetworkConfig,
    NetworkPartitionConfig,
    PartitionConfig,
    StopConfig,
    TopologyConfig,
    TrainingConfig,
)
from p2pfl.config.write import config_digest, config_to_mapping, config_to_toml
from p2pfl.errors import ConfigError

BASE: Final = ExperimentConfig(
    name="small",
    topology=TopologyConfig(kind="ring", nodes=4),
    data=DataConfig(kind="digits"),
    model=ModelConfig(kind="mlp"),
    training=TrainingConfig(learning_rate=0.1, local_steps=2),
    stop=StopConfig(time_s=10.0),
)

names = st.text(string.ascii_letters + string.digits + "_-", min_size=1, max_size=48)
any_text = st.text(st.characters(codec="utf-8"), max_size=20)
positive = st.floats(1e-12, 1e12)
codecs: st.SearchStrategy[Literal["float32", "float16", "bfloat16"]] = st.sampled_from(
    ("float32", "float16", "bfloat16")
)
topologies = st.one_of(
    st.builds(TopologyConfig, kind=st.just("ring"), nodes=st.integers(1, 1000)),
    st.builds(
        TopologyConfig,
        kind=st.just("circulant"),
        nodes=st.integers(1, 1000),
        offsets=st.lists(st.integers(1, 9), min_size=1).map(tuple),
    ),
    st.builds(
        TopologyConfig,
        kind=st.just("edges"),
        edges=st.lists(st.tuples(names, names), min_size=1).map(tuple),
    ),
    st.builds(TopologyConfig, kind=st.just("file"), path=any_text.filter(bool)),
)
configs = st.builds(
    ExperimentConfig,
    name=names,
    topology=topologies,
    data=st.builds(DataConfig, kind=st.sampled_from(["digits", "my.module:load"]), folder=any_text),
    model=st.builds(
        ModelConfig, kind=st.just("mlp"), hidden=st.lists(st.integers(1, 99)).map(tuple)
    ),
    training=st.builds(
        TrainingConfig,
        learning_rate=positive,
        schedule=st.just("step"),
        decay_at=st.lists(st.integers(1, 99), min_size=1, unique=True).map(lambda s: (*sorted(s),)),
        warmup_steps=st.integers(0, 9),
        local_steps=st.integers(1, 9),
        local_steps_of=st.dictionaries(names, st.integers(1, 9), max_size=2),
        clip_norm=st.none() | positive,
        weights=st.dictionaries(names, positive, max_size=2),
    ),
    stop=st.builds(StopConfig, time_s=positive, steps=st.none() | st.integers(1, 10**9)),
    seed=st.integers(0, 2**63 - 1),
    compute=st.builds(
        ComputeConfig,
        step_s=st.none() | positive,
        availability=st.none() | st.builds(AvailabilityConfig, on_s=positive, off_s=positive),
        slowdown=st.dictionaries(names, positive, max_size=3),
    ),
    network=st.builds(
        NetworkConfig,
        loss=st.floats(0, 0.99),
        codec=codecs,
        uplink_bytes_per_s=st.none() | positive,
        node_downlink_bytes_per_s=st.dictionaries(names, positive, max_size=2),
        links=st.lists(
            st.builds(
                LinkConfig,
                between=st.tuples(names, names).filter(lambda pair: pair[0] != pair[1]),
                latency_s=positive,
                loss=st.none() | st.floats(0, 0.99),
            ),
            max_size=1,
        ).map(tuple),
        partitions=st.lists(
            st.builds(NetworkPartitionConfig, from_s=positive, groups=st.tuples(st.tuples(names))),
            max_size=2,
        ).map(tuple),
    ),
    faults=st.builds(
        FaultsConfig,
        crash=st.lists(st.builds(CrashConfig, node=names, at_s=positive), max_size=2).map(tuple),
        leave=st.lists(st.builds(LeaveConfig, node=names, at_s=positive), max_size=2).map(tuple),
        join=st.lists(st.builds(JoinConfig, node=names, at_s=positive), max_size=1).map(tuple),
        churn=st.none() | st.builds(ChurnConfig, life_s=positive, absence_s=positive),
    ),
    broker=st.builds(BrokerConfig, ca_file=any_text),
)


@given(configs)
def test_what_is_written_loads_back_equal(config: ExperimentConfig) -> None:
    again = config_from_mapping(tomllib.loads(config_to_toml(config)), source="written")
    assert again == config
    assert config_to_toml(again) == config_to_toml(config)


@given(configs)
def test_a_mapping_holds_the_whole_experiment(config: ExperimentConfig) -> None:
    assert config_from_mapping(config_to_mapping(config), source="mapping") == config


def test_what_is_written_names_every_section() -> None:
    sections = [line for line in config_to_toml(BASE).splitlines() if line.startswith("[")]
    fields = {field.name for field in dataclasses.fields(ExperimentConfig)}
    assert {section.strip("[]") for section in sections} == fields - {"name", "seed"}


def test_a_digest_is_16_hex_digits_and_the_same_in_every_process(tmp_path: Path) -> None:
    (tmp_path / "small.toml").write_text(config_to_toml(BASE), encoding="utf-8")
    program = (
        "from pathlib import Path; from p2pfl.config.load import load_config;"
        "from p2pfl.config.write import config_digest;"
        "print(config_digest(load_config(Path('small.toml'))), end='')"
    )
    found = [
        subprocess.run(
            [sys.executable, "-c", program],
            cwd=tmp_path,
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
            text=True,
        ).stdout
        for seed in ("1", "2")
    ]
    assert found == [config_digest(BASE)] * 2
    assert re.fullmatch("[0-9a-f]{16}", config_digest(BASE))


@pytest.mark.parametrize(
    "values",
    [
        {"broker.url": "mqtt://elsewhere"},
        {"broker.engine": "amqtt"},
        {"broker.ca_file": "ca.pem"},
        {"data.folder": "/elsewhere"},
        {"compute.trace": "/elsewhere/devices.csv"},
        {"comparison.algorithms": []},
        {"runtime.threads": "auto", "runtime.device": "auto"},
    ],
)
def test_what_may_differ_between_machines_leaves_the_digest_alone(
    values: dict[str, object],
) -> None:
    assert config_digest(with_values(BASE, values)) == config_digest(BASE)


@pytest.mark.parametrize(
    "changed",
    [
        dataclasses.replace(BASE, name="other"),
        dataclasses.replace(BASE, seed=1),
        dataclasses.replace(BASE, topology=TopologyConfig(kind="ring", nodes=5)),
        dataclasses.replace(BASE, data=DataConfig(kind="mnist")),
        dataclasses.replace(BASE, model=ModelConfig(kind="mlp", hidden=(8,))),
        dataclasses.replace(BASE, training=TrainingConfig(learning_rate=0.2, local_steps=2)),
        dataclasses.replace(BASE, partition=PartitionConfig(kind="shard")),
        dataclasses.replace(BASE, algorithm=AlgorithmConfig(when="end")),
        dataclasses.replace(BASE, compute=ComputeConfig(step_s=0.1)),
        dataclasses.replace(BASE, network=NetworkConfig(codec="float16")),
        dataclasses.replace(BASE, faults=FaultsConfig(crash=(CrashConfig(node="n1", at_s=1.0),))),
        dataclasses.replace(BASE, evaluation=EvaluationConfig(every_s=2.0)),
        dataclasses.replace(BASE, stop=StopConfig(time_s=11.0)),
        dataclasses.replace(BASE, broker=BrokerConfig(chunk_bytes=2048)),
    ],
)
def test_what_peers_must_agree_on_changes_the_digest(changed: ExperimentConfig) -> None:
    assert config_digest(changed) != config_digest(BASE)


def test_one_and_one_point_zero_have_the_same_digest() -> None:
    whole = dataclasses.replace(BASE, stop=StopConfig(time_s=10))
    assert config_digest(whole) == config_digest(BASE)


def test_the_order_of_a_table_does_not_matter() -> None:
    there = dataclasses.replace(BASE, compute=ComputeConfig(slowdown={"a": 1.0, "b": 2.0}))
    back = dataclasses.replace(BASE, compute=ComputeConfig(slowdown={"b": 2.0, "a": 1.0}))
    assert config_digest(there) == config_digest(back)


def test_a_comparison_list_is_no_matter_of_the_peers() -> None:
    other = dataclasses.replace(BASE, comparison=ComparisonConfig(algorithms=("local",)))
    assert config_digest(other) == config_digest(BASE)


def test_a_topology_file_counts_by_its_content_wherever_it_lies(tmp_path: Path) -> None:
    digests = []
    for name, content in (("a", b"x\n"), ("b", b"x\r\n"), ("c", b"y\n")):
        path = tmp_path / name
        path.write_bytes(content)
        topology = TopologyConfig(kind="file", path=str(path))
        digests.append(config_digest(dataclasses.replace(BASE, topology=topology)))
    assert digests[0] == digests[1] != digests[2]


def test_a_missing_topology_file_is_told(tmp_path: Path) -> None:
    topology = TopologyConfig(kind="file", path=str(tmp_path / "none.toml"))
    with pytest.raises(ConfigError, match=r"none\.toml: cannot read this file that topology\.path"):
        config_digest(dataclasses.replace(BASE, topology=topology))
