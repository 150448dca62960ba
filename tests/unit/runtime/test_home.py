"""A machine's own data at its nodes: the same run, the same digest."""

from pathlib import Path

from p2pfl.config.load import config_from_mapping
from p2pfl.experiment import Experiment
from p2pfl.runtime.home import brought_by


def digits(**tables: object) -> Experiment:
    base: dict[str, object] = {
        "name": "small",
        "topology": {"kind": "ring", "nodes": 3},
        "data": "mnist",
        "model": "softmax",
        "training": {"learning_rate": 0.1, "local_steps": 2},
        "stop": {"time_s": 10},
    }
    return Experiment(config_from_mapping(base | tables, source="test"))


def test_without_data_of_its_own_a_machine_changes_nothing() -> None:
    experiment = digits()
    assert brought_by(experiment, "n0", where="", among=("n0",)) is experiment


def test_files_at_another_place_are_dealt_as_the_experiment_says(tmp_path: Path) -> None:
    here = brought_by(digits(), "n1", where=str(tmp_path), among=("n1",))
    assert here.config.data.folder == str(tmp_path)
    assert here.digest == digits().digest


def test_own_data_is_shared_by_the_machines_nodes() -> None:
    parts = []
    for node in ("n0", "n2"):
        here = brought_by(digits(), node, where="own.npz", among=("n0", "n2"))
        assert here.digest == digits().digest
        assert here._home is not None
        parts.append((here._home[1].part, here._home[1].parts))
    assert parts == [(1, 2), (2, 2)]


def test_a_server_reads_the_data_only_for_its_model() -> None:
    experiment = digits(algorithm={"kind": "fedavg"})
    here = brought_by(experiment, "server", where="own.npz", among=("n0", "server"))
    assert here._home is not None
    assert here._home[0] == "n0"
