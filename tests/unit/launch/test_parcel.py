"""What goes to a host is all that the experiment names, and means the same there."""

from pathlib import Path

import pytest

from p2pfl.config.load import load_config
from p2pfl.errors import ConfigError
from p2pfl.experiment import Experiment, load_experiment
from p2pfl.launch.parcel import parcel

FILE = """
name = "small"
topology = "ring.toml"
data = "quadratic"
model = "quadratic"
training = { learning_rate = 0.1, local_steps = 2 }
compute = { trace = "times.csv" }
stop = { time_s = 10 }
broker = { url = "mqtts://b", ca_file = "ca.pem" }
"""
RING = 'nodes = ["a", "b", "c"]\nedges = [["a", "b"], ["b", "c"]]\n'


@pytest.fixture
def experiment(tmp_path: Path) -> Experiment:
    (tmp_path / "small.toml").write_text(FILE)
    (tmp_path / "ring.toml").write_text(RING)
    (tmp_path / "times.csv").write_text("0.1\n0.2\n")
    return load_experiment(tmp_path / "small.toml")


def test_the_experiment_has_the_same_digest_at_its_new_place(
    experiment: Experiment, tmp_path: Path
) -> None:
    there = tmp_path / "there"
    there.mkdir()
    for name, content in parcel(experiment, ca_file=None).items():
        (there / name).write_bytes(content)
    config = load_config(there / "experiment.toml")
    assert Experiment(config, folder=there).digest == experiment.digest
    assert Path(config.topology.path).parent == there
    assert Path(config.compute.trace).parent == there
    assert config.broker.url == ""


def test_whom_to_trust_goes_with_it(experiment: Experiment, tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("a certificate")
    files = parcel(experiment, ca_file=str(tmp_path / "ca.pem"))
    assert files["broker.pem"] == b"a certificate"


def test_a_file_that_is_missing_here_is_named(experiment: Experiment, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere.pem cannot be read"):
        parcel(experiment, ca_file=str(tmp_path / "nowhere.pem"))
