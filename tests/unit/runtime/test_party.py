"""What machines that share only a broker are told of each other's hardware: nothing."""

import argparse
from dataclasses import replace
from pathlib import Path

import pytest

from p2pfl.cli.parties import add_party_arguments, runtime_of
from p2pfl.cli.up import add_arguments, check_shared
from p2pfl.config.combining import AlgorithmConfig
from p2pfl.config.load import config_from_mapping
from p2pfl.config.schema import ComputeConfig, RuntimeConfig
from p2pfl.errors import ConfigError
from p2pfl.experiment import Experiment
from p2pfl.runtime.party import Party, at_home, shareable
from p2pfl.types import NodeId

N0 = NodeId("n0")


def experiment(**runtime: object) -> Experiment:
    table = {
        "name": "small",
        "topology": {"kind": "ring", "nodes": 3},
        "data": "digits",
        "model": "mlp",
        "training": {"learning_rate": 0.1, "local_steps": 2},
        "runtime": runtime,
        "stop": {"steps": 4},
    }
    return Experiment(config_from_mapping(table, source="test"))


def given(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(exit_on_error=False)
    add_party_arguments(parser, Path("kept"))
    return parser.parse_args(words)


@pytest.mark.parametrize(
    ("said", "shared"),
    [
        ({"device": "cuda:1", "threads": 8}, RuntimeConfig()),
        ({"device": "auto", "threads": "auto"}, RuntimeConfig(device="auto", threads="auto")),
    ],
)
def test_only_what_suits_every_machine_is_shared(
    said: dict[str, object], shared: RuntimeConfig
) -> None:
    one = experiment(**said)
    assert shareable(one).config.runtime == shared
    assert shareable(one).digest == one.digest


def test_a_machine_computes_as_its_own_command_says() -> None:
    run = experiment(threads="auto")
    arguments = given("--device", "cuda", "--threads", "4")
    party = Party(
        folder=Path(),
        own=lambda _: None,
        runtime=lambda said: runtime_of(arguments, said),
    )
    here = at_home(run, N0, party)
    assert here.config.runtime == RuntimeConfig(device="cuda", threads=4)
    assert here.digest == run.digest
    unsaid = Party(folder=Path(), own=lambda _: None)
    assert at_home(run, N0, unsaid).config.runtime == run.config.runtime


def test_a_number_of_threads_is_a_number_or_auto() -> None:
    assert given("--threads", "auto").threads == "auto"
    with pytest.raises(argparse.ArgumentError, match="allowed: a number from 1 on, or auto"):
        given("--threads", "0")


def test_a_graph_of_a_file_is_shared_whole(tmp_path: Path) -> None:
    one = experiment()
    topology = replace(one.config.topology, weights="target", target={"n1": 2.0})
    (tmp_path / "ring.toml").write_text('kind = "ring"\nnodes = 3\n')
    topology = replace(topology, kind="file", nodes=None, path=str(tmp_path / "ring.toml"))
    shared = shareable(one.replace(topology=topology)).config.topology
    assert (shared.kind, shared.path, shared.target) == ("edges", "", {"n1": 2.0})


@pytest.mark.parametrize(
    ("words", "changes", "told"),
    [
        (["--parties", "0"], {}, "--parties 0: allowed: 1 to 3"),
        (["--parties", "4"], {}, "--parties 4: allowed: 1 to 3"),
        ([], {"algorithm": AlgorithmConfig(kind="fedavg")}, "needs a server"),
        (
            [],
            {"compute": ComputeConfig(trace="speeds.csv")},
            "compute.trace names a file, speeds.csv",
        ),
    ],
)
def test_what_would_not_work_elsewhere_is_refused_before_anybody_is_invited(
    words: list[str], changes: dict[str, object], told: str
) -> None:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    with pytest.raises(ConfigError, match=told):
        check_shared(parser.parse_args(["run.toml", *words]), experiment().replace(**changes))
